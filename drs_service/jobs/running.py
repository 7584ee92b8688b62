"""Running jobs with PgQueuer, set up for what it leaves to its users."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pgqueuer
import structlog
from pgqueuer import DatabaseRetryEntrypointExecutor, PgQueuer
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job as QueuedJob
from pgqueuer.models import Schedule

from drs_service.db.pool import Database
from drs_service.jobs.kinds import Job, enqueue, kind_of

log = structlog.get_logger()

Task = Callable[[Any], Awaitable[None]]  # takes a job of the kind it is listed under

HEARTBEAT = timedelta(seconds=15)  # a job whose worker is silent for this long is another's
POLL = timedelta(seconds=5)  # a job that nobody was told of waits at most this long
ATTEMPTS = 3  # after the first
FIRST_DELAY = timedelta(seconds=5)  # before the second attempt; doubled each time, up to five minutes
AFTER_ALL = timedelta(minutes=1)  # before what could not even be given up is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A task that depends on what is not ours, and what is done when it is given up.

    It is given up when it fails for the last time, or when it is older than max_age: that also bounds what is taken
    over again and again from workers that die of it, for a take-over is no attempt to the queue.
    """

    task: Task
    give_up: Callable[[Any, str], Awaitable[None]]
    """Takes the job and what its last error said. Idempotent."""
    attempts: int
    """After the first."""
    max_age: timedelta
    at_once: int
    """Under way at the same time, among all workers."""
    first_delay: timedelta = FIRST_DELAY


async def run(
    database: Database,
    tasks: Mapping[type[Job], Task | Patient],
    schedules: Mapping[str, Job],
    *,
    shutdown: asyncio.Event,
    grace: float,
    poll: timedelta = POLL,
) -> None:
    """Run tasks, and enqueue what is scheduled (cron expression: job), until shutdown.

    Tasks under way are then finished; those that take longer than grace seconds are given back to the queue.
    """

    @asynccontextmanager
    async def manager() -> AsyncGenerator[PgQueuer, None]:
        queue = PgQueuer.from_asyncpg_pool(database.pool)
        for kind, task in tasks.items():
            enlist(queue, kind, task)
        for expression, job in schedules.items():
            queue.schedule(f"schedule_{kind_of(job)}", expression, clean_old=True)(partial(schedule, database, job))
        yield queue

    logging.getLogger("pgqueuer").setLevel(logging.WARNING)
    try:
        async with asyncio.timeout(None) as limit:
            limiting = asyncio.create_task(end_after(shutdown, grace, limit))
            try:
                await pgqueuer.run(
                    manager,
                    heartbeat_timeout=HEARTBEAT,
                    dequeue_timeout=poll,
                    # A pool never renews a LISTEN that was lost: end and begin again instead.
                    restart_on_failure=True,
                    shutdown_on_listener_failure=True,
                    restart_delay=timedelta(seconds=1),
                    shutdown=shutdown,
                )
            finally:
                limiting.cancel()
    except TimeoutError:
        if not limit.expired():
            raise
        log.warning("jobs were not finished in time; another worker will do them", grace=grace)


def enlist(queue: PgQueuer, kind: type[Job], task: Task | Patient) -> None:
    """Have jobs of this kind done by this task."""
    attempts, first_delay, at_once = ATTEMPTS, FIRST_DELAY, 0
    if isinstance(task, Patient):
        attempts, first_delay, at_once = task.attempts, task.first_delay, task.at_once
        performing = partial(persevere, kind, task)
    else:
        performing = partial(perform, kind, task)
    executor = partial(DatabaseRetryEntrypointExecutor, max_attempts=attempts, initial_delay=first_delay)
    register = queue.entrypoint(kind_of(kind), executor_factory=executor, on_failure="hold", concurrency_limit=at_once)
    register(performing)


async def end_after(shutdown: asyncio.Event, grace: float, limit: asyncio.Timeout) -> None:
    await shutdown.wait()
    limit.reschedule(asyncio.get_running_loop().time() + grace)


async def perform(kind: type[Job], task: Task, queued: QueuedJob) -> None:
    try:
        await task(msgspec.json.decode(queued.payload or b"{}", type=kind))
    except asyncio.CancelledError as error:
        # PgQueuer would take a cancelled job off the queue: nobody would do it ever.
        raise RetryRequested(reason="the worker had to stop") from error


async def persevere(kind: type[Job], patient: Patient, queued: QueuedJob) -> None:
    """Perform, or give up."""
    job = msgspec.json.decode(queued.payload or b"{}", type=kind)
    too_old = queued.created < datetime.now(UTC) - patient.max_age
    reason = f"It was not done within {patient.max_age}."
    if not too_old:
        try:
            await perform(kind, patient.task, queued)
        except RetryRequested:
            raise
        except Exception as error:
            if queued.attempts < patient.attempts:
                raise
            reason = str(error)
        else:
            return
    try:
        await patient.give_up(job, reason)
    except Exception as error:
        raise RetryRequested(delay=AFTER_ALL, reason=str(error)) from error


async def schedule(database: Database, job: Job, _: Schedule) -> None:
    async with database.transaction() as connection:
        await enqueue(connection, job)
