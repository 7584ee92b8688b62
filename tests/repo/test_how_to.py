"""What docs/objects.md tells to type does what it says."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drs_service.settings import Secret, Settings
from tests.support.postgres import Postgres
from tests.support.server import Service, running_beside

GUIDE = (Path(__file__).parents[2] / "docs" / "objects.md").read_text()
SERVICE = "SERVICE=http://127.0.0.1:8000\n"


@pytest.fixture
def beside(postgres: Postgres, tmp_path: Path) -> Iterator[Service]:
    """A service whose URLs lead to itself, as those of `make serve` do."""
    with postgres.database() as url:
        places = Settings(
            database_url=Secret(url), storage_url=(tmp_path / "store").as_uri(), public_url="http://127.0.0.1"
        )
        with running_beside(places) as service:
            yield service


def test_every_line_of_the_guide_runs(beside: Service, tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    script = "".join(blocks)
    assert len(blocks) == 9 and SERVICE in script
    # The announced upload comes to the public URL, which has no port here.
    script = script.replace(SERVICE, f"SERVICE={beside.url}\n")
    script = script.replace("-T - $UPLOAD", f"-T - {beside.url}${{UPLOAD#http://127.0.0.1}}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "reads.bam").read_text() == (tmp_path / "again" / "copy.bam").read_text() == "aligned\n"
    assert (tmp_path / "NA12878.zip").stat().st_size > 0
    assert '"requested":2,"resolved":2' in done.stdout
