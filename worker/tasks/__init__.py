"""One file per kind of job."""

from collections.abc import Mapping
from datetime import timedelta

from drs_service.blobs.store import BlobStore
from drs_service.db.pool import Database
from drs_service.jobs.kinds import Job, SweepOrphans, Tidy
from drs_service.jobs.running import Task
from drs_service.settings import Settings
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.tidying import Tidying
from worker.tasks.sweep_orphans import sweep_orphans
from worker.tasks.tidy import tidy


def tasks(database: Database, store: BlobStore, settings: Settings) -> Mapping[type[Job], Task]:
    """What is done for each kind."""
    grace = timedelta(seconds=settings.sweep_grace_seconds)
    return {
        SweepOrphans: sweep_orphans(Sweep(database, store), grace=grace),
        Tidy: tidy(Tidying(database)),
    }
