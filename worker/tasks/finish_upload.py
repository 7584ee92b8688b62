"""Make an object of an upload of which all bytes have come."""

from datetime import timedelta

import structlog

from drs_service.jobs.kinds import FinishUpload
from drs_service.jobs.running import Patient
from drs_service.usecases.finishing import Finishing

log = structlog.get_logger()

ATTEMPTS = 12  # after the first: its sender waits, for as long as the storage may be away
MAX_AGE = timedelta(days=7)
AT_ONCE = 2  # among all workers: each reads whole files, and keeps a processor busy


def finish_upload(finishing: Finishing) -> Patient:
    async def task(job: FinishUpload) -> None:
        await finishing.work_off(job.upload_id)

    async def give_up(job: FinishUpload, reason: str) -> None:
        log.error("an upload was not finished", upload=job.upload_id[:8], reason=reason)
        await finishing.give_back(job.upload_id)

    return Patient(task=task, give_up=give_up, attempts=ATTEMPTS, max_age=MAX_AGE, at_once=AT_ONCE)
