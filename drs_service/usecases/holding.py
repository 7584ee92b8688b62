"""An upload for oneself: whoever goes on with it, on whatever node, is the only one who does."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from drs_service.blobs.hashing import Hashing
from drs_service.blobs.store import BlobStore
from drs_service.blobs.unfinished import Unfinished
from drs_service.db import uploads
from drs_service.db.pool import Database
from drs_service.domain.uploads import Mark, Purpose, Upload
from drs_service.errors import OffsetMismatch, Unavailable, UploadBusy, UploadDone, UploadFailed, UploadNotFound
from drs_service.usecases.looking import upload_of
from drs_service.usecases.turns import Interruption, Turns

TURN_PATIENCE = 10.0  # seconds that whoever is sending may take to make safe what has come
TURN_RETRY = 0.02  # seconds
LEAST_KEPT = timedelta(milliseconds=100)  # between two looks at how long an upload has still to wait
CARRIED = 4096  # uploads whose hash is carried on in this process


class Holding:
    def __init__(self, database: Database, store: BlobStore, turns: Turns, *, lifetime: timedelta) -> None:
        self._database = database
        self._store = store
        self._turns = turns
        self._lifetime = lifetime
        self._carried = Carried(CARRIED)

    async def look(self, upload_id: str) -> Upload:
        """How far it has come, as of now. UploadNotFound, UploadExpired."""
        return await upload_of(self._database, upload_id)

    async def find(self, upload_id: str) -> Upload:
        """The same of one of which something can become. UploadNotFound, UploadFailed."""
        upload = await self.look(upload_id)
        if upload.failed is not None:
            raise UploadFailed(f"Nothing can become of this upload: {upload.failed}")
        return upload

    @asynccontextmanager
    async def held(
        self, upload_id: str, *, finishing: bool = False, at: int | None = None, by: Interruption | None = None
    ) -> AsyncIterator[tuple[Upload, Unfinished | None]]:
        """An upload for oneself, as it is once everybody else has let go of it; nothing if it is done by then, or a
        worker finishes it, unless this is that worker.

        at and by are of a sender: where he would go on, and what ends his own sending. He disturbs nobody whose bytes
        come, for his would not fit behind them. UploadNotFound, UploadFailed, UploadBusy, UploadLost, OffsetMismatch.
        """
        async with AsyncExitStack() as stack:
            unfinished = await self._turn(upload_id, stack, at, by)
            # Only now is it certain how far it has come.
            try:
                upload = await self.find(upload_id)
            except UploadNotFound:
                await unfinished.discard()
                raise
            if upload.is_done:
                await unfinished.discard()
            if upload.is_done or upload.finishing is not finishing:
                yield upload, None
                return
            await unfinished.go_on(upload.mark, self._hashing(upload))
            keeping = asyncio.create_task(self._keep(upload))
            try:
                yield upload, unfinished
            finally:
                keeping.cancel()
                self._carried.put(upload_id, unfinished.mark, unfinished.hashing)

    async def _keep(self, upload: Upload) -> None:
        """See that it does not expire while somebody is about it, who may have nothing to tell for long."""
        left = upload.expires_at - datetime.now(UTC)
        while True:
            await asyncio.sleep(max(left / 2, LEAST_KEPT).total_seconds())
            with suppress(Unavailable):  # the next time, then
                async with self._database.connection() as connection:
                    await uploads.keep(connection, upload.id, lifetime=self._lifetime)
            left = self._lifetime

    async def _turn(self, upload_id: str, stack: AsyncExitStack, at: int | None, by: Interruption | None) -> Unfinished:
        """Enter stack with the upload, as soon as whoever has it leaves it. UploadBusy, OffsetMismatch."""
        deadline = time.monotonic() + TURN_PATIENCE
        while True:
            upload = await self.find(upload_id)
            if upload.handle is None:
                raise UploadDone
            if at is not None:
                check_offset(at, upload)
            try:
                if not self._store.keeps_out:
                    await stack.enter_async_context(self._turns.had(upload_id))
                return await stack.enter_async_context(self._store.resume(upload.handle))
            except UploadBusy:
                await stack.aclose()
                if time.monotonic() > deadline:
                    raise
            await self._turns.call(upload_id, by)
            await asyncio.sleep(TURN_RETRY)

    def _hashing(self, upload: Upload) -> Hashing | None:
        carried = self._carried.take(upload.id, upload.mark)
        if carried is None and upload.received == 0 and (upload.algorithms or upload.purpose is not Purpose.PART):
            return Hashing(upload.algorithms)
        return carried

    async def tell(self, upload: Upload, before: Mark, after: Mark) -> None:
        """Write down how far it has come. UploadNotFound, UploadFailed, UploadDone, UploadBusy."""
        async with self._database.connection() as connection:
            told = await uploads.received(connection, upload, before, after, lifetime=self._lifetime)
        if not told:
            if (await self.find(upload.id)).is_done:
                raise UploadDone  # all of it was sent in another way
            raise UploadBusy  # somebody else took it from us, for we seemed to be dead

    async def tidy(self, upload: Upload) -> None:
        """Forget what waits of an upload that is done: who recorded that may not have come to forget it."""
        if upload.is_done and upload.handle is not None:
            with suppress(Unavailable):  # the sweep will find it
                await self._store.forget(upload.handle)

    async def forget(self, upload: Upload, unfinished: Unfinished) -> None:
        """There was never such an upload."""
        async with self._database.transaction() as connection:
            await uploads.delete(connection, [upload.id])
        await unfinished.discard()


def check_offset(offset: int, upload: Upload) -> None:
    """OffsetMismatch unless the upload has come so far."""
    if offset != upload.received:
        raise OffsetMismatch(
            f"The upload has come to {upload.received}, not to {offset}.", expected=upload.received, provided=offset
        )


class Carried:
    """Hashes of the uploads that this process has served last, as far as these have come."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._by_id: OrderedDict[str, tuple[Mark, Hashing]] = OrderedDict()

    def put(self, upload_id: str, mark: Mark, hashing: Hashing | None) -> None:
        self._by_id.pop(upload_id, None)
        if hashing is not None:
            self._by_id[upload_id] = mark, hashing
            if len(self._by_id) > self._size:
                self._by_id.popitem(last=False)

    def take(self, upload_id: str, mark: Mark) -> Hashing | None:
        """Once: whoever takes it lets it see more. None if it has not seen the upload as far as this."""
        come, hashing = self._by_id.pop(upload_id, (None, None))
        return hashing if come == mark else None
