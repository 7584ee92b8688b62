"""Forget bytes that no row refers to."""

from datetime import timedelta

import structlog

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import SweepOrphans
from drs_service.jobs.tasks import Task
from drs_service.usecases.sweep import Sweep

log = structlog.get_logger()

MAX_SILENCE = timedelta(hours=1)


def sweep_orphans(sweep: Sweep, *, grace: timedelta) -> Task:
    async def run(job: SweepOrphans, attempt: Attempt) -> None:
        if job.before is not None:
            swept = await sweep.run(before=job.before, attempt=attempt)
        else:
            swept = await sweep.run_after(grace, attempt)
        log.info(
            "swept",
            seen=swept.seen,
            forgotten=swept.forgotten,
            unfinished=swept.unfinished,
            released=swept.released,
        )

    return Task(run=run, max_silence=MAX_SILENCE)
