"""Make objects of files in an external place."""

from datetime import timedelta

import structlog

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import Adopt
from drs_service.jobs.tasks import Task
from drs_service.usecases.adopting import Adopting

log = structlog.get_logger()

ATTEMPTS = 8  # after the first: a place may be away for a quarter of an hour
AT_ONCE = 4  # among all workers: each reads several files at once
MAX_SILENCE = timedelta(hours=1)  # between two pieces of a file
MAX_AGE = timedelta(days=365)  # many files wait for long


def adopt(adopting: Adopting) -> Task:
    async def run(job: Adopt, attempt: Attempt) -> None:
        await adopting.adopt(job.place, job.files, attempt)

    async def give_up(job: Adopt, reason: str) -> None:
        log.error("files were not adopted", place=job.place, files=len(job.files), reason=reason)
        await adopting.give_up(job.files, reason)

    return Task(run=run, give_up=give_up, attempts=ATTEMPTS, max_age=MAX_AGE, at_once=AT_ONCE, max_silence=MAX_SILENCE)
