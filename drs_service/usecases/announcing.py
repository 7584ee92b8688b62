"""Uploads that are announced first: bytes come to a URL of their own, and wait there to be registered."""

import secrets
from collections.abc import AsyncIterable, AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from drs_service.blobs.driver import Buffer
from drs_service.blobs.receiving import Arrival
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs, uploads
from drs_service.db.pool import Database
from drs_service.domain.access import DEFAULT_SPACE, Action, Principal, may
from drs_service.domain.checksums import COMPUTABLE, Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.names import FileName
from drs_service.domain.uploads import Purpose, Upload
from drs_service.errors import (
    ChecksumMismatch,
    DrsServiceError,
    Forbidden,
    SizeMismatch,
    Unavailable,
    UploadConflict,
    UploadFailed,
    UploadNotFound,
    UploadPending,
    UploadTooLarge,
)
from drs_service.usecases.limiting import Limiting, Room
from drs_service.usecases.looking import upload_of
from drs_service.usecases.recording import record
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.uploads import Arriving

ID_BYTES = 24  # unguessable


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What somebody says of bytes to come."""

    name: FileName
    size: int
    media_type: str
    checksums: tuple[Checksum, ...]
    description: str | None = None
    aliases: tuple[str, ...] = ()


class Announcing:
    def __init__(
        self,
        database: Database,
        store: BlobStore,
        sweep: Sweep,
        *,
        lifetime: timedelta,
        limiting: Limiting | None = None,
        checksums: Collection[str] = (),
    ) -> None:
        self._database = database
        self._store = store
        self._sweep = sweep
        self._lifetime = lifetime
        self._limiting = limiting or Limiting(database)
        self._checksums = checksums

    async def announce(self, principal: Principal, announced: Sequence[Announcement]) -> list[Upload]:
        """An upload for each, all or none. Forbidden, UploadTooLarge, QuotaExceeded, TooManyUploads."""
        if not may(principal, Action.CREATE, space=DEFAULT_SPACE):
            raise Forbidden
        for one in announced:
            if one.size > self._store.max_bytes:
                raise UploadTooLarge(f"{one.name.original} has {one.size} bytes; {self._store.max_bytes} are accepted.")
        with self._limiting.admitted(principal.id):
            size = sum(one.size for one in announced)
            await self._limiting.room(principal.id, DEFAULT_SPACE, size=size, uploads=len(announced))
            return await self._announce(principal, announced)

    async def _announce(self, principal: Principal, announced: Sequence[Announcement]) -> list[Upload]:
        new = [
            Upload(
                id=secrets.token_urlsafe(ID_BYTES),
                owner=principal.id,
                space=DEFAULT_SPACE,
                name=one.name,
                media_type=one.media_type,
                size=one.size,
                handle=await self._store.begin(),
                checksums=one.checksums,
                expires_at=datetime.now(UTC) + self._lifetime,
                description=one.description,
                aliases=one.aliases,
            )
            for one in announced
        ]
        async with self._database.transaction() as connection:
            await uploads.insert(connection, new)
        return new

    async def receive(self, upload_id: str, arriving: Arriving) -> Upload:
        """Keep the bytes of an upload, held to what was announced. When this returns they are durable.

        Whoever knows the id may send them; the same bytes again change nothing. UploadNotFound, UploadExpired,
        UploadConflict, SizeMismatch, ChecksumMismatch, and what `Uploads.put` raises: nothing is stored then.
        """
        upload = await upload_of(self._database, upload_id)
        check_announced(upload)
        with self._limiting.admitted(upload.owner):
            return await self._receive(upload, arriving)

    async def _receive(self, upload: Upload, arriving: Arriving) -> Upload:
        if arriving.length not in (None, upload.size):
            raise SizeMismatch(f"The upload was announced with {upload.size} bytes, not {arriving.length}.")
        size = announced_size(upload)
        # There is room for what was announced then, and no more is taken.
        already = upload.staged - upload.received
        await self._limiting.room(upload.owner, upload.space, size=size - upload.received, already=already)
        async with self._store.receive(
            self._limiting.metered(upload.owner, no_more_than(size, arriving.source), Room(None)),
            expect=arriving.digest,
            length=arriving.length,
            algorithms={*arriving.algorithms, *(one.algorithm for one in upload.checksums)} & COMPUTABLE,
        ) as arrival:
            hold_to(upload, arrival)
            check_awaits(upload, arrival.blob.digest)
            await arrival.keep()
            try:
                recorded = await self._record(upload.id, arrival)
            except DrsServiceError:
                # It expired, was registered, or got other bytes meanwhile: these belong to nobody, unless they did
                # before.
                with suppress(Unavailable):  # the sweep will find them
                    await self._sweep.forget(arrival.blob.digest)
                raise
        if recorded.handle is not None:
            with suppress(Unavailable):  # the sweep will find it
                await self._store.forget(recorded.handle)  # what came of it by and by
        return recorded

    async def _record(self, upload_id: str, arrival: Arrival) -> Upload:
        digest = arrival.blob.digest
        async with self._database.transaction() as connection:
            await blobs.lock(connection, [digest])
            before = (await uploads.select_locked(connection, [upload_id])).get(upload_id)
            check_awaits(before, digest)
            await record(connection, self._store, [arrival], algorithms=self._checksums)
            await uploads.arrived(connection, upload_id, digest)
            after = (await uploads.select(connection, [upload_id]))[upload_id]
            if before is not None and before.blob is None:
                await self._limiting.check(connection, after.owner, after.space)
            return after


async def no_more_than(size: int, source: AsyncIterable[Buffer]) -> AsyncIterator[Buffer]:
    """The source, up to the first byte that is too many: SizeMismatch."""
    left = size
    async for piece in source:
        left -= len(piece)
        if left < 0:
            raise SizeMismatch(f"The upload was announced with {size} bytes; more have come.")
        yield piece


def announced_size(upload: Upload) -> int:
    assert upload.size is not None, "an announced upload has a size"
    return upload.size


def hold_to(upload: Upload, arrival: Arrival) -> None:
    """SizeMismatch, ChecksumMismatch unless the bytes are as announced, as far as that can be worked out."""
    if arrival.blob.size != upload.size:
        raise SizeMismatch(f"The upload was announced with {upload.size} bytes, not {arrival.blob.size}.")
    announced = {one.algorithm: one.value for one in upload.checksums}
    for one in (Checksum("sha-256", arrival.blob.digest.hex), *arrival.checksums):
        if announced.get(one.algorithm, one.value) != one.value:
            raise ChecksumMismatch(
                f"The bytes received have the {one.algorithm} {one.value}, not {announced[one.algorithm]} as "
                "announced. Nothing was stored."
            )


def check_announced(upload: Upload) -> None:
    """UploadConflict, UploadFailed, UploadPending unless its bytes may come whole."""
    if upload.purpose is not Purpose.ANNOUNCED:
        raise UploadConflict("This upload was not announced: its bytes come by the protocol that it was begun with.")
    if upload.failed is not None:
        raise UploadFailed(upload.failed)
    if upload.finishing:
        raise UploadPending


def check_awaits(upload: Upload | None, digest: Digest) -> None:
    """UploadNotFound, UploadConflict unless these bytes may come to it."""
    if upload is None:
        raise UploadNotFound  # it expired, or was registered by somebody who sent the bytes too
    check_announced(upload)
    if upload.blob is not None and upload.blob.digest != digest:
        raise UploadConflict
