"""Read a copy whose turn it is, and see that it is right."""

from datetime import timedelta

import structlog

from drs_service.domain.digest import Digest
from drs_service.jobs.kinds import VerifyBlob
from drs_service.jobs.running import Patient
from drs_service.usecases.scrubbing import Scrubbing

log = structlog.get_logger()

ATTEMPTS = 1  # after the first; what is due stays due
MAX_AGE = timedelta(days=7)
AT_ONCE = 2  # among all workers: a small copy does not wait for a large one


def verify_blob(scrubbing: Scrubbing) -> Patient:
    async def task(job: VerifyBlob) -> None:
        await scrubbing.verify(Digest.from_hex(job.digest), job.place)

    async def give_up(job: VerifyBlob, reason: str) -> None:
        log.warning("a copy was not read", digest=job.digest, place=job.place, reason=reason)

    return Patient(task=task, give_up=give_up, attempts=ATTEMPTS, max_age=MAX_AGE, at_once=AT_ONCE)
