"""Bytes that nothing refers to go; bytes that something refers to never do.

Sweeping and uploading the same bytes take the same lock on their digest. Whoever comes second sees what the first has
done: an upload finds the bytes gone and publishes them again, a sweep finds the row and lets them be.
"""

from collections.abc import Awaitable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from drs_service.blobs.store import BlobStore, Stored
from drs_service.db import archived, blobs, clock, releases, replicas, uploads
from drs_service.db.pool import Database
from drs_service.domain.digest import Digest
from drs_service.errors import StorageUnavailable, StoreMismatch, Unavailable
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.usecases.places import Places

log = structlog.get_logger()

BATCH = 1000  # blobs looked up at once
MOST_REFUSED = 100  # deletions in a row: whatever else is there is not asked for any more


@dataclass(slots=True)
class Swept:
    """What a sweep did."""

    seen: int = 0
    forgotten: int = 0
    unfinished: int = 0
    """Uploads that died with their process."""
    released: int = 0
    """Blobs that objects let go of, and that nothing else refers to."""


class Sweep:
    """places: all of them, if there are others than the store."""

    def __init__(self, database: Database, store: BlobStore, places: Places | None = None) -> None:
        self._database = database
        self._store = store
        self._places = places or Places(database, store)

    async def run(self, *, before: datetime, attempt: Attempt = UNQUEUED) -> Swept:
        """Forget what dead processes left staged, every blob published before that time that has no row, and every
        blob let go of before that time.

        What a place lists as archived is noted on the way. before must lie further back than the longest upload, or
        copying, takes from its bytes to its row.

        Whatever cannot be forgotten, the rest is. StorageUnavailable then, if the primary does not answer, or any place
        refuses to delete.
        """
        swept = Swept()
        setbacks: list[StorageUnavailable] = []
        with put_off(setbacks):
            await self._forget_released(swept, before, attempt)
        with put_off(setbacks):
            await self._sweep(self._store, swept, before, attempt)
        for place in self._places.others:
            try:
                await self._check(place)
                await self._sweep(place, swept, before, attempt)
            except (Unavailable, StoreMismatch) as error:
                log.warning("a place was not swept", place=place.place, error=str(error), **error.facts)
                if isinstance(error, StorageUnavailable) and is_refusal(error):
                    setbacks.append(error)
        with put_off(setbacks):
            swept.unfinished += await self._forget_waiting(before)
        if setbacks:
            raise setbacks[0]
        return swept

    async def _check(self, place: BlobStore) -> None:
        try:
            await self._places.check(place)
        except StorageUnavailable as error:
            raise StorageUnavailable(f"{place.place} cannot be swept. {error}", **error.facts) from error

    async def run_after(self, grace: timedelta, attempt: Attempt = UNQUEUED) -> Swept:
        """The same, of what is older than that by the clock of the database, which all nodes and workers share."""
        async with self._database.connection() as connection:
            now = await clock.now(connection)
        return await self.run(before=now - grace, attempt=attempt)

    async def _sweep(self, store: BlobStore, swept: Swept, before: datetime, attempt: Attempt) -> None:
        refusals = Refusals()
        batch: list[Stored] = []
        async for stored in store.enumerate():
            swept.seen += 1
            attempt.progress(swept.seen, None, "blobs")
            if stored.published < before:
                batch.append(stored)
            if len(batch) == BATCH:
                swept.forgotten += await self._forget_orphans(store, batch, refusals)
                batch = []
        swept.forgotten += await self._forget_orphans(store, batch, refusals)
        swept.unfinished += await store.clean()
        refusals.tell()

    async def _forget_waiting(self, before: datetime) -> int:
        """Forget what waits for the rest of an upload that nobody knows any more."""
        forgotten = 0
        old = [entry.key async for entry in self._store.waiting() if entry.published < before]
        for first in range(0, len(old), BATCH):
            handles = old[first : first + BATCH]
            async with self._database.connection() as connection:
                wanted = await uploads.wanted(connection, handles)
            for handle in set(handles) - wanted:
                await self._store.forget(handle)
                forgotten += 1
        return forgotten

    async def _forget_orphans(self, store: BlobStore, batch: list[Stored], refusals: "Refusals") -> int:
        digests = [stored.digest for stored in batch]
        async with self._database.connection() as connection:
            known = await replicas.known(connection, store.place, digests)
            if put_away := [one.digest for one in batch if one.archived]:
                await archived.listed(connection, store.place, put_away)
        orphans = [digest for digest in digests if digest not in known]
        return sum([await refusals.deleted(self._forget_in(store, digest)) for digest in orphans])

    async def _forget_released(self, swept: Swept, before: datetime, attempt: Attempt) -> None:
        refusals = Refusals()
        after = b""
        while True:
            async with self._database.connection() as connection:
                batch = await releases.select(connection, before=before, after=after, limit=BATCH)
            if not batch:
                break
            swept.released += sum([await refusals.deleted(self.settle(digest)) for digest in batch])
            attempt.progress(swept.released, None, "blobs released")
            after = batch[-1].raw
        refusals.tell()

    async def settle(self, digest: Digest) -> bool:
        """Forget a blob, its row and its bytes, unless an object or an upload refers to it."""
        async with self._database.transaction() as connection:
            await blobs.lock(connection, [digest])
            copies = await replicas.of(connection, digest)
            if not await releases.settle(connection, digest):
                return False
            # The row first: should anything refer to it after all, PostgreSQL refuses, and the bytes stay.
            await self._store.delete(digest)
            await self._delete_elsewhere(digest, copies)
            return True

    async def _delete_elsewhere(self, digest: Digest, copies: Collection[str]) -> None:
        for store in self._places.others:
            if store.place in copies:
                try:
                    await store.delete(digest)
                except Unavailable as error:
                    # What it still has when it is back has no row: the sweep finds it.
                    log.warning("a copy was not deleted", place=store.place, error=str(error), **error.facts)

    async def forget(self, digest: Digest) -> bool:
        """Forget the bytes of an upload unless a row says that they are wanted."""
        return await self._forget_in(self._store, digest)

    async def _forget_in(self, store: BlobStore, digest: Digest) -> bool:
        async with self._database.transaction() as connection:
            await blobs.lock(connection, [digest])
            if await replicas.known(connection, store.place, [digest]):
                return False
            await store.delete(digest)
            return True


@dataclass(slots=True)
class Refusals:
    """Of a place that does not let us delete everything."""

    first: StorageUnavailable | None = None
    in_a_row: int = 0

    async def deleted(self, deleting: Awaitable[bool]) -> bool:
        """What deleting returns; false if it was refused. StorageUnavailable if that is the last thing to be tried."""
        try:
            is_done = await deleting
        except StorageUnavailable as error:
            self.first = self.first or error
            self.in_a_row += 1
            if not is_refusal(error) or self.in_a_row == MOST_REFUSED:
                raise
            return False
        if is_done:
            self.in_a_row = 0
        return is_done

    def tell(self) -> None:
        """Raise the first one."""
        if self.first is not None:
            raise self.first


def is_refusal(error: StorageUnavailable) -> bool:
    """Whether the place answers, and will say the same of this again."""
    return bool(error.facts.get("refused"))


@contextmanager
def put_off(setbacks: list[StorageUnavailable]) -> Iterator[None]:
    """Go on behind the block, whatever the storage has said in it."""
    try:
        yield
    except StorageUnavailable as error:
        setbacks.append(error)
