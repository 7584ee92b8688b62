"""Tell the operator of damaged copies."""

from datetime import timedelta

import structlog

from drs_service.jobs.kinds import Alert
from drs_service.jobs.running import Patient
from drs_service.usecases.alerting import Alerting

log = structlog.get_logger()

ATTEMPTS = 15  # after the first: about an hour
MAX_AGE = timedelta(days=1)


def alert(alerting: Alerting) -> Patient:
    async def task(_: Alert) -> None:
        await alerting.tell()

    async def give_up(_: Alert, reason: str) -> None:
        log.error("the operator was not told of damaged copies", reason=reason)

    return Patient(task=task, give_up=give_up, attempts=ATTEMPTS, max_age=MAX_AGE, at_once=1)
