"""Files of others become objects: read, hashed and recorded, in place or copied to the primary place.

    as it was found             an object, and a copy of its bytes: the file itself, or one that was made of it
    the same bytes as before    the object that it has
    wanted otherwise meanwhile  nothing yet: tried again, as it is wanted now
    other than it was found     looked at once more; one that goes on changing is tried again later
    gone, or not readable       failed, until somebody wants it again
    the place does not answer   what was read is recorded; the rest is tried again later

May be done twice, and by several at once: a file of which an object was made is nobody's work any more.
"""

import asyncio
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

import structlog

from drs_service.blobs.external import ExternalFile, ExternalFiles
from drs_service.blobs.hashing import Hashing
from drs_service.blobs.receiving import Arrival
from drs_service.blobs.store import BlobStore
from drs_service.db import adoptions, blobs, objects
from drs_service.db.adoptions import Made, Noted, Pending
from drs_service.db.pool import Connection, Database
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.domain.media_types import media_type
from drs_service.domain.object_ids import new_object_id
from drs_service.domain.objects import NewObject
from drs_service.domain.paths import name_of
from drs_service.domain.replication import places_for
from drs_service.domain.texts import MAX_ALIAS, MAX_DESCRIPTION
from drs_service.errors import BytesArchived, DrsServiceError, FileChanged, FileUnreadable, StorageUnavailable
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.jobs.kinds import ReplicateBlob, enqueue_all
from drs_service.usecases.external_copies import hashed, record_seen
from drs_service.usecases.places import Places
from drs_service.usecases.progressing import watched
from drs_service.usecases.recording import record

log = structlog.get_logger()

FILES_AT_ONCE = 16  # read by one worker
MOST_FILES = blobs.FEW  # recorded by one transaction: more would lock everybody out
MOST_BYTES = 16 * 1024**2  # the same, unless a single file has more: what is copied to a bucket waits in memory
LOOKS = 3  # at a file that is being changed


@dataclass(frozen=True, slots=True)
class Taken:
    """A file whose bytes have been read."""

    pending: Pending
    file: ExternalFile
    blob: Blob
    checksums: tuple[Checksum, ...]
    arrival: Arrival | None
    """Of one that is copied; it has been kept."""


@dataclass(slots=True)
class Heap:
    """What came of reading some files."""

    taken: list[Taken] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    changing: list[str] = field(default_factory=list)
    unavailable: DrsServiceError | None = None


class Adopting:
    def __init__(
        self, database: Database, places: Places, checksums: Collection[str] = (), *, alerts: bool = False
    ) -> None:
        """alerts: whether there is somebody to be told of copies that are lost."""
        self._alerts = alerts
        self._database = database
        self._places = places
        self._primary = places.primary
        self._checksums = checksums
        self._turns = asyncio.Semaphore(FILES_AT_ONCE)

    async def adopt(self, place: str, ids: Sequence[int], attempt: Attempt = UNQUEUED) -> None:
        """Make objects of files that were found in place. StorageUnavailable, StorageFull if some are left."""
        store = self._places.get(place)
        if store is None or store.external is None:
            raise StorageUnavailable(f"DRS_PLACES of this worker names no external place {place}.")
        async with self._database.connection() as connection:
            waiting = await adoptions.pending(connection, ids)
        await self._places.check(store)
        done = 0
        changing: list[str] = []
        otherwise: list[str] = []
        heaps = list(heaped(waiting))
        for number, some in enumerate(heaps, 1):
            is_last = number == len(heaps)
            async with AsyncExitStack() as stack:
                heap = await self._read(store, some, stack, UNQUEUED if len(some) > 1 else attempt)
                changing += heap.changing
                is_over = is_last and not changing and not otherwise and heap.unavailable is None
                otherwise += await self._record(store, heap, attempt if is_over else UNQUEUED)
            if heap.unavailable is not None:
                raise heap.unavailable
            done += len(some)
            if len(waiting) > 1:
                attempt.progress(done, len(waiting), "files")
        if changing:
            raise StorageUnavailable(f"Files go on changing while they are read: {', '.join(changing[:5])}.")
        if otherwise:
            raise StorageUnavailable(f"Files were wanted otherwise while they were read: {', '.join(otherwise[:5])}.")

    async def give_up(self, ids: Sequence[int], reason: str) -> None:
        """Say of files that are left why that is."""
        async with self._database.transaction() as connection:
            await adoptions.give_up(connection, ids, reason)

    async def _read(self, store: BlobStore, some: Sequence[Pending], stack: AsyncExitStack, attempt: Attempt) -> Heap:
        heap = Heap()

        async def one(pending: Pending) -> None:
            async with self._turns:
                if heap.unavailable is not None:
                    return
                try:
                    heap.taken.append(await self._take(store, pending, stack, attempt))
                except KeyError:
                    heap.problems[pending.id] = "The file has vanished."
                except (FileUnreadable, BytesArchived) as error:
                    heap.problems[pending.id] = str(error)
                except FileChanged:
                    heap.changing.append(pending.path)
                except DrsServiceError as error:
                    heap.unavailable = error

        async with asyncio.TaskGroup() as group:
            for pending in some:
                group.create_task(one(pending))
        return heap

    async def _take(self, store: BlobStore, pending: Pending, stack: AsyncExitStack, attempt: Attempt) -> Taken:
        files = store.external
        assert files is not None, "it was looked at before"
        file = ExternalFile(pending.path, pending.size, pending.stamp)
        for look in range(LOOKS):
            if look:
                file = await files.look(pending.path)
            try:
                if pending.wanted.copying:
                    arrival = await self._copied(files, file, stack, attempt)
                    return Taken(pending, file, arrival.blob, arrival.checksums, arrival)
                hashing = await hashed(store, file, Hashing(self._checksums), attempt)
                return Taken(pending, file, hashing.blob(), hashing.checksums(), None)
            except FileChanged:
                continue
        raise FileChanged

    async def _copied(
        self, files: ExternalFiles, file: ExternalFile, stack: AsyncExitStack, attempt: Attempt
    ) -> Arrival:
        async with aclosing(files.read(file, 0, file.size)) as pieces:
            source = watched(pieces, attempt, file.size)
            receiving = self._primary.receive(source, most=file.size, algorithms=self._checksums)
            arrival = await stack.enter_async_context(receiving)
        await arrival.keep()
        return arrival

    async def _record(self, store: BlobStore, heap: Heap, attempt: Attempt) -> list[str]:
        """Paths of those that are to be copied by now and were not, or the other way round: they are left."""
        async with self._database.transaction() as connection:
            await blobs.lock(connection, [one.blob.digest for one in heap.taken])
            ids = [one.pending.id for one in heap.taken]
            still = {one.id: one for one in await adoptions.pending(connection, ids, locked=True)}
            # Others may have made objects of some meanwhile.
            there = [one for one in heap.taken if one.pending.id in still]
            taken = [one for one in there if still[one.pending.id].wanted.copying is (one.arrival is not None)]
            otherwise = [one.pending.path for one in there if one not in taken]
            copied = [one.arrival for one in taken if one.arrival is not None]
            if copied:
                await record(connection, self._primary, copied, algorithms=self._checksums)
            await self._record_in_place(connection, store, [one for one in taken if one.arrival is None])
            if taken:
                await self._name(connection, taken, still)
            if heap.problems:
                await adoptions.failed(connection, heap.problems)
            if not otherwise:
                await attempt.conclude(connection)
        for one in heap.problems.values():
            log.warning("a file was not adopted", place=store.place, problem=one)
        return otherwise

    async def _record_in_place(self, connection: Connection, store: BlobStore, taken: Sequence[Taken]) -> None:
        if not taken:
            return
        new = await blobs.insert_alone(connection, {one.blob for one in taken})
        for one in taken:
            if one.checksums:
                await blobs.insert_checksums(connection, one.blob.digest, one.checksums)
        seen = [(one.blob.digest, one.file.path, one.file.stamp) for one in taken]
        await record_seen(connection, store.place, seen, alerts=self._alerts)
        sizes = {one.blob.digest: one.blob.size for one in taken}
        wanted = [
            ReplicateBlob(one.hex, rule) for one in new for rule in places_for(self._primary.replicas, sizes[one])
        ]
        await enqueue_all(connection, wanted)

    async def _name(self, connection: Connection, taken: Sequence[Taken], still: dict[int, Pending]) -> None:
        """An object for each, unless it has one of the same bytes."""
        had = [one.object_id for one in still.values() if one.object_id is not None]
        alive = await adoptions.alive(connection, had) if had else {}
        made, new = [], []
        for one in taken:
            object_id = still[one.pending.id].object_id
            if object_id is None or alive.get(object_id) != one.blob.digest:
                new.append(new_object(still[one.pending.id], one.blob))
                object_id = new[-1].id
            file = Noted(one.file.path, one.file.size, one.file.stamp)
            made.append(Made(one.pending.id, file, one.blob.digest, object_id, one.arrival is not None))
        if new:
            await objects.insert(connection, new)
        await adoptions.adopted(connection, made)


def new_object(pending: Pending, blob: Blob) -> NewObject:
    name = name_of(pending.path)
    is_short = len(pending.path) <= MAX_ALIAS
    return NewObject(
        id=new_object_id(time.time_ns() // 1_000_000, secrets.token_bytes(10)),
        blob=blob,
        name=name.portable,
        file_name=name.original,
        media_type=media_type(None, name=name.original),
        owner=pending.wanted.owner,
        space=pending.wanted.space,
        tags=pending.wanted.tags,
        aliases=(pending.path,) if is_short else (),
        description=None if is_short else pending.path[:MAX_DESCRIPTION],
    )


def heaped(waiting: Iterable[Pending]) -> Iterable[list[Pending]]:
    """What is read and recorded together."""
    heap: list[Pending] = []
    size = 0
    for one in waiting:
        heap.append(one)
        size += one.size
        if len(heap) == MOST_FILES or size >= MOST_BYTES:
            yield heap
            heap, size = [], 0
    if heap:
        yield heap
