"""Keep the tables small that only grow."""

from datetime import timedelta

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import Tidy
from drs_service.jobs.tasks import Task
from drs_service.usecases.tidying import Tidying

MAX_SILENCE = timedelta(hours=1)


def tidy(tidying: Tidying) -> Task:
    async def run(_: Tidy, attempt: Attempt) -> None:
        await tidying.run()

    return Task(run=run, max_silence=MAX_SILENCE)
