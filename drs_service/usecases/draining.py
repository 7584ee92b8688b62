"""A place is emptied: what the primary has not yet is copied there, and then it goes.

    not in the primary       copied there, for it may have been the primary itself until now: what has copies in other
                             places would be left with one copy less than everything else has; then as below
    in the primary           that copy, or else another one, is read and seen to be right; then, under the lock, row
                             and bytes here go
    in files of others       as if it were only there: those are not ours to keep
    in an archive            it is brought back first, whichever is to be read
    only there, bad          stays: there is nothing better, and somebody may want to look at it

May be called as often as one likes, by several at once, and be stopped at any time: each blob is done by itself.
"""

from collections.abc import AsyncIterable
from dataclasses import dataclass

import structlog

from drs_service.blobs.driver import Buffer
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs, drains, replicas
from drs_service.db.pool import Connection, Database
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.errors import BlobCorrupt, DigestMismatch, PlaceUnsuitable
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.jobs.kinds import DrainBlob, DrainPlace, enqueue, enqueue_all
from drs_service.usecases.places import Places
from drs_service.usecases.progressing import paced
from drs_service.usecases.reading import Reading
from drs_service.usecases.replicating import Replicating

log = structlog.get_logger()

BATCH = 500  # blobs looked up at once


@dataclass(frozen=True, slots=True)
class Draining:
    database: Database
    places: Places
    reading: Reading
    replicating: Replicating

    async def begin(self, place: str) -> None:
        """Nothing is written to place any more, and workers empty it. PlaceUnsuitable."""
        if place == self.places.primary.place:
            raise PlaceUnsuitable(f"{place} is the primary, where everything comes in: make another place that first.")
        if self.places.get(place) is None:
            raise PlaceUnsuitable(f"There is no place {place} in the settings: nobody could reach what is there.")
        async with self.database.transaction() as connection:
            await drains.insert(connection, place)
            await enqueue(connection, DrainPlace(place))

    async def end(self, place: str) -> None:
        """Copies may go there again; those that went do not come back by themselves, but with the backlog."""
        async with self.database.transaction() as connection:
            await drains.delete(connection, place)

    async def take_up(self, place: str, after: str) -> None:
        """Enqueue the moving of what is in a place that is being emptied. Batch by batch, in jobs of their own."""
        async with self.database.transaction() as connection:
            if place not in await self.places.leaving(connection):
                return
            held = await replicas.holding(connection, place, after=after, limit=BATCH)
            await enqueue_all(connection, [DrainBlob(one.digest.hex, place) for one in held])
            if len(held) == BATCH:
                await enqueue(connection, DrainPlace(place, after=held[-1].digest.hex))

    async def move(self, digest: Digest, place: str, attempt: Attempt = UNQUEUED) -> None:
        """See that a blob is in another place, and has gone from this one, if it is still being emptied.

        BlobCorrupt if the only copies are bad; BytesArchived if one has to be brought back first; StorageUnavailable,
        StorageFull, StoreMismatch.
        """
        source = self.places.get(place)
        async with self.database.connection() as connection:
            size = (await blobs.sizes(connection, [digest])).get(digest)
            staying = await self._staying(connection, digest, place)
            here = await self._is_leaving(connection, digest, place)
        if source is None or size is None or not here:
            return
        await self.places.check(source)
        blob = Blob(digest, size)
        if self.places.primary not in staying or not await self._is_safe(blob, staying, attempt):
            await self.replicating.bring(digest, self.places.primary.place, attempt)
            async with self.database.connection() as connection:
                staying = await self._staying(connection, digest, place)
            if not await self._is_safe(blob, staying, attempt):
                raise BlobCorrupt("No good copy is left in any other place.", digest=digest.hex)
        await self._let_go(source, digest, {store.place for store in staying})

    async def _staying(self, connection: Connection, digest: Digest, place: str) -> list[BlobStore]:
        """Where we have copies that are said to be good, and stay."""
        leaving = {place, *await self.places.leaving(connection)}
        good = {name for name, copy in (await replicas.of(connection, digest)).items() if copy.damage is None}
        return [store for store in self.places.in_order(good - leaving) if store.external is None]

    async def _is_leaving(self, connection: Connection, digest: Digest, place: str) -> bool:
        return place in await self.places.leaving(connection) and place in await replicas.of(connection, digest)

    async def _is_safe(self, blob: Blob, staying: list[BlobStore], attempt: Attempt) -> bool:
        """Whether one of these copies is right: it is read, for it may be the last one. StorageUnavailable."""

        async def read(store: BlobStore, pieces: AsyncIterable[Buffer]) -> None:
            await self.places.check(store)
            if await store.digest_of(pieces, paced(attempt, blob.size)) != blob.digest:
                raise DigestMismatch

        try:
            await self.reading.from_a_good_copy(blob, [store.place for store in staying], read, job=attempt)
        except BlobCorrupt:
            return False
        return True

    async def _let_go(self, source: BlobStore, digest: Digest, safe: set[str]) -> None:
        async with self.database.transaction() as connection:
            await blobs.lock(connection, [digest])
            still = {store.place for store in await self._staying(connection, digest, source.place)}
            # Meanwhile it may have been deleted, found to be bad elsewhere, or the place may be wanted again.
            if not still & safe or not await self._is_leaving(connection, digest, source.place):
                return
            await replicas.forget(connection, digest, source.place)
            await source.delete(digest)
