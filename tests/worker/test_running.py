"""A worker that must stop loses no job."""

import asyncio
from datetime import UTC, datetime

from drs_service.db.pool import open_database
from drs_service.jobs import running
from drs_service.jobs.kinds import Job, SweepOrphans, enqueue


async def test_a_job_that_is_not_done_in_time_is_given_back(database_url: str) -> None:
    began, shutdown = asyncio.Event(), asyncio.Event()
    done: list[Job] = []
    job = SweepOrphans(before=datetime(2000, 1, 1, tzinfo=UTC))

    async def endless(_: Job) -> None:
        began.set()
        await asyncio.Event().wait()

    async def quick(job: Job) -> None:
        done.append(job)
        shutdown.set()

    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        async with database.transaction() as connection:
            await enqueue(connection, job)
        first = asyncio.create_task(running.run(database, {SweepOrphans: endless}, {}, shutdown=shutdown, grace=0.1))
        await began.wait()
        shutdown.set()
        await first
        shutdown.clear()
        await running.run(database, {SweepOrphans: quick}, {}, shutdown=shutdown, grace=20)
        assert done == [job]
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM pgqueuer") == 0
