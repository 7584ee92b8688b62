"""Find what is to be moved out of a place."""

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import DrainPlace
from drs_service.jobs.tasks import Task
from drs_service.usecases.draining import Draining


def drain_place(draining: Draining) -> Task:
    async def run(job: DrainPlace, attempt: Attempt) -> None:
        await draining.take_up(job.place, job.after)

    return Task(run=run)
