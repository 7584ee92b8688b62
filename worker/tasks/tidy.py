"""Keep the tables small that only grow."""

from drs_service.jobs.kinds import Tidy
from drs_service.jobs.running import Task
from drs_service.usecases.tidying import Tidying


def tidy(tidying: Tidying) -> Task:
    async def task(_: Tidy) -> None:
        await tidying.run()

    return task
