"""See that the bytes to which access methods of an object lead are as stated."""

from datetime import timedelta

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import VerifyExternal
from drs_service.jobs.tasks import FIRST_DELAY, Task
from drs_service.usecases.verifying import Verifying

ATTEMPTS = 8  # after the first: readers wait a quarter of an hour for a server that does not answer
AT_ONCE = 4  # among all workers: servers elsewhere are asked for terabytes
MAX_SILENCE = timedelta(minutes=30)  # more than the patience with a server that sends nothing


def verify_external(verifying: Verifying, *, attempts: int = ATTEMPTS, first_delay: timedelta = FIRST_DELAY) -> Task:
    async def run(job: VerifyExternal, attempt: Attempt) -> None:
        await verifying.verify(job.object_id, job.urls, attempt)

    async def give_up(job: VerifyExternal, reason: str) -> None:
        await verifying.give_up(job.object_id, job.urls, reason)

    return Task(
        run=run,
        give_up=give_up,
        attempts=attempts,
        at_once=AT_ONCE,
        max_silence=MAX_SILENCE,
        first_delay=first_delay,
    )
