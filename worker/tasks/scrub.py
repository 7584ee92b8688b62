"""Find copies whose turn it is to be read."""

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import Scrub
from drs_service.jobs.tasks import Task
from drs_service.usecases.scrubbing import Scrubbing


def scrub(scrubbing: Scrubbing) -> Task:
    async def run(_: Scrub, attempt: Attempt) -> None:
        await scrubbing.take_up(attempt)

    return Task(run=run)
