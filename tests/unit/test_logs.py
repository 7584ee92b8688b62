"""What the log says on a terminal."""

import os
import pty
import subprocess
import sys

CODE = """
import structlog
from drs_service import logs
logs.configure("info")
def fail(secret):
    raise RuntimeError("it failed")
try:
    fail("S3" + "cret")
except RuntimeError:
    structlog.get_logger().exception("something", reason="\\x1b]0;steered\\x07")
"""


def test_it_has_no_values_of_variables_and_nothing_that_steers_a_terminal() -> None:
    own, its = pty.openpty()
    subprocess.run([sys.executable, "-c", CODE], stderr=its, check=True)
    os.close(its)
    said = os.read(own, 2**16)
    os.close(own)
    assert b"it failed" in said and b"steered" in said
    assert b"S3cret" not in said and b"\x1b]" not in said
