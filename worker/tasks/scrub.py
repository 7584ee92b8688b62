"""Find copies whose turn it is to be read."""

from drs_service.jobs.kinds import Scrub
from drs_service.jobs.running import Task
from drs_service.usecases.scrubbing import Scrubbing


def scrub(scrubbing: Scrubbing) -> Task:
    async def task(_: Scrub) -> None:
        await scrubbing.take_up()

    return task
