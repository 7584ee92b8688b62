"""Copies of blobs come to the places that should have them, and bad ones are made good again.

    no row, no bytes      receive (hashed on the way), publish; then, under the lock: still there? the row
    no row, some bytes    whoever left them there: under the lock they go, and the right ones are published
    a row that is bad     are the bytes right by now? otherwise the same
    an external place     nothing is written: do these bytes lie there by now, in this file or in another one?

Replicating, deleting and uploading the same bytes take the same lock on their digest: whoever comes second sees what
the first has done.
"""

from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass

import structlog

from drs_service.blobs.driver import Buffer
from drs_service.blobs.receiving import Arrival
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs, replicas
from drs_service.db.pool import Connection, Database
from drs_service.db.replicas import Copy
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.domain.replication import Rule
from drs_service.errors import BytesArchived
from drs_service.jobs import queue
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.jobs.kinds import DrainBlob, DrainPlace, ReplicaBacklog, ReplicateBlob, enqueue, enqueue_all
from drs_service.usecases.external_copies import look_again
from drs_service.usecases.places import Places
from drs_service.usecases.progressing import paced, watched
from drs_service.usecases.reading import Reading, fault

log = structlog.get_logger()

BATCH = 500  # blobs looked up at once


@dataclass(frozen=True, slots=True)
class Replicating:
    database: Database
    places: Places
    reading: Reading
    rules: Sequence[Rule] = ()

    async def replicate(self, digest: Digest, place: str, attempt: Attempt = UNQUEUED) -> None:
        """See that place has a good copy of a blob. May be called twice, and by several at once.

        Nothing if the blob has gone, if no rule wants a copy there, if the place is being emptied, or the settings do
        not know it any more.
        BlobCorrupt if no good copy is left, BytesArchived if one has to be brought back first, StorageUnavailable,
        StorageFull, StoreMismatch.
        """
        async with self.database.connection() as connection:
            if place in await self.places.leaving(connection):
                return
            mine = (await replicas.of(connection, digest)).get(place)
            if mine is None and not await self._is_wanted(connection, digest, place):
                return
        await self.bring(digest, place, attempt)
        async with self.database.transaction() as connection:
            # Emptying may have begun meanwhile, and have looked already for what is to go.
            if place in await self.places.leaving(connection):
                await enqueue(connection, DrainBlob(digest.hex, place))

    async def bring(self, digest: Digest, place: str, attempt: Attempt = UNQUEUED) -> None:
        """The same, whatever the rules say."""
        target = self.places.get(place)
        if target is None:
            log.warning("a copy is wanted in a place that the settings do not know", place=place)
            return
        async with self.database.connection() as connection:
            size = (await blobs.sizes(connection, [digest])).get(digest)
            copies = await replicas.of(connection, digest)
        mine = copies.pop(place, None)
        if size is None or (mine is not None and mine.damage is None):
            return
        await self.places.check(target)
        blob = Blob(digest, size)
        if target.external is not None:
            await look_again(self.database, target, blob, attempt, alerts=self.reading.alerts)
        elif mine is not None and await self._is_right(target, blob, attempt):
            await self._verified(target, blob, attempt)
        else:
            await self._copy(blob, copies, target, attempt)

    async def _is_right(self, store: BlobStore, blob: Blob, attempt: Attempt) -> bool:
        """Whether a copy that was bad has become good. One in an archive is replaced rather than brought back."""
        try:
            return await fault(store, blob, paced(attempt, blob.size)) is None
        except BytesArchived:
            return False

    async def _is_wanted(self, connection: Connection, digest: Digest, place: str) -> bool:
        for rule in self.rules:
            if rule.place == place and await replicas.fits(connection, digest, rule):
                return True
        return False

    async def _verified(self, store: BlobStore, blob: Blob, attempt: Attempt) -> None:
        async with self.database.transaction() as connection:
            await attempt.hold(connection)
            await replicas.verified(connection, blob.digest, store.place)
        log.info("a copy is good again", digest=blob.digest.hex, place=store.place)

    async def _copy(self, blob: Blob, copies: dict[str, Copy], target: BlobStore, attempt: Attempt) -> None:
        """From the first place that has it good."""
        good = [name for name, copy in copies.items() if copy.damage is None]
        await self.reading.from_a_good_copy(
            blob, good, lambda source, pieces: self._copy_from(source, pieces, blob, target, attempt), job=attempt
        )

    async def _copy_from(
        self, source: BlobStore, pieces: AsyncIterable[Buffer], blob: Blob, target: BlobStore, attempt: Attempt
    ) -> None:
        is_clear = not await target.has(blob.digest)
        coming = watched(pieces, attempt, blob.size)
        async with target.receive(coming, expect=blob.digest, most=blob.size) as arrival:
            if is_clear:
                await arrival.keep()  # what takes long in a cloud, before anybody waits for the lock
            if await self._record(arrival, target, is_clear=is_clear):
                log.info("a copy was made", digest=blob.digest.hex, place=target.place, source=source.place)

    async def _record(self, arrival: Arrival, target: BlobStore, *, is_clear: bool) -> bool:
        digest = arrival.blob.digest
        async with self.database.transaction() as connection:
            await blobs.lock(connection, [digest])
            mine = (await replicas.of(connection, digest)).get(target.place)
            if mine is not None and mine.damage is None:
                return False  # somebody else was faster
            if not await blobs.known(connection, [digest]):
                await target.delete(digest)
                return False
            if is_clear and mine is None:
                await arrival.keep_still()
            else:
                await arrival.keep_anew()
            await replicas.record(connection, digest, target.place, arrival.key)
            return True

    async def take_up(self, rule: int | None, after: str) -> None:
        """Enqueue the copies that are wanted and not there, those that are bad, and what is to be moved, unless such
        jobs are queued already.

        A place was added, a job was lost, an object came later than its bytes. Batch by batch, in jobs of their own.
        """
        if rule is None:
            await self._take_up_all()
        elif rule < len(self.rules):
            await self._take_up(rule, after)

    async def _take_up_all(self) -> None:
        answering = await self.places.answering(self.places.names)
        async with self.database.transaction() as connection:
            if await queue.is_behind(connection, ReplicateBlob):
                return  # a backlog is being worked off; what is there now would be there twice
            bad = await replicas.bad(connection, answering, after=None, limit=BATCH)
            await enqueue_all(connection, [ReplicateBlob(digest.hex, place) for place, digest in bad])
            leaving = sorted(await self.places.leaving(connection) & set(answering))
            there = set(answering).difference(leaving)
            rules = [number for number, rule in enumerate(self.rules) if rule.place in there]
            await enqueue_all(connection, [ReplicaBacklog(rule=number) for number in rules])
            if not await queue.is_behind(connection, DrainBlob):
                await enqueue_all(connection, [DrainPlace(place) for place in leaving])

    async def _take_up(self, number: int, after: str) -> None:
        rule = self.rules[number]
        if not await self.places.answering([rule.place]):
            return  # what is missing now still is in an hour
        async with self.database.transaction() as connection:
            lacking = await replicas.lacking(connection, rule, after=after, limit=BATCH)
            await enqueue_all(connection, [ReplicateBlob(one.hex, rule.place) for one in lacking])
            if len(lacking) == BATCH:
                await enqueue_all(connection, [ReplicaBacklog(rule=number, after=lacking[-1].hex)])
        if lacking:
            log.info("copies are missing", place=rule.place, blobs=len(lacking))
