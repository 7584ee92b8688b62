"""Debian's nginx, on a configuration of ours."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.compose import ROOT
from tests.support.containers import PATH
from tests.support.serve import wait_until

STATIC = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{}}
http {{
    access_log off;
    types {{ text/html html; text/plain txt; }}
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def proxy_conf(directory: Path, port: int, nodes: Sequence[int]) -> str:
    """deploy/nginx.conf, in front of two nodes on these ports of this machine."""
    here = {"8080": f"127.0.0.1:{port}", "8001": str(nodes[0]), "8002": str(nodes[1])}
    text = re.sub("/tmp/", f"{directory}/", (ROOT / "deploy" / "nginx.conf").read_text())
    return re.sub(r"\b80(80|01|02)\b", lambda match: here[match[0]], text)


def static_conf(directory: Path, port: int, root: Path) -> str:
    """Files below root."""
    return STATIC.format(directory=directory, port=port, root=root)


@contextmanager
def nginx(directory: Path, conf: str) -> Iterator[None]:
    """Answering, for the length of the block. Its configuration has its pid in directory/nginx.pid."""
    (directory / "nginx.conf").write_text(conf)
    process = subprocess.Popen(["nginx", "-e", "stderr", "-c", directory / "nginx.conf"], env={"PATH": PATH})
    try:
        wait_until((directory / "nginx.pid").exists, within=10, every=0.005)
        yield
    finally:
        process.terminate()
        process.wait(10)
