"""Reading objects: most of what a busy service does, so what was read is kept until Postgres says that it changed."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from drs_service.db import objects, uploads
from drs_service.db.changes import BlobChanged, Change, ObjectChanged
from drs_service.db.pool import Database
from drs_service.domain.access import Action, Principal, may
from drs_service.domain.digest import Digest
from drs_service.domain.object_ids import is_object_id
from drs_service.domain.objects import DrsObject, Tombstone
from drs_service.errors import DrsServiceError, ObjectDeleted, ObjectNotFound, ObjectPending, UploadFailed

Face = TypeVar("Face")
T = TypeVar("T")

BATCH = 256  # ids asked for in one round trip
IN_FLIGHT = 2  # round trips at once: while they last, the next batch gathers


class Known(Generic[Face]):
    """An object that was read, and the face that its reader gave it."""

    __slots__ = ("face", "object")

    def __init__(self, drs_object: DrsObject, face: Face) -> None:
        self.object = drs_object
        self.face = face


class Objects(Generic[Face]):
    """Objects by id. face is made once per reading, and kept with it: the API renders the object's JSON there."""

    def __init__(self, database: Database, *, face: Callable[[DrsObject], Face], keep: int) -> None:
        self._database = database
        self._face = face
        self._kept: Kept[Face] = Kept(keep)
        self._wanted: defaultdict[str, list[asyncio.Future[Known[Face] | None]]] = defaultdict(list)
        self._in_flight: set[asyncio.Task[None]] = set()

    @property
    def changes(self) -> "Kept[Face]":
        """Who has to hear of changes."""
        return self._kept

    async def get(self, principal: Principal, object_id: str) -> Known[Face]:
        """ObjectNotFound if there is none, or none that principal may read: the two are not told apart.

        ObjectDeleted, ObjectPending, UploadFailed.
        """
        known = self._kept.get(object_id) or await self._read(object_id)
        if known is None:
            raise (await self._missing([object_id]))[object_id]
        check_readable(principal, known.object)
        return known

    async def get_many(self, principal: Principal, object_ids: Iterable[str]) -> "Found[Face]":
        """Every one of object_ids, or what `get` would raise, in one round trip at most."""
        wanted = dict.fromkeys(object_ids)
        found = {object_id: known for object_id in wanted if (known := self._kept.get(object_id)) is not None}
        missing = [object_id for object_id in wanted if object_id not in found and is_object_id(object_id)]
        if missing:
            since = self._kept.changes_heard
            async with self._database.connection() as connection:
                rows = await objects.select(connection, missing)
            read = self._faced(rows)
            self._kept.put_all(read.values(), since=since)
            found |= read
        answer: Found[Face] = Found()
        reasons = await self._missing([object_id for object_id in wanted if object_id not in found])
        for object_id in wanted:
            try:
                if object_id not in found:
                    raise reasons[object_id]
                check_readable(principal, found[object_id].object)
            except DrsServiceError as error:
                answer.refused[object_id] = error
            else:
                answer.known[object_id] = found[object_id]
        return answer

    async def _missing(self, object_ids: Sequence[str]) -> dict[str, DrsServiceError]:
        """Why there are no such objects: some are still to be made of uploads."""
        reasons: dict[str, DrsServiceError] = {object_id: ObjectNotFound() for object_id in object_ids}
        possible = [object_id for object_id in object_ids if is_object_id(object_id)]
        if possible:
            async with self._database.connection() as connection:
                promised = await uploads.promised(connection, possible)
            for object_id, failed in promised.items():
                reasons[object_id] = ObjectPending() if failed is None else UploadFailed(failed)
        return reasons

    async def _read(self, object_id: str) -> Known[Face] | None:
        if not is_object_id(object_id):
            return None
        # A future for each reader: one that leaves cancels its own and nobody else's.
        future: asyncio.Future[Known[Face] | None] = asyncio.get_running_loop().create_future()
        self._wanted[object_id].append(future)
        self._send()
        return await future

    def _send(self) -> None:
        """Start a round trip for what is wanted, unless enough are under way."""
        if self._wanted and len(self._in_flight) < IN_FLIGHT:
            task = asyncio.create_task(self._fetch())
            self._in_flight.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._send()

    async def _fetch(self) -> None:
        # By now every request of this turn of the loop has said what it wants.
        batch = {object_id: self._wanted.pop(object_id) for object_id in list(self._wanted)[:BATCH]}
        since = self._kept.changes_heard
        try:
            async with self._database.connection() as connection:
                found = await objects.select(connection, list(batch))
            known = self._faced(found)
        except BaseException as error:
            for future in waiting(batch.values()):
                future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        self._kept.put_all(known.values(), since=since)
        for object_id, futures in batch.items():
            for future in waiting([futures]):
                future.set_result(known.get(object_id))

    def _faced(self, rows: Mapping[str, DrsObject]) -> dict[str, Known[Face]]:
        return {object_id: Known(row, self._face(row)) for object_id, row in rows.items()}


class Found(Generic[Face]):
    """What became of the ids that were asked for; each is in one of the two, in the order asked."""

    __slots__ = ("known", "refused")

    def __init__(self) -> None:
        self.known: dict[str, Known[Face]] = {}
        self.refused: dict[str, DrsServiceError] = {}


def check_readable(principal: Principal, drs_object: DrsObject) -> None:
    """ObjectNotFound, ObjectDeleted, ObjectPending."""
    if not may(principal, Action.READ, space=drs_object.space):
        raise ObjectNotFound
    if drs_object.tombstone is not None:
        raise ObjectDeleted(epitaph(drs_object.tombstone))
    if drs_object.verifying:
        raise ObjectPending


def epitaph(tombstone: Tombstone) -> str:
    when = f"The object was deleted on {tombstone.deleted:%Y-%m-%d}"
    return f"{when}: {tombstone.reason}" if tombstone.reason else f"{when}."


def waiting(readers: Iterable[Iterable[asyncio.Future[T]]]) -> Iterator[asyncio.Future[T]]:
    """The futures of those who have not left."""
    return (future for futures in readers for future in futures if not future.done())


class Kept(Generic[Face]):
    """The objects read last, for as long as changes to them would be heard of."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._listening = False
        self._by_id: OrderedDict[str, Known[Face]] = OrderedDict()
        self._by_digest: defaultdict[Digest, set[str]] = defaultdict(set)
        self.changes_heard = 0

    def get(self, object_id: str) -> Known[Face] | None:
        known = self._by_id.get(object_id)
        if known is not None:
            self._by_id.move_to_end(object_id)
        return known

    def put(self, known: Known[Face], *, since: int) -> None:
        """Keep known, unless a change was heard since it was asked for: it may be older than that change."""
        if not self._listening or since != self.changes_heard:
            return
        self._by_id[known.object.id] = known
        if known.object.blob is not None:
            self._by_digest[known.object.blob.digest].add(known.object.id)
        if len(self._by_id) > self._size:
            self._forget(next(iter(self._by_id)))

    def put_all(self, known: Iterable[Known[Face]], *, since: int) -> None:
        for one in known:
            self.put(one, since=since)

    def on_connect(self) -> None:
        self._listening = True
        self.changes_heard += 1  # what is being read now may be older than a change that nobody heard

    def on_change(self, change: Change) -> None:
        if isinstance(change, ObjectChanged | BlobChanged):
            self.changes_heard += 1
        match change:
            case ObjectChanged(object_id):
                self._forget(object_id)
            case BlobChanged(digest):
                for object_id in list(self._by_digest.get(digest, ())):
                    self._forget(object_id)

    def on_loss(self) -> None:
        self._listening = False
        self.changes_heard += 1
        self._by_id.clear()
        self._by_digest.clear()

    def _forget(self, object_id: str) -> None:
        known = self._by_id.pop(object_id, None)
        if known is not None and known.object.blob is not None:
            ids = self._by_digest[known.object.blob.digest]
            ids.discard(object_id)
            if not ids:
                del self._by_digest[known.object.blob.digest]
