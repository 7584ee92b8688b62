"""Find what is to be moved out of a place."""

from drs_service.jobs.kinds import DrainPlace
from drs_service.jobs.running import Task
from drs_service.usecases.draining import Draining


def drain_place(draining: Draining) -> Task:
    async def task(job: DrainPlace) -> None:
        await draining.take_up(job.place, job.after)

    return task
