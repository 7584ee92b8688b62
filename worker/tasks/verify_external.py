"""See that the bytes to which access methods of an object lead are as stated."""

from datetime import timedelta

from drs_service.jobs.kinds import VerifyExternal
from drs_service.jobs.running import FIRST_DELAY, Patient
from drs_service.usecases.verifying import Verifying

ATTEMPTS = 8  # after the first: readers wait a quarter of an hour for a server that does not answer
MAX_AGE = timedelta(days=7)
AT_ONCE = 4  # among all workers: servers elsewhere are asked for terabytes


def verify_external(verifying: Verifying, *, attempts: int = ATTEMPTS, first_delay: timedelta = FIRST_DELAY) -> Patient:
    async def task(job: VerifyExternal) -> None:
        await verifying.verify(job.object_id, job.urls)

    async def give_up(job: VerifyExternal, reason: str) -> None:
        await verifying.give_up(job.object_id, job.urls, reason)

    return Patient(
        task=task, give_up=give_up, attempts=attempts, max_age=MAX_AGE, at_once=AT_ONCE, first_delay=first_delay
    )
