"""See that a place has a good copy of a blob."""

from datetime import timedelta

import structlog

from drs_service.domain.digest import Digest
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import ReplicateBlob
from drs_service.jobs.tasks import Task
from drs_service.usecases.replicating import Replicating

log = structlog.get_logger()

ATTEMPTS = 8  # after the first: a place may be away for a quarter of an hour; the backlog comes back to the rest
AT_ONCE = 4  # among all workers: each reads and writes a whole blob
MAX_SILENCE = timedelta(hours=2)  # a storage may copy terabytes without a word


def replicate_blob(replicating: Replicating) -> Task:
    async def run(job: ReplicateBlob, attempt: Attempt) -> None:
        await replicating.replicate(Digest.from_hex(job.digest), job.place, attempt)

    async def give_up(job: ReplicateBlob, reason: str) -> None:
        log.error("a copy was not made", digest=job.digest, place=job.place, reason=reason)

    return Task(run=run, give_up=give_up, attempts=ATTEMPTS, at_once=AT_ONCE, max_silence=MAX_SILENCE)
