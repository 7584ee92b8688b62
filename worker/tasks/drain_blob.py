"""Move a blob out of a place."""

from datetime import timedelta

import structlog

from drs_service.domain.digest import Digest
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import DrainBlob
from drs_service.jobs.tasks import Task
from drs_service.usecases.draining import Draining

log = structlog.get_logger()

ATTEMPTS = 8  # after the first: a place may be away for a quarter of an hour; the backlog comes back to the rest
AT_ONCE = 4  # among all workers: each reads a whole blob, and may write one
MAX_SILENCE = timedelta(hours=2)  # a storage may copy terabytes without a word


def drain_blob(draining: Draining) -> Task:
    async def run(job: DrainBlob, attempt: Attempt) -> None:
        await draining.move(Digest.from_hex(job.digest), job.place, attempt)

    async def give_up(job: DrainBlob, reason: str) -> None:
        log.error("a blob was not moved", digest=job.digest, place=job.place, reason=reason)

    return Task(run=run, give_up=give_up, attempts=ATTEMPTS, at_once=AT_ONCE, max_silence=MAX_SILENCE)
