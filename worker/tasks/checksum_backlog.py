"""Find blobs that lack a checksum which the operator wants."""

from drs_service.jobs.kinds import ChecksumBacklog
from drs_service.jobs.running import Task
from drs_service.usecases.checksumming import Checksumming


def checksum_backlog(checksumming: Checksumming) -> Task:
    async def task(job: ChecksumBacklog) -> None:
        await checksumming.take_up(job.after)

    return task
