"""Running jobs with PgQueuer, set up for what it leaves to its users."""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

import pgqueuer
import structlog
from pgqueuer import PgQueuer
from pgqueuer.models import Schedule
from pgqueuer.types import QueueManagerId

from drs_service.db.pool import Database
from drs_service.errors import DrsServiceError
from drs_service.jobs import workers
from drs_service.jobs.fenced import FencedQueue
from drs_service.jobs.hearing import HearingDriver
from drs_service.jobs.kinds import Job, enqueue_once, kind_of
from drs_service.jobs.leases import TICK
from drs_service.jobs.performing import Performing
from drs_service.jobs.tasks import Task

log = structlog.get_logger()

LEASE = timedelta(seconds=15)  # a job whose worker is silent for this long is another's
POLL = timedelta(seconds=5)  # a job that nobody was told of waits at most this long


async def run(
    database: Database,
    tasks: Mapping[type[Job], Task],
    schedules: Mapping[str, Job],
    *,
    shutdown: asyncio.Event,
    grace: float,
    poll: timedelta = POLL,
    lease: timedelta = LEASE,
    at_once: int | None = None,
) -> None:
    """Run tasks, and enqueue what is scheduled (cron expression: job), until shutdown.

    Tasks under way are then finished; those that take longer than grace seconds are given back to the queue. lease must
    be the same for all workers. at_once: the most that this worker has under way.
    """
    me = QueueManagerId(uuid.uuid4())

    @asynccontextmanager
    async def manager() -> AsyncGenerator[PgQueuer, None]:
        queue = FencedQueue(HearingDriver(database.pool), me, at_once=at_once)
        made = PgQueuer(queue.driver, queries=queue)
        made.qm.queue_manager_id = me
        for kind, task in tasks.items():
            register = made.entrypoint(kind_of(kind), on_failure="hold", concurrency_limit=task.at_once)
            register(Performing(queue, kind, task))
        for expression, job in schedules.items():
            made.schedule(f"schedule_{kind_of(job)}", expression, clean_old=True)(partial(schedule, database, job))
        watching = asyncio.create_task(watch(queue))
        try:
            yield made
        finally:
            watching.cancel()

    logging.getLogger("pgqueuer").setLevel(logging.WARNING)
    beside = [asyncio.create_task(say_so(database, me, sorted(map(kind_of, tasks))))]
    try:
        async with asyncio.timeout(None) as limit:
            beside.append(asyncio.create_task(end_after(shutdown, grace, limit)))
            await pgqueuer.run(
                manager,
                heartbeat_timeout=lease,
                dequeue_timeout=poll,
                # A pool never renews a LISTEN that was lost: end and begin again instead.
                restart_on_failure=True,
                shutdown_on_listener_failure=True,
                restart_delay=timedelta(seconds=1),
                shutdown=shutdown,
            )
    except TimeoutError:
        if not limit.expired():
            raise
        log.warning("jobs were not finished in time; another worker will do them", grace=grace)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        with suppress(DrsServiceError):  # it is forgotten in a day
            async with database.connection() as connection:
                await workers.gone(connection, me)


async def end_after(shutdown: asyncio.Event, grace: float, limit: asyncio.Timeout) -> None:
    await shutdown.wait()
    limit.reschedule(asyncio.get_running_loop().time() + grace)


async def watch(queue: FencedQueue) -> None:
    """End what does not get on, and write down what does."""
    while True:
        await asyncio.sleep(TICK)
        try:
            await queue.tick()
        except Exception as error:  # the next one may be luckier: nothing depends on what is written
            log.warning("the progress of jobs was not written down", error=str(error))


async def say_so(database: Database, me: uuid.UUID, kinds: list[str]) -> None:
    """Let everybody know that this worker works."""
    while True:
        with suppress(DrsServiceError):  # PgQueuer tells of a database that does not answer
            async with database.connection() as connection:
                await workers.say(connection, me, host=socket.gethostname(), pid=os.getpid(), kinds=kinds)
        await asyncio.sleep(workers.BEAT.total_seconds())


async def schedule(database: Database, job: Job, _: Schedule) -> None:
    async with database.transaction() as connection:
        await enqueue_once(connection, job)
