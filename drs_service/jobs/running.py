"""Running jobs with PgQueuer, set up for what it leaves to its users."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
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
ATTEMPTS = 3


async def run(
    database: Database,
    tasks: Mapping[type[Job], Task],
    schedules: Mapping[str, Job],
    *,
    shutdown: asyncio.Event,
    grace: float,
) -> None:
    """Run tasks, and enqueue what is scheduled (cron expression: job), until shutdown.

    Tasks under way are then finished; those that take longer than grace seconds are given back to the queue.
    """

    @asynccontextmanager
    async def manager() -> AsyncGenerator[PgQueuer, None]:
        queue = PgQueuer.from_asyncpg_pool(database.pool)
        for kind, task in tasks.items():
            executor = partial(
                DatabaseRetryEntrypointExecutor, max_attempts=ATTEMPTS, initial_delay=timedelta(seconds=5)
            )
            queue.entrypoint(kind_of(kind), executor_factory=executor, on_failure="hold")(partial(perform, kind, task))
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
                    dequeue_timeout=POLL,
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


async def end_after(shutdown: asyncio.Event, grace: float, limit: asyncio.Timeout) -> None:
    await shutdown.wait()
    limit.reschedule(asyncio.get_running_loop().time() + grace)


async def perform(kind: type[Job], task: Task, queued: QueuedJob) -> None:
    try:
        await task(msgspec.json.decode(queued.payload or b"{}", type=kind))
    except asyncio.CancelledError as error:
        # PgQueuer would take a cancelled job off the queue: nobody would do it ever.
        raise RetryRequested(reason="the worker had to stop") from error


async def schedule(database: Database, job: Job, _: Schedule) -> None:
    async with database.transaction() as connection:
        await enqueue(connection, job)
