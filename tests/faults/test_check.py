"""`drs-service check` looks at every part, whatever is wrong with another."""

import subprocess
from pathlib import Path

from tests.support.serve import COMMAND, PATIENCE


def check(env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, "check"], env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_what_is_right_is_ok(own_environment: dict[str, str], database_url: str, tmp_path: Path) -> None:
    done = check(own_environment | {"DATABASE_URL": database_url, "DRS_STORAGE_URL": (tmp_path / "store").as_uri()})
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["ok"] * 3


def test_a_database_that_is_not_there_does_not_hide_the_storage(
    own_environment: dict[str, str], tmp_path: Path
) -> None:
    nowhere = f"postgresql://postgres@/drs?host={tmp_path}&port=1"
    done = check(own_environment | {"DATABASE_URL": nowhere, "DRS_STORAGE_URL": (tmp_path / "store").as_uri()})
    assert done.returncode == 1
    database, schema, storage = done.stdout.splitlines()
    assert "database_unavailable" in database
    assert "database_unavailable" in schema
    assert storage.split() == ["storage", "ok"]
