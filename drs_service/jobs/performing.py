"""One attempt at a job, from taking it to what becomes of it."""

import asyncio
from datetime import timedelta
from typing import NoReturn

import msgspec
import structlog
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job as QueuedJob

from drs_service.errors import JobAbandoned, JobTakenOver, JobTooOld
from drs_service.jobs.fenced import Failure, FencedQueue
from drs_service.jobs.kinds import Job
from drs_service.jobs.leases import Lease
from drs_service.jobs.tasks import Task

log = structlog.get_logger()

AFTER_ALL = timedelta(minutes=1)  # before what could not even be given up is tried again


class Performing:
    """Performs jobs of a kind by its task.

    To PgQueuer a RetryRequested puts a job back, any other exception keeps it among the dead.
    """

    def __init__(self, queue: FencedQueue, kind: type[Job], task: Task) -> None:
        self._queue = queue
        self._kind = kind
        self._task = task

    async def __call__(self, queued: QueuedJob) -> None:
        try:
            job = msgspec.json.decode(queued.payload or b"{}", type=self._kind)
        except msgspec.DecodeError as error:  # nobody will ever understand it
            self._queue.failed(queued, Failure(error, counts=False))
            raise
        if queued.attempts > self._task.attempts:
            await self._give_up(queued, job, JobAbandoned(), counts=False)
        if queued.updated - queued.created > self._task.max_age:  # by the clock of the database, both
            await self._give_up(queued, job, JobTooOld(f"It was not done within {self._task.max_age}."), counts=False)
        try:
            await self._attempt(queued, job)
        except JobTakenOver:
            # What PgQueuer says of it from here on counts for nothing.
            log.warning("a job was taken over by another worker", kind=queued.entrypoint, job=queued.id)
        except asyncio.CancelledError as error:
            # PgQueuer would take a cancelled job off the queue: nobody would do it ever.
            self._queue.failed(queued, Failure(None, counts=False))
            raise RetryRequested(reason="the worker had to stop") from error
        except Exception as error:
            delay = self._task.delay(error, queued.attempts)
            if delay is None:
                await self._give_up(queued, job, error)
            counts = self._task.counts(error)
            tell = log.warning if counts else log.info
            tell(
                "a job is tried again",
                kind=queued.entrypoint,
                job=queued.id,
                error=str(error),
                delay=delay.total_seconds(),
            )
            self._queue.failed(queued, Failure(error, counts=counts))
            raise RetryRequested(delay, str(error)) from error

    async def _attempt(self, queued: QueuedJob, job: Job) -> None:
        lease = Lease(queued, self._task.max_silence)
        self._queue.begin(lease)
        try:
            async with lease.running():
                await self._task.run(job, lease)
        finally:
            self._queue.end(lease)

    async def _give_up(self, queued: QueuedJob, job: Job, error: Exception, *, counts: bool = True) -> NoReturn:
        try:
            await self._task.give_up(job, str(error))
        except Exception as failure:
            self._queue.failed(queued, Failure(failure, counts=False))
            raise RetryRequested(AFTER_ALL, str(failure)) from failure
        self._queue.failed(queued, Failure(error, counts=counts))
        raise error
