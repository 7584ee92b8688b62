"""Tell the operator of damaged copies."""

from datetime import timedelta

import structlog

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import Alert
from drs_service.jobs.tasks import Task
from drs_service.usecases.alerting import Alerting

log = structlog.get_logger()

ATTEMPTS = 15  # after the first: about an hour
MAX_AGE = timedelta(days=1)


def alert(alerting: Alerting) -> Task:
    async def run(_: Alert, attempt: Attempt) -> None:
        await alerting.tell()

    async def give_up(_: Alert, reason: str) -> None:
        log.error("the operator was not told of damaged copies", reason=reason)

    return Task(run=run, give_up=give_up, attempts=ATTEMPTS, max_age=MAX_AGE, at_once=1)
