"""All bytes of an upload have come: what it is to be is made of it, at once, or by a worker if that takes long.

Nobody reads them again if their hash was carried on from the first byte to the last. Otherwise they have to be read,
and what was sent in parts has to be joined: what is long is a job then, and the object has its id before.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta

from drs_service.blobs.receiving import Arrival
from drs_service.blobs.store import BlobStore
from drs_service.blobs.unfinished import Unfinished
from drs_service.db import blobs, objects, uploads
from drs_service.db.pool import Database
from drs_service.domain.objects import NewObject
from drs_service.domain.uploads import Purpose, Upload, is_upload_id
from drs_service.errors import (
    ChecksumMismatch,
    PartsInvalid,
    SizeMismatch,
    Unavailable,
    UploadBusy,
    UploadFailed,
    UploadLost,
    UploadNotFound,
)
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.jobs.kinds import FinishUpload, enqueue
from drs_service.usecases.announcing import hold_to
from drs_service.usecases.holding import Holding
from drs_service.usecases.recording import record
from drs_service.usecases.registering import fresh_id

MAX_PARTS = 10_000
FEW_PARTS = 50  # joined while the sender waits, however short they are


class Finishing:
    def __init__(
        self,
        database: Database,
        store: BlobStore,
        holding: Holding,
        *,
        lifetime: timedelta,
        checksums: Collection[str] = (),
        at_once: int,
    ) -> None:
        """at_once: bytes that are read or joined while the sender waits."""
        self._database = database
        self._store = store
        self._holding = holding
        self._lifetime = lifetime
        self._checksums = checksums
        self._at_once = at_once

    async def finish(self, upload: Upload, unfinished: Unfinished) -> Upload:
        """Make of it what it is to be, or have a worker do it: nothing more will come.

        SizeMismatch, ChecksumMismatch, PartsInvalid: the upload is gone then, for waiting would not help. Unavailable.
        """
        if upload.purpose is Purpose.PART and not upload.checksums:
            return await self._holding.find(upload.id)
        if upload.purpose is not Purpose.PART and self._is_long(upload, unfinished):
            return await self._promise(upload)
        try:
            await self._join(upload, unfinished)
            await self._make(upload, unfinished)
        except (SizeMismatch, ChecksumMismatch, PartsInvalid):
            await self._holding.forget(upload, unfinished)
            raise
        return await self._holding.find(upload.id)

    def _is_long(self, upload: Upload, unfinished: Unfinished) -> bool:
        if len(upload.parts or ()) > FEW_PARTS:
            return True
        if upload.size is None or upload.size <= self._at_once:
            return False
        is_here = unfinished.mark.offset == upload.size  # and not in parts
        return not is_here or not unfinished.knows(upload.algorithms)

    async def _promise(self, upload: Upload) -> Upload:
        object_id = fresh_id() if upload.purpose is Purpose.OBJECT else None
        async with self._database.transaction() as connection:
            if await uploads.promise(connection, upload.id, object_id, lifetime=self._lifetime):
                await enqueue(connection, FinishUpload(upload.id))
        return await self._holding.find(upload.id)

    async def work_off(self, upload_id: str, attempt: Attempt = UNQUEUED) -> None:
        """What was left to a worker. Nothing if it is done, or was given up by its sender. UploadBusy, Unavailable."""
        try:
            async with self._holding.held(upload_id, finishing=True) as (upload, unfinished):
                if unfinished is not None:
                    await self._work_off(upload, unfinished, attempt)
        except UploadLost as error:
            await self._fail(upload_id, error)
        except (UploadNotFound, UploadFailed):
            pass

    async def _work_off(self, upload: Upload, unfinished: Unfinished, attempt: Attempt) -> None:
        try:
            await self._join(upload, unfinished, attempt)
            await self._make(upload, unfinished, attempt)
            await self.drop_parts(upload)
        except (SizeMismatch, ChecksumMismatch, PartsInvalid) as error:
            await self._fail(upload.id, error)
            await unfinished.discard()
        except UploadNotFound:
            await unfinished.discard()
            raise

    async def _fail(self, upload_id: str, error: Exception) -> None:
        async with self._database.connection() as connection:
            await uploads.fail(connection, upload_id, str(error))

    async def give_back(self, upload_id: str) -> None:
        """No worker could do it: it is taken up again when its sender asks for it."""
        async with self._database.connection() as connection:
            await uploads.unpromise(connection, upload_id, lifetime=self._lifetime)

    async def parts(self, owner: str, ids: Sequence[str]) -> list[Upload]:
        """PartsInvalid unless all of them are complete parts of the same sender."""
        if not 1 <= len(ids) <= MAX_PARTS or not all(map(is_upload_id, ids)):
            raise PartsInvalid
        async with self._database.connection() as connection:
            found = await uploads.select(connection, ids)
        for one in ids:
            part = found.get(one)
            if part is None or part.purpose is not Purpose.PART or part.owner != owner:
                raise PartsInvalid(f"There is no partial upload {one}.")
            if not part.is_complete:
                raise PartsInvalid(f"The partial upload {one} is not complete.")
        return [found[one] for one in ids]

    async def _join(self, upload: Upload, unfinished: Unfinished, attempt: Attempt = UNQUEUED) -> None:
        """Join the parts, if it has any. Nobody knows how far this came when it fails: it is begun again."""
        if upload.parts is None or upload.is_complete:
            return
        try:
            for part in await self.parts(upload.owner, upload.parts):
                async with self._holding.held(part.id) as (_, piece):
                    assert piece is not None, "a part stays a part"
                    await unfinished.append(piece)
                attempt.progress(unfinished.mark.offset, upload.size, "bytes joined")
        except UploadNotFound as error:
            raise PartsInvalid("A partial upload has gone.") from error
        # What will be published is never cut off and begun again.
        await self._holding.tell(upload, upload.mark, unfinished.mark)

    async def drop_parts(self, upload: Upload) -> None:
        """What was joined is not needed any more."""
        for part_id in dict.fromkeys(upload.parts or ()):
            with suppress(UploadNotFound, UploadFailed, UploadBusy, Unavailable):  # what stays behind expires
                async with self._holding.held(part_id) as (part, piece):
                    if piece is not None:
                        await self._holding.forget(part, piece)

    async def _make(self, upload: Upload, unfinished: Unfinished, attempt: Attempt = UNQUEUED) -> None:
        size = unfinished.mark.offset
        arrival = await unfinished.finish(upload.algorithms, tell=lambda read: attempt.progress(read, size, "bytes"))
        hold_to(upload, arrival)
        if upload.purpose is Purpose.PART:
            return
        await arrival.keep()
        await self._record(upload, arrival, attempt)
        await unfinished.discard()

    async def _record(self, upload: Upload, arrival: Arrival, attempt: Attempt) -> None:
        digest = arrival.blob.digest
        async with self._database.transaction() as connection:
            await blobs.lock(connection, [digest])
            now = (await uploads.select_locked(connection, [upload.id])).get(upload.id)
            if now is None:
                raise UploadNotFound
            if now.is_done:
                return  # all of it was sent in another way
            await attempt.conclude(connection)
            await record(connection, self._store, [arrival], algorithms=self._checksums)
            if upload.purpose is Purpose.ANNOUNCED:
                await uploads.arrived(connection, upload.id, digest)
                return
            made = new_object(now, arrival)
            await objects.insert(connection, [made])
            await uploads.finished(connection, upload.id, made.id, arrival.blob.size)


def new_object(upload: Upload, arrival: Arrival) -> NewObject:
    read = {"sha-256", *(one.algorithm for one in arrival.checksums)}
    return NewObject(
        id=upload.promised_id or fresh_id(),
        blob=arrival.blob,
        name=upload.name.portable,
        file_name=upload.name.original,
        media_type=upload.media_type,
        owner=upload.owner,
        space=upload.space,
        description=upload.description,
        aliases=upload.aliases,
        tags=upload.tags,
        stated=tuple(one for one in upload.checksums if one.algorithm not in read),
    )
