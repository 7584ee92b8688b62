"""PgQueuer's queue, fenced: what a worker says of a job counts only while that worker has it.

PgQueuer asks for the id of a job alone: a worker that was away for longer than its lease would take the job off the
queue, or keep it alive, under the hands of the one that does it now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgqueuer import Queries
from pgqueuer.models import Job as QueuedJob
from pgqueuer.models import TracebackRecord
from pgqueuer.ports.driver import Driver
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.types import JOB_STATUS, JobId, QueueEntrypoint, QueueManagerId

from drs_service.errors import DrsServiceError
from drs_service.jobs.leases import DONE, HELD, SAME_DEAD, Lease

MAX_MESSAGE = 2000  # characters of an error that are kept

BEAT = f"""
    UPDATE pgqueuer AS job SET heartbeat = now()
    FROM unnest($2::bigint[], $3::timestamptz[]) AS said (id, taken)
    WHERE {HELD}
    RETURNING job.id
"""  # noqa: S608  # of constants

# FOR KEY SHARE: a job that ends just now keeps its row until the note of it is written.
PROGRESS = f"""
    WITH held AS (
        SELECT job.id, said.done, said.total, said.unit
        FROM unnest($2::bigint[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::text[])
            AS said (id, taken, done, total, unit)
        JOIN pgqueuer AS job ON {HELD}
        FOR KEY SHARE OF job
    )
    INSERT INTO job_notes (job_id, done, total, unit, progressed_at)
    SELECT id, done, total, unit, now() FROM held
    ON CONFLICT (job_id) DO UPDATE SET
        done = EXCLUDED.done, total = EXCLUDED.total, unit = EXCLUDED.unit, progressed_at = EXCLUDED.progressed_at
"""  # noqa: S608

# An attempt has failed: the job waits for the next one, or is kept among the dead, once.
FAILED = f"""
    WITH ended AS (
        UPDATE pgqueuer AS job
        SET status = $4::pgqueuer_status, execute_after = now() + $5::interval, attempts = attempts + $6::integer,
            updated = now(), queue_manager_id = NULL
        FROM (SELECT $2::bigint AS id, $3::timestamptz AS taken) AS said
        WHERE {HELD}
        RETURNING job.id, job.entrypoint, job.priority, job.payload
    ), forgotten AS (
        DELETE FROM pgqueuer WHERE $4::pgqueuer_status = 'failed' AND id IN ({SAME_DEAD})
    ), noted AS (
        INSERT INTO job_notes (job_id, error_code, error_message, failed_at)
        SELECT id, $7::text, $8::text, now() FROM ended WHERE $7::text IS NOT NULL
        ON CONFLICT (job_id) DO UPDATE SET
            error_code = EXCLUDED.error_code, error_message = EXCLUDED.error_message, failed_at = EXCLUDED.failed_at
    )
    INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority, traceback)
    SELECT id, $4::pgqueuer_status, entrypoint, priority, $9::jsonb FROM ended
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt ended."""

    error: Exception | None
    """None: its worker had to stop."""
    counts: bool = True
    """Whether it was an attempt at all."""

    @property
    def code(self) -> str | None:
        if self.error is None:
            return None
        return self.error.code if isinstance(self.error, DrsServiceError) else type(self.error).__name__

    @property
    def message(self) -> str:
        message = self.error.in_full if isinstance(self.error, DrsServiceError) else str(self.error)
        return message.replace("\0", "")[:MAX_MESSAGE]


class FencedQueue(Queries):
    """For one worker, which has at most at_once jobs at the same time; None: as many as there are."""

    def __init__(self, driver: Driver, worker: QueueManagerId, *, at_once: int | None) -> None:
        super().__init__(driver)
        self._worker = worker
        self._at_once = at_once
        self._leases: dict[JobId, Lease] = {}
        self._failures: dict[tuple[JobId, datetime], Failure] = {}

    def begin(self, lease: Lease) -> None:
        self._leases[lease.id] = lease

    def end(self, lease: Lease) -> None:
        if self._leases.get(lease.id) is lease:
            del self._leases[lease.id]

    def failed(self, queued: QueuedJob, failure: Failure) -> None:
        """What is to be kept of the attempt, once PgQueuer says what becomes of the job."""
        self._failures[queued.id, queued.updated] = failure

    async def tick(self) -> None:
        """Once in a TICK: end what does not get on, and write down what does."""
        for lease in list(self._leases.values()):
            lease.tick()
        telling = [(lease, lease.told) for lease in self._leases.values() if lease.told is not None]
        if not telling:
            return
        rows = [(lease.id, lease.taken, *told) for lease, told in telling]
        await self.driver.execute(PROGRESS, self._worker, *(list(column) for column in zip(*rows, strict=True)))
        for lease, told in telling:
            if lease.told is told:
                lease.told = None

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[QueuedJob]:
        # PgQueuer's own limit must be twice the size of a batch, for a reason of its buffers: not this one.
        limit = self._at_once or global_concurrency_limit
        return await super().dequeue(batch_size, entrypoints, queue_manager_id, limit, heartbeat_timeout)

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        leases = [self._leases[one] for one in set(job_ids) if one in self._leases]
        if not leases:
            return
        rows = await self.driver.fetch(BEAT, self._worker, [one.id for one in leases], [one.taken for one in leases])
        ours = {row["id"] for row in rows}
        for lease in leases:
            if lease.id not in ours and self._leases.get(lease.id) is lease:
                lease.lost()

    async def log_jobs(self, job_status: list[tuple[QueuedJob, JOB_STATUS, TracebackRecord | None]]) -> None:
        done = [queued for queued, status, _ in job_status if status == "successful"]
        if done:
            await self.driver.execute(DONE, self._worker, [one.id for one in done], [one.updated for one in done])
        for queued, status, record in job_status:
            if status == "canceled":  # with its worker
                await self._fail(queued, "queued", timedelta(0), record, attempts=0)
            elif status != "successful":
                await self._fail(queued, "failed", timedelta(0), record, attempts=1)

    async def retry_job(self, job: QueuedJob, delay: timedelta, traceback_record: TracebackRecord | None) -> None:
        await self._fail(job, "queued", delay, traceback_record, attempts=1)

    async def _fail(
        self, queued: QueuedJob, status: JOB_STATUS, delay: timedelta, record: TracebackRecord | None, *, attempts: int
    ) -> None:
        failure = self._failures.get((queued.id, queued.updated))
        said: Sequence[str | None] = (None, None)
        if failure is not None:
            said, attempts = (failure.code, failure.message), int(failure.counts)
        traceback = record.model_dump_json() if record is not None else None
        await self.driver.execute(
            FAILED, self._worker, queued.id, queued.updated, status, delay, attempts, *said, traceback
        )
        self._failures.pop((queued.id, queued.updated), None)
