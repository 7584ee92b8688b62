"""One file per kind of job."""

from collections.abc import Mapping
from datetime import timedelta

from drs_service.db.pool import Database
from drs_service.domain.replication import parse_rules
from drs_service.jobs.kinds import (
    Adopt,
    Alert,
    ChecksumBacklog,
    ChecksumBlob,
    DrainBlob,
    DrainPlace,
    FinishUpload,
    Job,
    ReplicaBacklog,
    ReplicateBlob,
    Scrub,
    SweepOrphans,
    ThawBlob,
    Tidy,
    VerifyBlob,
    VerifyExternal,
)
from drs_service.jobs.tasks import Task
from drs_service.outgoing.http import Http, StrangersHttp
from drs_service.parts import thaw
from drs_service.settings import Settings
from drs_service.usecases.adopting import Adopting
from drs_service.usecases.alerting import Alerting
from drs_service.usecases.checksumming import Checksumming
from drs_service.usecases.draining import Draining
from drs_service.usecases.finishing import Finishing
from drs_service.usecases.holding import Holding
from drs_service.usecases.places import Places
from drs_service.usecases.reading import Reading
from drs_service.usecases.replicating import Replicating
from drs_service.usecases.scrubbing import Pace, Scrubbing
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.thawing import Thawing
from drs_service.usecases.tidying import Tidying
from drs_service.usecases.turns import Turns
from drs_service.usecases.verifying import Verifying
from worker.tasks.adopt import adopt
from worker.tasks.alert import alert
from worker.tasks.checksum_backlog import checksum_backlog
from worker.tasks.checksum_blob import checksum_blob
from worker.tasks.drain_blob import drain_blob
from worker.tasks.drain_place import drain_place
from worker.tasks.finish_upload import finish_upload
from worker.tasks.replica_backlog import replica_backlog
from worker.tasks.replicate_blob import replicate_blob
from worker.tasks.scrub import scrub
from worker.tasks.sweep_orphans import sweep_orphans
from worker.tasks.thaw_blob import thaw_blob
from worker.tasks.tidy import tidy
from worker.tasks.verify_blob import verify_blob
from worker.tasks.verify_external import verify_external


def tasks(
    database: Database, places: Places, http: StrangersHttp, services: Http, turns: Turns, settings: Settings
) -> Mapping[type[Job], Task]:
    """What is done for each kind, and how patiently."""
    store = places.primary
    how = thaw(settings)
    reading = Reading(database, places, alerts=settings.alert_webhook is not None, how=how, patient=True)
    checksumming = Checksumming(database, store, settings.checksums, reading)
    replicating = Replicating(database, places, reading, parse_rules(settings.replicas))
    draining = Draining(database, places, reading, replicating)
    scrubbing = Scrubbing(
        database,
        places,
        reading,
        timedelta(days=settings.verify_days) if settings.verify_days else None,
        Pace(settings.verify_bytes_per_second),
    )
    webhook = settings.alert_webhook.reveal() if settings.alert_webhook is not None else None
    grace = timedelta(seconds=settings.sweep_grace_seconds)
    lifetime = timedelta(seconds=settings.upload_lifetime_seconds)
    finishing = Finishing(
        database,
        store,
        Holding(database, store, turns, lifetime=lifetime),
        lifetime=lifetime,
        checksums=settings.checksums,
        at_once=settings.finish_at_once_bytes,
    )
    return {
        ChecksumBlob: checksum_blob(checksumming),
        ChecksumBacklog: checksum_backlog(checksumming),
        FinishUpload: finish_upload(finishing),
        ReplicateBlob: replicate_blob(replicating),
        ReplicaBacklog: replica_backlog(replicating),
        DrainPlace: drain_place(draining),
        DrainBlob: drain_blob(draining),
        VerifyBlob: verify_blob(scrubbing),
        Scrub: scrub(scrubbing),
        Adopt: adopt(Adopting(database, places, settings.checksums, alerts=reading.alerts)),
        Alert: alert(Alerting(database, services, webhook, service=settings.service_id)),
        SweepOrphans: sweep_orphans(Sweep(database, store, places), grace=grace),
        ThawBlob: thaw_blob(Thawing(database, places, reading, how)),
        Tidy: tidy(Tidying(database, store)),
        VerifyExternal: verify_external(Verifying(database, http)),
    }
