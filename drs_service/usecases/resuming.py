"""Uploads that come by and by, over any connection and to any node, and become an object when they are whole."""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from drs_service.blobs.driver import Buffer
from drs_service.blobs.store import BlobStore
from drs_service.blobs.unfinished import Unfinished
from drs_service.db import uploads
from drs_service.db.pool import Database
from drs_service.domain.access import DEFAULT_SPACE, Action, Principal, may
from drs_service.domain.candidates import Candidate, FromDigest
from drs_service.domain.checksums import Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.names import FileName
from drs_service.domain.objects import DrsObject
from drs_service.domain.uploads import Mark, Purpose, Upload
from drs_service.errors import (
    CandidateInvalid,
    ChunkMismatch,
    DrsServiceError,
    Forbidden,
    SizeMismatch,
    UploadDone,
    UploadNotFound,
    UploadTooLarge,
)
from drs_service.usecases.announcing import ID_BYTES
from drs_service.usecases.finishing import Finishing
from drs_service.usecases.holding import Holding, check_offset
from drs_service.usecases.limiting import Limiting, Room
from drs_service.usecases.registering import Registering
from drs_service.usecases.turns import Interruption, Turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody says of an upload to come."""

    name: FileName
    media_type: str
    size: int | None
    space: str = DEFAULT_SPACE
    purpose: Purpose = Purpose.OBJECT
    checksums: tuple[Checksum, ...] = ()
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    """Algorithms, of those that can be worked out, to publish the checksums of."""
    parts: tuple[str, ...] | None = None
    """Ids of the uploads that it is joined of: nothing more is sent."""
    metadata: str | None = None
    concat: str | None = None
    ends_by_size: bool = True
    """Whether it is whole as soon as all bytes have come; otherwise once its sender says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Some of the bytes of an upload."""

    source: AsyncIterable[Buffer]
    interruption: Interruption
    """Ends source when somebody else goes on."""
    offset: int
    length: int | None = None
    """Bytes of it, if they are known."""
    total: int | None = None
    """Bytes of the whole, if they were not known before."""
    expect: Checksum | None = None
    """Of these bytes alone."""
    ends: bool | None = None
    """Whether nothing comes behind it; None if its sender has no word for that."""


class Resuming:
    def __init__(
        self,
        database: Database,
        store: BlobStore,
        registering: Registering,
        holding: Holding,
        finishing: Finishing,
        turns: Turns,
        *,
        lifetime: timedelta,
        limiting: Limiting | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._registering = registering
        self._holding = holding
        self._finishing = finishing
        self._turns = turns
        self._lifetime = lifetime
        self._limiting = limiting or Limiting(database)

    async def create(self, principal: Principal, wanted: Wanted, first: Sending | None = None) -> Upload:
        """An upload of which first has come, if anything; or a complete one, if an object that principal may read has
        its bytes and we keep a good copy of them, or if its parts are here.

        Forbidden, UploadTooLarge, QuotaExceeded, TooManyUploads, PartsInvalid, and what `Registering.register` raises
        for what the object shall be, and what `send` raises for first. There is no upload then: nobody would know its
        id.
        """
        if not may(principal, Action.CREATE, space=wanted.space):
            raise Forbidden
        self._check_size(wanted.size)
        if wanted.parts is not None:
            with self._limiting.admitted(principal.id):
                return await self._join(principal, wanted, wanted.parts)
        with self._limiting.admitted(principal.id):
            room = await self._limiting.room(principal.id, wanted.space, size=wanted.size, uploads=1)
            return await self._create(principal, wanted, self._metered(principal.id, first, room) if first else None)

    async def _create(self, principal: Principal, wanted: Wanted, first: Sending | None) -> Upload:
        upload = await self._begun(principal, wanted, secrets.token_urlsafe(ID_BYTES), size=wanted.size)
        made = await self._made_of_what_is_here(principal, upload)
        if made is not None:
            upload = replace(upload, object_id=made.id, size=made.size, mark=Mark(made.size or 0))
        await self._insert(upload)
        if made is not None:
            return upload
        try:
            if first is not None:
                return await self._send(upload, first)
            return await self._complete(upload.id) if upload.size == 0 and upload.ends_by_size else upload
        except DrsServiceError as error:
            with suppress(DrsServiceError):  # it expires
                await self.terminate(upload.id)
            if isinstance(error, ChunkMismatch):
                raise ChunkMismatch(
                    "The bytes received do not have the checksum stated of them: no upload was begun."
                ) from error
            raise

    async def _begun(self, principal: Principal, wanted: Wanted, upload_id: str, *, size: int | None) -> Upload:
        return Upload(
            id=upload_id,
            owner=principal.id,
            space=wanted.space,
            name=wanted.name,
            media_type=wanted.media_type,
            size=size,
            checksums=wanted.checksums,
            expires_at=datetime.now(UTC) + self._lifetime,
            purpose=wanted.purpose,
            handle=await self._store.begin(),
            description=wanted.description,
            tags=wanted.tags,
            wanted=wanted.wanted,
            parts=wanted.parts,
            metadata=wanted.metadata,
            concat=wanted.concat,
            ends_by_size=wanted.ends_by_size,
        )

    async def _insert(self, upload: Upload) -> None:
        async with self._database.transaction() as connection:
            await uploads.insert(connection, [upload])

    async def _join(self, principal: Principal, wanted: Wanted, parts: tuple[str, ...]) -> Upload:
        """The upload of these parts, and the same one whenever it is asked for: an answer may be lost on its way."""
        upload_id = joined_id(principal, parts)
        try:
            await self.find(upload_id)
        except UploadNotFound:
            found = await self._finishing.parts(principal.id, parts)
            size, here = sum(one.received for one in found), {one.id: one.received for one in found}
            self._check_size(size)
            # What the parts have is counted already; one that is named twice becomes more.
            more = size - sum(here.values())
            await self._limiting.room(principal.id, wanted.space, size=more, uploads=1)
            await self._insert(await self._begun(principal, wanted, upload_id, size=size))
        return await self._complete(upload_id)

    def _check_size(self, size: int | None) -> None:
        if size is not None and size > self._store.max_bytes:
            raise UploadTooLarge(f"The upload has {size} bytes; at most {self._store.max_bytes} are accepted.")

    async def _made_of_what_is_here(self, principal: Principal, upload: Upload) -> DrsObject | None:
        """An object, if one that principal may read has the bytes already, and we have them well."""
        stated = {one.algorithm: one.value for one in upload.checksums}
        if upload.purpose is not Purpose.OBJECT or "sha-256" not in stated:
            return None
        candidate = Candidate(
            source=FromDigest(Digest.from_hex(stated["sha-256"]), instead=True),
            size=upload.size,
            checksums=upload.checksums,
            name=upload.name,
            media_type=upload.media_type,
            description=upload.description,
            tags=upload.tags,
            wanted=upload.wanted,
        )
        try:
            [made] = await self._registering.register(principal, [candidate])
        except CandidateInvalid:
            return None
        return made

    async def find(self, upload_id: str) -> Upload:
        """How far it has come, as of now, or that nothing becomes of it. UploadNotFound."""
        return await self._holding.look(upload_id)

    async def settle(self, upload_id: str) -> Upload:
        """How far it has come, once whoever was sending has stopped: the next one may go on there.

        UploadNotFound, UploadFailed, UploadBusy, UploadLost; and if it ends by its size, what `send` raises at the last
        byte: whoever is told then that all bytes are here takes it to be done, so an object that could not be made
        before is made now.
        """
        upload = await self._holding.find(upload_id)
        if upload.is_closed:
            await self._holding.tidy(upload)
            return upload
        async with self._holding.held(upload_id) as (upload, unfinished):
            is_here = upload.is_complete or upload.parts is not None
            is_whole = upload.ends_by_size and is_here and upload.purpose is not Purpose.PART
            if unfinished is not None and is_whole:
                return await self._finishing.finish(upload, unfinished)
            return upload

    async def send(self, upload_id: str, sending: Sending) -> Upload:
        """Go on with an upload; with the last byte it becomes an object. What came before an error stays, unless a
        checksum was expected of it.

        Forbidden, UploadNotFound, UploadFailed, UploadLost, UploadDone, UploadBusy, OffsetMismatch, SizeMismatch,
        UploadTooLarge, QuotaExceeded, ChunkMismatch, ChecksumMismatch, Unavailable, and what the source raises.
        """
        upload = await self._holding.find(upload_id)
        with self._limiting.admitted(upload.owner):
            size, already = bytes_to_come(upload, sending), upload.staged - upload.received
            room = await self._limiting.room(upload.owner, upload.space, size=size, already=already)
            return await self._send(upload, self._metered(upload.owner, sending, room))

    def _metered(self, owner: str, sending: Sending, room: Room) -> Sending:
        return replace(sending, source=self._limiting.metered(owner, sending.source, room, sending.interruption))

    async def _send(self, upload: Upload, sending: Sending) -> Upload:
        if upload.parts is not None:
            raise Forbidden("Nothing is added to an upload that is joined of others.")
        if not upload.is_closed:
            held = self._holding.held(upload.id, at=sending.offset, by=sending.interruption)
            async with held as (upload, unfinished):
                if unfinished is not None:
                    return await self._receive(upload, unfinished, sending)
        await self._holding.tidy(upload)
        # The answer to the last request may have been lost on its way.
        check_offset(sending.offset, upload)
        if sending.ends is None:
            check_length(sending, most=0)
        async for _ in sending.source:
            raise UploadTooLarge("The upload is complete.") if sending.ends is None else UploadDone
        return upload

    async def _receive(self, upload: Upload, unfinished: Unfinished, sending: Sending) -> Upload:
        check_offset(sending.offset, upload)
        size = self._size_said(upload, sending.total)
        most = (size if size is not None else self._store.max_bytes) - upload.received
        check_length(sending, most=most)
        upload = await self._sized(upload, size)

        async def tell(mark: Mark) -> None:
            await self._holding.tell(upload, unfinished.mark, mark)

        with self._turns.taken(upload.id, sending.interruption):
            await unfinished.receive(sending.source, most=most, tell=tell, expect=sending.expect)
        if sending.ends:
            upload = await self._sized(upload, self._size_said(upload, unfinished.mark.offset))
        if (sending.ends or upload.ends_by_size) and unfinished.mark.offset == upload.size:
            return await self._finishing.finish(upload, unfinished)
        return await self._holding.find(upload.id)

    def _size_said(self, upload: Upload, total: int | None) -> int | None:
        """The size that its sender knows by now. SizeMismatch, UploadTooLarge."""
        if total is None or total == upload.size:
            return upload.size
        if upload.size is not None:
            raise SizeMismatch(f"The upload has {upload.size} bytes, not {total}.")
        if total < upload.received:
            raise SizeMismatch(f"{upload.received} bytes of the upload have come: it has not {total}.")
        self._check_size(total)
        return total

    async def _sized(self, upload: Upload, size: int | None) -> Upload:
        if size is None or size == upload.size:
            return upload
        async with self._database.connection() as connection:
            await uploads.sized(connection, upload.id, size)
        return replace(upload, size=size)

    async def terminate(self, upload_id: str) -> None:
        """Forget an upload and what has come of it; an object that was made of it stays. UploadNotFound, UploadBusy."""
        upload = await self._holding.look(upload_id)
        if upload.handle is not None and not upload.is_closed and upload.failed is None:
            async with self._holding.held(upload_id) as (upload, unfinished):
                if unfinished is not None:
                    await self._holding.forget(upload, unfinished)
                    return
        async with self._database.transaction() as connection:
            await uploads.delete(connection, [upload_id])
        if upload.handle is not None:
            await self._store.forget(upload.handle)  # a worker that has it works in vain

    async def _complete(self, upload_id: str) -> Upload:
        """Make of an upload what it is to be: nothing more will come."""
        upload = await self._holding.find(upload_id)
        if not upload.is_closed:
            async with self._holding.held(upload_id) as (upload, unfinished):
                if unfinished is not None:
                    upload = await self._finishing.finish(upload, unfinished)
        if upload.is_done:
            await self._finishing.drop_parts(upload)
        return upload


def bytes_to_come(upload: Upload, sending: Sending) -> int | None:
    """As far as anybody knows: of the whole, or else of this request."""
    size = upload.size if upload.size is not None else sending.total
    if upload.is_closed:
        return 0
    return sending.length if size is None else max(0, size - upload.received)


def check_length(sending: Sending, *, most: int) -> None:
    if sending.length is not None and sending.length > most:
        raise UploadTooLarge(f"There are {most} bytes to come, not {sending.length}.")


def joined_id(principal: Principal, parts: Sequence[str]) -> str:
    """Of the upload that is joined of these: as unguessable as they are."""
    said = hashlib.sha256("\0".join((principal.id, *parts)).encode()).digest()
    return base64.urlsafe_b64encode(said[:ID_BYTES]).decode()
