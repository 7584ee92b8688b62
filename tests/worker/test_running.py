"""A worker that must stop loses no job; a job that cannot be done is given up."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from drs_service.db.pool import open_database
from drs_service.jobs import running
from drs_service.jobs.kinds import Job, SweepOrphans, VerifyExternal, enqueue
from drs_service.jobs.running import Patient, Task


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


JOB = VerifyExternal(object_id="x", urls=())
SOON = timedelta(milliseconds=10)


def patient(task: Callable[[Job], Awaitable[None]], give_up: Callable[[Job, str], Awaitable[None]]) -> Patient:
    return Patient(task=task, give_up=give_up, attempts=2, max_age=timedelta(hours=1), at_once=1, first_delay=SOON)


@pytest.mark.parametrize(("age", "tried"), [(timedelta(0), 3), (timedelta(hours=2), 0)])
async def test_a_patient_task_is_given_up_in_the_end(database_url: str, age: timedelta, tried: int) -> None:
    """After its last attempt; or for its age, whoever died of it before."""
    shutdown = asyncio.Event()
    attempts: list[Job] = []
    reasons: list[str] = []

    async def failing(job: Job) -> None:
        attempts.append(job)
        raise ZeroDivisionError("nobody answers")

    async def give_up(job: Job, reason: str) -> None:
        assert job == JOB
        reasons.append(reason)
        shutdown.set()

    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        async with database.transaction() as connection:
            await enqueue(connection, JOB)
            await connection.execute("UPDATE pgqueuer SET created = created - $1::interval", age)
        tasks: dict[type[Job], Task | Patient] = {VerifyExternal: patient(failing, give_up)}
        await running.run(database, tasks, {}, shutdown=shutdown, grace=20, poll=SOON)
        assert len(attempts) == tried
        assert reasons == ["nobody answers" if tried else "It was not done within 1:00:00."]
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM pgqueuer") == 0


async def test_what_could_not_even_be_given_up_is_tried_again(database_url: str) -> None:
    shutdown = asyncio.Event()

    async def failing(_: Job) -> None:
        raise ZeroDivisionError

    async def give_up(_: Job, reason: str) -> None:
        shutdown.set()
        raise ConnectionError

    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        async with database.transaction() as connection:
            await enqueue(connection, JOB)
            await connection.execute("UPDATE pgqueuer SET attempts = 2")
        tasks: dict[type[Job], Task | Patient] = {VerifyExternal: patient(failing, give_up)}
        await running.run(database, tasks, {}, shutdown=shutdown, grace=20, poll=SOON)
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT status FROM pgqueuer WHERE execute_after > now()") == "queued"
