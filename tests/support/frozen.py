"""Services whose primary place is an archive of S3, and workers that bring copies back from it without much waiting."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from drs_service.blobs.keys import key_for
from drs_service.db.pool import Database
from drs_service.domain.digest import Digest
from drs_service.jobs import running
from drs_service.jobs.kinds import Job, ThawBlob
from drs_service.jobs.tasks import Task
from drs_service.parts import thaw
from drs_service.settings import Secret, Settings
from drs_service.usecases.places import Places
from drs_service.usecases.reading import Reading
from drs_service.usecases.thawing import Thawing
from tests.support.bucket import Bucket
from tests.support.glacier import Glacier
from worker.tasks.thaw_blob import thaw_blob

SOON = timedelta(milliseconds=20)


class Frozen:
    """A part of a bucket in front of which there is an archive."""

    def __init__(self, glacier: Glacier) -> None:
        self.glacier = glacier
        self.bucket = Bucket(glacier.server)

    def settings(self, settings: Settings) -> Settings:
        """Those of a service that keeps its bytes here."""
        access = self.glacier.access.s3
        return replace(
            settings,
            storage_url=self.bucket.url,
            s3_endpoint_url=access.endpoint_url,
            s3_access_key_id=access.access_key_id,
            s3_secret_access_key=Secret(access.secret_access_key or ""),
        )

    def put_away(self, digest: Digest) -> None:
        self.glacier.put_away(self.bucket.prefix + key_for(digest))

    def take_out(self, digest: Digest) -> None:
        self.glacier.take_out(self.bucket.prefix + key_for(digest))


def thawing(database: Database, places: Places, settings: Settings) -> Thawing:
    how = thaw(settings)
    return Thawing(database, places, Reading(database, places, how=how), how)


def tasks(thawing: Thawing) -> Mapping[type[Job], Task]:
    return {ThawBlob: thaw_blob(thawing, look_again=SOON)}


@asynccontextmanager
async def working(database: Database, todo: Mapping[type[Job], Task], *, poll: timedelta = SOON) -> AsyncIterator[None]:
    """A worker that does these, for the length of the block."""
    shutdown = asyncio.Event()
    work = asyncio.create_task(running.run(database, todo, {}, shutdown=shutdown, grace=10, poll=poll))
    try:
        yield
    finally:
        shutdown.set()
        await work
