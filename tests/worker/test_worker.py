"""A worker as a process of its own, on a real queue."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from drs_service.blobs.keys import key_for
from drs_service.db.pool import Database, open_database
from drs_service.domain.digest import Digest
from drs_service.jobs.kinds import SweepOrphans, enqueue
from drs_service.parts import check_store, open_parts
from drs_service.settings import Settings
from tests.support.deadline import until
from tests.support.serve import COMMAND, PATIENCE

ORPHAN = Digest(bytes(range(32)))


@pytest.fixture
async def orphan(settings: Settings) -> Path:
    """Bytes without a row, an hour old, in a store of the service's own."""
    assert settings.storage_url is not None
    async with open_parts(settings, name="test") as (db, store):
        await check_store(db, store)
    path = Path(urlsplit(settings.storage_url).path) / key_for(ORPHAN)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"published, never recorded")
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
    os.utime(path, (an_hour_ago, an_hour_ago))
    return path


@contextmanager
def worker(settings: Settings, env: dict[str, str], *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([*COMMAND, "worker", *arguments], env=env | settings.to_env(), stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


async def enqueue_sweep(settings: Settings, job: SweepOrphans) -> None:
    async with database(settings) as db, db.transaction() as connection:
        await enqueue(connection, job)


def database(settings: Settings) -> AbstractAsyncContextManager[Database]:
    assert settings.database_url is not None
    return open_database(settings.database_url.reveal(), name="test", size=2, statement_cache=10)


async def test_a_job_is_run(settings: Settings, own_environment: dict[str, str], orphan: Path) -> None:
    await enqueue_sweep(settings, SweepOrphans(before=datetime.now(UTC)))
    with worker(settings, own_environment):
        await until(lambda: not orphan.exists())


async def test_a_job_that_comes_while_the_worker_waits_is_run(
    settings: Settings, own_environment: dict[str, str], orphan: Path
) -> None:
    with worker(settings, own_environment, "--sweep-before", "2000-01-01T00:00:00.000000+00:00"):
        async with database(settings) as db:
            await eventually_empty(db)  # the first sweep, which spares the orphan: the worker is up
        assert orphan.exists()
        await enqueue_sweep(settings, SweepOrphans(before=datetime.now(UTC)))
        await until(lambda: not orphan.exists())


async def eventually_empty(db: Database) -> None:
    """Wait until a job has been run and no other is queued."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with db.connection() as connection:
                done = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"
                if await connection.fetchval(done) and not await connection.fetchval("SELECT count(*) FROM pgqueuer"):
                    return
            await asyncio.sleep(0.02)


async def test_bytes_within_the_grace_time_are_spared(
    settings: Settings, own_environment: dict[str, str], orphan: Path
) -> None:
    await enqueue_sweep(settings, SweepOrphans())  # the grace time of the settings is a day
    with worker(settings, own_environment):
        async with database(settings) as db:
            await eventually_empty(db)
    assert orphan.exists()


async def test_a_job_of_a_transaction_that_rolls_back_was_never_born(settings: Settings) -> None:
    async with database(settings) as db:
        with pytest.raises(ZeroDivisionError):
            async with db.transaction() as connection:
                await enqueue(connection, SweepOrphans())
                raise ZeroDivisionError
        async with db.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM pgqueuer") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_worker_in_order(
    settings: Settings, own_environment: dict[str, str], orphan: Path, number: int
) -> None:
    await enqueue_sweep(settings, SweepOrphans(before=datetime.now(UTC)))
    with worker(settings, own_environment) as process:
        await until(lambda: not orphan.exists())
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0


async def test_a_worker_refuses_a_schema_that_is_not_its_own(
    settings: Settings, own_environment: dict[str, str]
) -> None:
    async with database(settings) as db, db.connection() as connection:
        await connection.execute("INSERT INTO schema_migrations (version) VALUES ('29991231000000')")
    with worker(settings, own_environment) as process:
        assert await asyncio.to_thread(process.wait, PATIENCE) == 78


@pytest.mark.parametrize("arguments", [[], ["--sweep-before", "2999-01-01T00:00:00.000000+00:00"]])
async def test_a_worker_refuses_a_store_of_another_database(
    settings: Settings, own_environment: dict[str, str], orphan: Path, arguments: list[str]
) -> None:
    async with database(settings) as db, db.connection() as connection:
        await connection.execute("UPDATE service SET id = gen_random_uuid()")
    with worker(settings, own_environment, *arguments) as process:
        assert await asyncio.to_thread(process.wait, PATIENCE) == 78
    assert orphan.exists()


async def test_what_is_swept_is_what_no_object_has(
    settings: Settings, own_environment: dict[str, str], orphan: Path, client: httpx.AsyncClient
) -> None:
    kept = (await client.put("/upload/kept.txt", content=b"kept")).json()
    await enqueue_sweep(settings, SweepOrphans(before=datetime.now(UTC) + timedelta(hours=1)))
    with worker(settings, own_environment):
        await until(lambda: not orphan.exists())
    assert (await client.get(f"/data/{kept['id']}")).content == b"kept"
