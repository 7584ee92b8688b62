"""Bytes come in, are kept, and get a name."""

import secrets
import time
from collections.abc import AsyncIterable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass

from drs_service.blobs.driver import Buffer
from drs_service.blobs.receiving import Arrival
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs, objects
from drs_service.db.pool import Connection, Database
from drs_service.domain.access import DEFAULT_SPACE, Action, Principal, may
from drs_service.domain.digest import Digest
from drs_service.domain.names import FileName
from drs_service.domain.object_ids import new_object_id
from drs_service.domain.objects import DrsObject, NewObject
from drs_service.errors import DrsServiceError, Forbidden, QuotaExceeded, Unavailable
from drs_service.usecases.limiting import Limiting, Room
from drs_service.usecases.recording import record
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.together import Together

SMALL = 1024**2  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """Bytes on their way in, and what their sender says of them."""

    source: AsyncIterable[Buffer]
    digest: Digest | None = None
    algorithms: Collection[str] = ()
    """Checksums that the sender wants to be told at once, besides SHA-256."""
    length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming(Arriving):
    """A file on its way in."""

    name: FileName
    media_type: str


@dataclass(frozen=True, slots=True)
class Ready:
    """Bytes that were kept, and the object that they are to be."""

    new: NewObject
    arrival: Arrival


class Uploads:
    """checksums: algorithms that workers apply to every new blob."""

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        sweep: Sweep,
        *,
        limiting: Limiting | None = None,
        checksums: Collection[str] = (),
    ) -> None:
        self._database = database
        self._limiting = limiting or Limiting(database)
        self._store = store
        self._sweep = sweep
        self._checksums = checksums
        self._recording = Together(self._record_at_once, self._record_one)

    async def put(self, principal: Principal, incoming: Incoming) -> DrsObject:
        """Keep one file. When this returns, its bytes and its object are durable.

        Forbidden, UploadTooLarge, QuotaExceeded, DigestMismatch, Unavailable, and whatever the source raises: nothing
        is stored.
        """
        check(principal)
        with self._limiting.admitted(principal.id):
            room = await self._limiting.room(principal.id, DEFAULT_SPACE, size=incoming.length)
            async with self._receive(principal, incoming, room) as arrival:
                await arrival.keep()
                try:
                    stored = await self._record_soon(ready(principal, incoming, arrival))
                except QuotaExceeded:
                    with suppress(Unavailable):  # the sweep will find it
                        await self._sweep.forget(arrival.blob.digest)
                    raise
        return stored

    async def put_all(self, principal: Principal, incoming: AsyncIterable[Incoming]) -> list[DrsObject]:
        """Keep several files, all or none. Each source is read to its end before the next is asked for."""
        check(principal)
        with self._limiting.admitted(principal.id):
            return await self._put_all(principal, incoming)

    async def _put_all(self, principal: Principal, incoming: AsyncIterable[Incoming]) -> list[DrsObject]:
        room = await self._limiting.room(principal.id, DEFAULT_SPACE, size=None)
        kept: list[Ready] = []
        async with AsyncExitStack() as staged:
            try:
                async for one in incoming:
                    arrival = await staged.enter_async_context(self._receive(principal, one, room))
                    await arrival.keep()
                    kept.append(ready(principal, one, arrival))
                return await self._record(kept) if kept else []
            except DrsServiceError:
                # Bytes that were published for a form that failed belong to nobody, unless they did before.
                with suppress(Unavailable):  # the sweep will find them
                    for done in kept:
                        await self._sweep.forget(done.arrival.blob.digest)
                raise

    def _receive(self, principal: Principal, incoming: Incoming, room: Room) -> AbstractAsyncContextManager[Arrival]:
        source = self._limiting.metered(principal.id, incoming.source, room)
        return self._store.receive(
            source, expect=incoming.digest, length=incoming.length, algorithms=incoming.algorithms
        )

    async def _record(self, kept: Sequence[Ready]) -> list[DrsObject]:
        async with self._database.transaction() as connection:
            await blobs.lock(connection, [one.arrival.blob.digest for one in kept])
            return await self._write(connection, kept)

    async def _record_soon(self, one: Ready) -> DrsObject:
        """With others that are ready now. What is large may have to be published again, for which nobody waits."""
        return await (self._recording.do(one) if one.arrival.blob.size <= SMALL else self._record_one(one))

    async def _record_one(self, one: Ready) -> DrsObject:
        [stored] = await self._record([one])
        return stored

    async def _record_at_once(self, kept: Sequence[Ready]) -> list[DrsObject] | None:
        """None if somebody has the lock of one of the digests: those of the others are not to wait for it."""
        async with self._database.transaction() as connection:
            if not await blobs.lock_at_once(connection, [one.arrival.blob.digest for one in kept]):
                return None
            return await self._write(connection, kept)

    async def _write(self, connection: Connection, kept: Sequence[Ready]) -> list[DrsObject]:
        """Whoever calls this holds the locks of the digests."""
        await record(connection, self._store, [one.arrival for one in kept], algorithms=self._checksums)
        await objects.insert(connection, [one.new for one in kept])
        for owner in {one.new.owner for one in kept}:
            await self._limiting.check(connection, owner, DEFAULT_SPACE)
        rows = await objects.select(connection, [one.new.id for one in kept])
        return [rows[one.new.id] for one in kept]


def ready(principal: Principal, incoming: Incoming, arrival: Arrival) -> Ready:
    new = NewObject(
        id=new_object_id(time.time_ns() // 1_000_000, secrets.token_bytes(10)),
        blob=arrival.blob,
        name=incoming.name.portable,
        file_name=incoming.name.original,
        media_type=incoming.media_type,
        owner=principal.id,
        space=DEFAULT_SPACE,
    )
    return Ready(new, arrival)


def check(principal: Principal) -> None:
    if not may(principal, Action.CREATE, space=DEFAULT_SPACE):
        raise Forbidden
