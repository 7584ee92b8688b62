"""What is installed from the wheel works without the source tree."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The unpacked wheel, without its dependencies."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    [wheel] = out.glob("*.whl")
    target = out / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    yield target


def test_the_wheel_holds_the_packages_and_the_migrations_and_nothing_else(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"drs_service", "worker"}
    shipped = {path.name for path in (installed / "drs_service" / "db" / "migrations").iterdir()}
    assert shipped == {path.name for path in (ROOT / "db" / "migrations").iterdir()}


def test_an_installed_service_migrates_and_checks_outside_the_source_tree(
    installed: Path, own_environment: dict[str, str], empty_database_url: str, tmp_path: Path
) -> None:
    env = own_environment | {
        "PYTHONPATH": str(installed),
        "DATABASE_URL": empty_database_url,
        "DRS_STORAGE_URL": (tmp_path / "store").as_uri(),
    }

    def drs_service(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "drs_service", *arguments],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    where = subprocess.run(
        [sys.executable, "-P", "-c", "import drs_service; print(drs_service.__file__)"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(installed))
    assert "schema_behind" in drs_service("check")
    assert "The schema is up to date." in drs_service("migrate")
    assert "schema     ok" in drs_service("check")
