"""Forget bytes that no row refers to."""

from datetime import UTC, datetime, timedelta

import structlog

from drs_service.jobs.kinds import SweepOrphans
from drs_service.jobs.running import Task
from drs_service.usecases.sweep import Sweep

log = structlog.get_logger()


def sweep_orphans(sweep: Sweep, *, grace: timedelta) -> Task:
    async def task(job: SweepOrphans) -> None:
        swept = await sweep.run(before=job.before or datetime.now(UTC) - grace)
        log.info(
            "swept",
            seen=swept.seen,
            forgotten=swept.forgotten,
            unfinished=swept.unfinished,
            released=swept.released,
        )

    return task
