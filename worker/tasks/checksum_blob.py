"""Work out the checksums that the operator wants of a blob."""

from datetime import timedelta

import structlog

from drs_service.domain.digest import Digest
from drs_service.jobs.kinds import ChecksumBlob
from drs_service.jobs.running import Patient
from drs_service.usecases.checksumming import Checksumming

log = structlog.get_logger()

ATTEMPTS = 3  # after the first; the backlog comes back to what was given up
MAX_AGE = timedelta(days=7)
AT_ONCE = 2  # among all workers: each reads a whole blob, and keeps a processor busy


def checksum_blob(checksumming: Checksumming) -> Patient:
    async def task(job: ChecksumBlob) -> None:
        await checksumming.work_out(Digest.from_hex(job.digest))

    async def give_up(job: ChecksumBlob, reason: str) -> None:
        log.error("checksums were not worked out", digest=job.digest, reason=reason)

    return Patient(task=task, give_up=give_up, attempts=ATTEMPTS, max_age=MAX_AGE, at_once=AT_ONCE)
