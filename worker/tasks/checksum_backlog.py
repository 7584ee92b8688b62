"""Find blobs that lack a checksum which the operator wants."""

from datetime import timedelta

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import ChecksumBacklog
from drs_service.jobs.tasks import Task
from drs_service.usecases.checksumming import Checksumming

MAX_SILENCE = timedelta(minutes=10)  # for one statement


def checksum_backlog(checksumming: Checksumming) -> Task:
    async def run(job: ChecksumBacklog, attempt: Attempt) -> None:
        await checksumming.take_up(job.after, attempt)

    return Task(run=run, max_silence=MAX_SILENCE)
