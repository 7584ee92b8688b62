"""What an attempt at a job has of it, and only for as long as nobody else has it.

Whoever takes a job stamps it: its `queue_manager_id` and the time it was `updated`, which nothing else touches while it
is taken. The two are the attempt's token: what is said of the job without it counts for nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from pgqueuer.models import Job as QueuedJob

from drs_service.db.pool import Connection
from drs_service.errors import JobStalled, JobTakenOver

TICK = 1.0  # seconds between looks at what is under way

# Of a job that somebody says something of, by the worker $1.
HELD = "job.id = said.id AND job.updated = said.taken AND job.queue_manager_id = $1 AND job.status = 'picked'"

HOLD = f"""
    SELECT job.id FROM pgqueuer AS job, unnest($2::bigint[], $3::timestamptz[]) AS said (id, taken)
    WHERE {HELD}
    FOR NO KEY UPDATE OF job
"""  # noqa: S608  # of constants

# Of a job that has ended, what was given up before and is the same: it is done by now, or is listed anew. What an
# operator has under his hands is left to him.
SAME_DEAD = """
    SELECT same.id FROM ended CROSS JOIN LATERAL (
        SELECT dead.id FROM pgqueuer AS dead
        WHERE dead.status = 'failed' AND dead.entrypoint = ended.entrypoint
            AND md5(dead.payload) = md5(ended.payload) AND dead.payload = ended.payload AND dead.id <> ended.id
        FOR UPDATE OF dead SKIP LOCKED
    ) AS same
"""

DONE = f"""
    WITH ended AS (
        DELETE FROM pgqueuer AS job USING unnest($2::bigint[], $3::timestamptz[]) AS said (id, taken)
        WHERE {HELD}
        RETURNING job.id, job.entrypoint, job.priority, job.payload
    ), forgotten AS (
        DELETE FROM pgqueuer WHERE id IN ({SAME_DEAD})
    )
    INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)
    SELECT id, 'successful', entrypoint, priority FROM ended
    RETURNING job_id
"""  # noqa: S608  # of constants


class Lease:
    """An attempt at a job that this worker has taken. It may end before the task does, which is cancelled then."""

    def __init__(self, queued: QueuedJob, max_silence: timedelta) -> None:
        self.id = queued.id
        self.taken = queued.updated
        self.told: tuple[int, int | None, str] | None = None
        """Of its progress, what is not written down yet."""
        self._worker = queued.queue_manager_id
        self._max_silence = max_silence
        self._silent = 0.0
        self._limit: asyncio.Timeout | None = None
        self._ended: JobTakenOver | JobStalled | None = None
        self._concluded = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Cancel the block when the lease ends. JobTakenOver, JobStalled."""
        try:
            async with asyncio.timeout(None) as self._limit:
                yield
        except TimeoutError:
            if self._ended is None:
                raise
            raise self._ended from None
        finally:
            self._limit = None

    def progress(self, done: int, total: int | None, unit: str) -> None:
        self._silent = 0.0
        self.told = (done, total, unit)

    async def hold(self, connection: Connection) -> None:
        if await connection.fetchval(HOLD, self._worker, [self.id], [self.taken]) is None:
            raise JobTakenOver

    async def conclude(self, connection: Connection) -> None:
        self._concluded = True  # from here on a heartbeat that finds no row is no wonder
        if await connection.fetchval(DONE, self._worker, [self.id], [self.taken]) is None:
            raise JobTakenOver

    def lost(self) -> None:
        """The job is not ours any more."""
        if not self._concluded:
            self._end(JobTakenOver())

    def tick(self) -> None:
        """A moment has passed. Those in which this whole process stood still do not count: no task can help that."""
        self._silent += TICK
        if self._silent > self._max_silence.total_seconds() and not self._concluded:
            self._end(JobStalled(f"The job did not get on for {self._max_silence}."))

    def _end(self, error: JobTakenOver | JobStalled) -> None:
        if self._limit is not None and self._ended is None:
            self._ended = error
            self._limit.reschedule(asyncio.get_running_loop().time())
