"""Work out the checksums that the operator wants of a blob, and those that somebody else wants."""

from datetime import timedelta

import structlog

from drs_service.domain.digest import Digest
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import ChecksumBlob
from drs_service.jobs.tasks import Task
from drs_service.usecases.checksumming import Checksumming

log = structlog.get_logger()

ATTEMPTS = 3  # after the first; the backlog comes back to what was given up
AT_ONCE = 2  # among all workers: each reads a whole blob, and keeps a processor busy
MAX_SILENCE = timedelta(minutes=10)  # between two pieces of a blob


def checksum_blob(checksumming: Checksumming) -> Task:
    async def run(job: ChecksumBlob, attempt: Attempt) -> None:
        wanted = {*checksumming.algorithms, *job.algorithms}
        await checksumming.work_out(Digest.from_hex(job.digest), wanted, attempt=attempt)

    async def give_up(job: ChecksumBlob, reason: str) -> None:
        log.error("checksums were not worked out", digest=job.digest, reason=reason)

    return Task(run=run, give_up=give_up, attempts=ATTEMPTS, at_once=AT_ONCE, max_silence=MAX_SILENCE)
