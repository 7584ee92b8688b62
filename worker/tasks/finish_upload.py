"""Make an object of an upload of which all bytes have come."""

from datetime import timedelta

import structlog

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import FinishUpload
from drs_service.jobs.tasks import Task
from drs_service.usecases.finishing import Finishing

log = structlog.get_logger()

ATTEMPTS = 12  # after the first: its sender waits, for as long as the storage may be away
AT_ONCE = 2  # among all workers: each reads whole files, and keeps a processor busy
MAX_SILENCE = timedelta(hours=2)  # a storage may copy terabytes without a word


def finish_upload(finishing: Finishing) -> Task:
    async def run(job: FinishUpload, attempt: Attempt) -> None:
        await finishing.work_off(job.upload_id, attempt)

    async def give_up(job: FinishUpload, reason: str) -> None:
        log.error("an upload was not finished", upload=job.upload_id[:8], reason=reason)
        await finishing.give_back(job.upload_id)

    return Task(run=run, give_up=give_up, attempts=ATTEMPTS, at_once=AT_ONCE, max_silence=MAX_SILENCE)
