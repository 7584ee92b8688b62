"""Copies are brought back from archives: the storage is asked once, and then again and again whether it is done.

asked for by      what is known     the storage says     so
────────────      ─────────────     ────────────────     ──
a reader, or      archived          archived             it is asked to bring it back, once the day has room for it;
                                                         look again
work that reads                     thawing              look again
                                    readable             the row says so, and until when
                  readable          (not asked)          nothing: somebody was faster
"""

from dataclasses import dataclass

import structlog

from drs_service.blobs.driver import Condition, Frost
from drs_service.blobs.store import BlobStore
from drs_service.db import archived, blobs, replicas, restores
from drs_service.db.pool import Database
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.domain.thawing import Thaw
from drs_service.errors import BlobNotFound, BytesArchived
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.usecases.affording import too_long
from drs_service.usecases.places import Places
from drs_service.usecases.reading import MISSING, Reading

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Thawing:
    database: Database
    places: Places
    reading: Reading
    how: Thaw

    async def thaw(self, digest: Digest, place: str, attempt: Attempt = UNQUEUED) -> None:
        """See that a copy can be read. May be called twice. Nothing if it has gone, or nobody knows it for archived.

        BytesArchived until it can: come again. BytesPutAway if it is longer than what is brought back in a day.
        StorageUnavailable.
        """
        store = self.places.get(place)
        async with self.database.connection() as connection:
            copy = (await replicas.of(connection, digest)).get(place)
            size = (await blobs.sizes(connection, [digest])).get(digest)
        if store is None or copy is None or size is None or not copy.archived:
            return
        try:
            condition = await self._asked_for(store, Blob(digest, size))
        except BlobNotFound:
            await self.reading.damaged(digest, store, MISSING, attempt)
            return
        async with self.database.transaction() as connection:
            await attempt.conclude(connection)
            await archived.restored(connection, digest, place, condition.until)
        log.info("a copy was brought back", digest=digest.hex, place=place, until=condition.until)

    async def _asked_for(self, store: BlobStore, blob: Blob) -> Condition:
        """BytesArchived unless it can be read."""
        digest = blob.digest
        condition = await store.condition(digest)
        match condition.frost:
            case Frost.NONE:
                return condition
            case Frost.THAWING:
                raise BytesArchived("The storage is bringing it back.")
            case Frost.ARCHIVED:
                await self._count(store, blob)
                await store.thaw(digest, self.how)
                log.info("a copy is being brought back", digest=digest.hex, place=store.place, tier=self.how.tier)
                raise BytesArchived(f"The storage was asked to bring it back ({self.how.tier}).")

    async def _count(self, store: BlobStore, blob: Blob) -> None:
        """See that there is room for it today. It counts from before it is asked for, so that none goes uncounted."""
        if self.how.daily is None:
            return
        if blob.size > self.how.daily:
            raise too_long(blob.size, self.how.daily)
        async with self.database.transaction() as connection:
            if await restores.take(connection, blob.digest, store.place, blob.size, most=self.how.daily):
                return
        raise BytesArchived(f"It waits: {self.how.daily} bytes have been brought back within a day.")
