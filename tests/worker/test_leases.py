"""Whatever becomes of its workers, what a job writes is written once, and by who has it."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from drs_service.db.pool import Database, open_database
from drs_service.jobs import listing
from drs_service.jobs.kinds import Tidy, enqueue
from drs_service.jobs.listing import State
from tests.support.deadline import until
from tests.support.serve import PATIENCE

LEASE = 1.0  # seconds
Workers = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, name="test", size=2, statement_cache=0) as database:
        async with database.connection() as connection:
            await connection.execute("CREATE TABLE results (name text)")
            await enqueue(connection, Tidy())
        yield database


@pytest.fixture
async def labourers(database_url: str, database: Database, tmp_path: Path) -> AsyncIterator[Workers]:
    with ExitStack() as stack:

        def start(name: str) -> "subprocess.Popen[bytes]":
            command = [sys.executable, "-m", "tests.support.labourer", database_url, str(tmp_path), name, str(LEASE)]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            stack.callback(process.wait, PATIENCE)
            stack.callback(process.kill)
            return process

        yield start


async def rows(database: Database, sql: str) -> list[asyncpg.Record]:
    async with database.connection() as connection:
        return await connection.fetch(sql)


async def done_by(database: Database) -> list[str]:
    return [row["name"] for row in await rows(database, "SELECT name FROM results")]


async def jobs(database: Database) -> list[listing.Listed]:
    async with database.connection() as connection:
        return await listing.page(connection, state=None, kind=None, after=0, limit=10)


async def began(tmp_path: Path, name: str) -> None:
    await until((tmp_path / f"{name}.began").exists)


async def test_a_worker_that_stood_still_writes_nothing_once_another_has_its_job(
    database: Database, labourers: Workers, tmp_path: Path
) -> None:
    first = labourers("first")
    await began(tmp_path, "first")
    first.send_signal(signal.SIGSTOP)
    labourers("second")
    await began(tmp_path, "second")
    [job] = await jobs(database)
    assert (job.state, job.attempts) == (State.RUNNING, 1)
    # The late one would end at once, while the other is still at it.
    (tmp_path / "first.go").touch()
    first.send_signal(signal.SIGCONT)
    first.terminate()
    assert await asyncio.to_thread(first.wait, PATIENCE) == 0  # it has done its worst
    [job] = await jobs(database)
    assert (job.state, job.attempts) == (State.RUNNING, 1)
    assert await done_by(database) == []
    (tmp_path / "second.go").touch()
    await until((tmp_path / "second.wrote").exists)
    assert await done_by(database) == ["second"]
    assert await jobs(database) == []
    assert not (tmp_path / "first.wrote").exists()


async def test_another_worker_does_what_a_killed_one_had(
    database: Database, labourers: Workers, tmp_path: Path
) -> None:
    first = labourers("first")
    await began(tmp_path, "first")
    first.kill()
    labourers("second")
    (tmp_path / "second.go").touch()
    await until((tmp_path / "second.wrote").exists)
    assert await done_by(database) == ["second"]
    assert await jobs(database) == []


async def test_a_job_of_which_workers_die_is_given_up(database: Database, labourers: Workers, tmp_path: Path) -> None:
    for name in ("1", "2", "3", "4"):
        process = labourers(name)
        await began(tmp_path, name)
        process.kill()
        process.wait(PATIENCE)
    labourers("5")
    async with asyncio.timeout(PATIENCE):
        while (await jobs(database))[0].state is not State.DEAD:
            await asyncio.sleep(0.05)
    [dead] = await jobs(database)
    assert dead.error is not None
    assert (dead.error.code, dead.attempts) == ("job_abandoned", 4)
    assert not (tmp_path / "5.began").exists()


async def test_a_worker_that_stops_hands_its_job_on_and_nobody_counts_it(
    database: Database, labourers: Workers, tmp_path: Path
) -> None:
    first = labourers("first")
    await began(tmp_path, "first")
    first.terminate()
    (tmp_path / "first.go").touch()
    assert await asyncio.to_thread(first.wait, PATIENCE) == 0
    assert await done_by(database) == ["first"]
    assert await jobs(database) == []
