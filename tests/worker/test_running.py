"""A worker that must stop loses no job; a job that cannot be done is given up."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from drs_service.db.pool import Database, open_database
from drs_service.errors import BlobCorrupt, StorageUnavailable
from drs_service.jobs import listing, running
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.hearing import HearingDriver
from drs_service.jobs.kinds import Job, SweepOrphans, VerifyExternal, enqueue, enqueue_all, enqueue_once
from drs_service.jobs.listing import State
from drs_service.jobs.tasks import Run, Task


async def test_a_job_that_is_not_done_in_time_is_given_back(database_url: str) -> None:
    began, shutdown = asyncio.Event(), asyncio.Event()
    done: list[Job] = []
    job = SweepOrphans(before=datetime(2000, 1, 1, tzinfo=UTC))

    async def endless(_: Job, attempt: Attempt) -> None:
        began.set()
        await asyncio.Event().wait()

    async def quick(job: Job, attempt: Attempt) -> None:
        done.append(job)
        shutdown.set()

    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        async with database.transaction() as connection:
            await enqueue(connection, job)
        first = asyncio.create_task(
            running.run(database, {SweepOrphans: Task(run=endless)}, {}, shutdown=shutdown, grace=0.1)
        )
        await began.wait()
        shutdown.set()
        await first
        shutdown.clear()
        await running.run(database, {SweepOrphans: Task(run=quick)}, {}, shutdown=shutdown, grace=20)
        assert done == [job]
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM pgqueuer") == 0


JOB = VerifyExternal(object_id="x", urls=())
SOON = timedelta(milliseconds=10)


def patient(run: Run, give_up: Callable[[Job, str], Awaitable[None]]) -> Task:
    return Task(run=run, give_up=give_up, attempts=2, max_age=timedelta(hours=1), at_once=1, first_delay=SOON)


@pytest.mark.parametrize(("age", "tried"), [(timedelta(0), 3), (timedelta(hours=2), 0)])
async def test_a_patient_task_is_given_up_in_the_end(database_url: str, age: timedelta, tried: int) -> None:
    """After its last attempt; or for its age, whoever died of it before."""
    shutdown = asyncio.Event()
    attempts: list[Job] = []
    reasons: list[str] = []

    async def failing(job: Job, attempt: Attempt) -> None:
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
        tasks: dict[type[Job], Task] = {VerifyExternal: patient(failing, give_up)}
        await running.run(database, tasks, {}, shutdown=shutdown, grace=20, poll=SOON)
        assert len(attempts) == tried
        assert reasons == ["nobody answers" if tried else "It was not done within 1:00:00."]
        async with database.connection() as connection:
            [dead] = await listing.page(connection, state=State.DEAD, kind=None, after=0, limit=10)
        assert (dead.kind, dead.attempts, msgspec.json.decode(dead.payload, type=VerifyExternal)) == (
            "verify_external",
            tried,
            JOB,
        )
        assert dead.error is not None
        assert (dead.error.code, dead.error.message) == ("ZeroDivisionError" if tried else "job_too_old", reasons[0])


async def test_what_could_not_even_be_given_up_is_tried_again(database_url: str) -> None:
    shutdown = asyncio.Event()

    async def failing(_: Job, attempt: Attempt) -> None:
        raise ZeroDivisionError

    async def give_up(_: Job, reason: str) -> None:
        shutdown.set()
        raise ConnectionError

    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        async with database.transaction() as connection:
            await enqueue(connection, JOB)
            await connection.execute("UPDATE pgqueuer SET attempts = 2")
        tasks: dict[type[Job], Task] = {VerifyExternal: patient(failing, give_up)}
        await running.run(database, tasks, {}, shutdown=shutdown, grace=20, poll=SOON)
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT status FROM pgqueuer WHERE execute_after > now()") == "queued"


async def the_dead(database: Database) -> listing.Listed:
    """The one job that is given up, once it is."""
    while True:
        async with database.connection() as connection:
            found = await listing.page(connection, state=State.DEAD, kind=None, after=0, limit=10)
        if found:
            return found[0]
        await asyncio.sleep(0.02)


async def given_up(database_url: str, task: Task) -> listing.Listed:
    """What becomes of a job of such a kind."""
    shutdown = asyncio.Event()
    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        async with database.transaction() as connection:
            await enqueue(connection, JOB)
        work = asyncio.create_task(
            running.run(database, {VerifyExternal: task}, {}, shutdown=shutdown, grace=20, poll=SOON)
        )
        dead = await the_dead(database)
        shutdown.set()
        await work
        return dead


@pytest.mark.parametrize(
    ("error", "attempts"), [(BlobCorrupt(), 1), (StorageUnavailable(), 6), (ZeroDivisionError("a bug"), 4)]
)
async def test_the_error_decides_how_often_a_job_is_tried(database_url: str, error: Exception, attempts: int) -> None:
    async def failing(_: Job, attempt: Attempt) -> None:
        raise error

    dead = await given_up(database_url, Task(run=failing, attempts=5, first_delay=timedelta(0)))
    assert dead.error is not None
    assert (dead.attempts, dead.error.message) == (attempts, str(error))


async def test_what_is_given_up_again_and_again_is_listed_once_until_it_is_done(database_url: str) -> None:
    other = VerifyExternal(object_id="another", urls=())
    is_well = False
    shutdown = asyncio.Event()

    async def run(job: Job, attempt: Attempt) -> None:
        if not is_well or job == other:
            raise BlobCorrupt

    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):

        async def dead_after(*jobs: Job) -> list[int]:
            async with database.transaction() as connection:
                await enqueue_all(connection, jobs)
            while True:
                async with database.connection() as connection:
                    found = await listing.page(connection, state=None, kind=None, after=0, limit=10)
                if all(one.state is State.DEAD for one in found):
                    return [one.id for one in found]
                await asyncio.sleep(0.02)

        tasks: dict[type[Job], Task] = {VerifyExternal: Task(run=run)}
        work = asyncio.create_task(running.run(database, tasks, {}, shutdown=shutdown, grace=20, poll=SOON))
        first = await dead_after(JOB, other)
        again = await dead_after(JOB)
        assert (len(first), len(again)) == (2, 2)
        assert again[0] == first[1] < again[1]
        is_well = True
        assert await dead_after(JOB) == [first[1]]
        shutdown.set()
        await work


async def test_a_task_that_does_not_get_on_is_cancelled(database_url: str) -> None:
    cancelled: list[Job] = []

    async def stuck(job: Job, attempt: Attempt) -> None:
        attempt.progress(1, 2, "bytes")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(job)

    dead = await given_up(database_url, Task(run=stuck, attempts=1, max_silence=timedelta(0), first_delay=timedelta(0)))
    assert dead.error is not None
    assert (dead.error.code, dead.attempts, cancelled) == ("job_stalled", 2, [JOB, JOB])


async def test_what_nobody_can_read_is_given_up_at_once(database_url: str) -> None:
    async def never(_: Job, attempt: Attempt) -> None:
        raise AssertionError("it cannot be read")

    unreadable = (
        "INSERT INTO pgqueuer (priority, status, entrypoint, payload) VALUES (1, 'queued', 'verify_external', '{')"
    )
    async with (
        open_database(database_url, name="jobs", size=4, statement_cache=0) as database,
        database.connection() as connection,
    ):
        await connection.execute(unreadable)
    dead = await given_up(database_url, Task(run=never, at_once=1))
    assert dead.error is not None
    assert (dead.error.code, dead.payload) == ("DecodeError", b"{")


async def test_progress_is_seen_while_a_job_runs(database_url: str) -> None:
    shutdown = asyncio.Event()

    async def telling(_: Job, attempt: Attempt) -> None:
        attempt.progress(3, 7, "bytes")
        await shutdown.wait()

    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        async with database.transaction() as connection:
            await enqueue(connection, JOB)
        tasks: dict[type[Job], Task] = {VerifyExternal: Task(run=telling)}
        work = asyncio.create_task(running.run(database, tasks, {}, shutdown=shutdown, grace=20, poll=SOON))
        while True:
            async with database.connection() as connection:
                [job] = await listing.page(connection, state=None, kind="verify_external", after=0, limit=1)
            if job.progress is not None:
                break
            await asyncio.sleep(0.02)
        assert (job.state, job.progress) == (State.RUNNING, listing.Progress(done=3, total=7, unit="bytes"))
        assert job.worker is not None and job.worker.endswith(f":{os.getpid()}")
        assert job.silent is not None
        shutdown.set()
        await work


async def test_no_more_is_under_way_than_a_worker_may_have(database_url: str) -> None:
    shutdown = asyncio.Event()
    now, most, done = 0, 0, 0

    async def counted(_: Job, attempt: Attempt) -> None:
        nonlocal now, most, done
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now, done = now - 1, done + 1
        if done == 40:
            shutdown.set()

    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        async with database.transaction() as connection:
            await enqueue_all(connection, [JOB] * 40)
        tasks: dict[type[Job], Task] = {VerifyExternal: Task(run=counted, at_once=0)}
        await running.run(database, tasks, {}, shutdown=shutdown, grace=20, poll=SOON, at_once=3)
    assert (done, most) == (40, 3)


async def test_what_was_given_up_is_done_once_more_or_forgotten(database_url: str) -> None:
    async def failing(_: Job, attempt: Attempt) -> None:
        raise BlobCorrupt

    dead = await given_up(database_url, Task(run=failing))
    async with (
        open_database(database_url, name="jobs", size=4, statement_cache=0) as database,
        database.connection() as connection,
    ):
        await connection.execute("UPDATE pgqueuer SET created = '2000-01-01'")
        assert await listing.requeue(connection, [dead.id + 1]) == []
        assert await listing.requeue(connection, [dead.id]) == [dead.id]
        assert await listing.requeue(connection, None) == []
        [job] = await listing.page(connection, state=State.QUEUED, kind=None, after=0, limit=10)
        assert job.attempts == 0
    done: list[Job] = []

    async def well(job: Job, attempt: Attempt) -> None:
        done.append(job)
        shutdown.set()

    shutdown = asyncio.Event()
    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        await running.run(database, {VerifyExternal: Task(run=well)}, {}, shutdown=shutdown, grace=20, poll=SOON)
        assert done == [JOB]
        async with database.connection() as connection:
            for status in ("failed", "queued"):
                new = "INSERT INTO pgqueuer (priority, status, entrypoint) VALUES (0, $1, 'tidy')"
                await connection.execute(new, status)
            assert len(await listing.forget(connection, None)) == 1
            [left] = await listing.page(connection, state=None, kind=None, after=0, limit=10)
    assert left.state is State.QUEUED


async def test_what_is_scheduled_does_not_pile_up(database_url: str) -> None:
    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database:
        for _ in range(3):
            async with database.transaction() as connection:
                await enqueue_once(connection, SweepOrphans())
        async with database.connection() as connection:
            assert len(await listing.page(connection, state=None, kind=None, after=0, limit=10)) == 1


async def test_a_worker_asks_whether_it_hears_only_once_it_listens(database_url: str) -> None:
    async with open_database(database_url, name="jobs", size=4, statement_cache=0) as database, asyncio.timeout(30):
        driver = HearingDriver(database.pool)
        heard: asyncio.Queue[str | bytes | bytearray] = asyncio.Queue()
        telling = asyncio.create_task(driver.notify("here", "said early"))
        for _ in range(20):
            await database.pool.fetchval("SELECT 1")
        assert not telling.done()
        async with driver:
            await driver.add_listener("here", heard.put_nowait)
            await telling
            assert await heard.get() == "said early"
