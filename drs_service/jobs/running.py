"""Running jobs with PgQueuer, set up for what it leaves to its users."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import msgspec
import pgqueuer
from pgqueuer import DatabaseRetryEntrypointExecutor, PgQueuer
from pgqueuer.models import Job as QueuedJob
from pgqueuer.models import Schedule

from drs_service.db.pool import Database
from drs_service.jobs.kinds import Job, enqueue, kind_of

Task = Callable[[Job], Awaitable[None]]

HEARTBEAT = timedelta(seconds=15)  # a job whose worker is silent for this long is another's
POLL = timedelta(seconds=5)  # a job that nobody was told of waits at most this long
ATTEMPTS = 3


async def run(
    database: Database,
    tasks: Mapping[type[Job], Task],
    schedules: Mapping[str, Job],
    *,
    shutdown: asyncio.Event,
) -> None:
    """Run tasks, and enqueue what is scheduled (cron expression: job), until shutdown. Tasks under way are finished."""

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


async def perform(kind: type[Job], task: Task, queued: QueuedJob) -> None:
    await task(msgspec.json.decode(queued.payload or b"{}", type=kind))


async def schedule(database: Database, job: Job, _: Schedule) -> None:
    async with database.transaction() as connection:
        await enqueue(connection, job)
