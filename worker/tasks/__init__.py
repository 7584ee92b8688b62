"""One file per kind of job."""

from collections.abc import Mapping
from datetime import timedelta

from drs_service.blobs.store import BlobStore
from drs_service.db.pool import Database
from drs_service.jobs.kinds import ChecksumBacklog, ChecksumBlob, Job, SweepOrphans, Tidy, VerifyExternal
from drs_service.jobs.running import Patient, Task
from drs_service.outgoing.http import StrangersHttp
from drs_service.settings import Settings
from drs_service.usecases.checksumming import Checksumming
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.tidying import Tidying
from drs_service.usecases.verifying import Verifying
from worker.tasks.checksum_backlog import checksum_backlog
from worker.tasks.checksum_blob import checksum_blob
from worker.tasks.sweep_orphans import sweep_orphans
from worker.tasks.tidy import tidy
from worker.tasks.verify_external import verify_external


def tasks(
    database: Database, store: BlobStore, http: StrangersHttp, settings: Settings
) -> Mapping[type[Job], Task | Patient]:
    """What is done for each kind."""
    checksumming = Checksumming(database, store, settings.checksums)
    grace = timedelta(seconds=settings.sweep_grace_seconds)
    return {
        ChecksumBlob: checksum_blob(checksumming),
        ChecksumBacklog: checksum_backlog(checksumming),
        SweepOrphans: sweep_orphans(Sweep(database, store), grace=grace),
        Tidy: tidy(Tidying(database, store)),
        VerifyExternal: verify_external(Verifying(database, http)),
    }
