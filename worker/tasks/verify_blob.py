"""Read a copy whose turn it is, and see that it is right."""

from datetime import timedelta

import structlog

from drs_service.domain.digest import Digest
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import VerifyBlob
from drs_service.jobs.tasks import Task
from drs_service.usecases.scrubbing import Scrubbing

log = structlog.get_logger()

ATTEMPTS = 1  # after the first; what is due stays due
AT_ONCE = 2  # among all workers: a small copy does not wait for a large one
MAX_SILENCE = timedelta(hours=1)  # between two pieces of a copy


def verify_blob(scrubbing: Scrubbing) -> Task:
    async def run(job: VerifyBlob, attempt: Attempt) -> None:
        await scrubbing.verify(Digest.from_hex(job.digest), job.place, attempt)

    async def give_up(job: VerifyBlob, reason: str) -> None:
        log.warning("a copy was not read", digest=job.digest, place=job.place, reason=reason)

    return Task(run=run, give_up=give_up, attempts=ATTEMPTS, at_once=AT_ONCE, max_silence=MAX_SILENCE)
