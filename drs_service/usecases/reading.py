"""Bytes go out again, from whichever place has a good copy of them.

before the first byte    the copy is missing or bad: another one is read, and that one is made good again
                         the place does not answer, or not soon: another one is read, and that place is asked last for
                         a while; the last one that there is to ask may take its time
                         this one file cannot be read: another copy is, and nothing follows for the place
                         the copy lies in an archive: another one is read; if there is none, it is brought back, or
                         looked at again if that is somebody else's to do
after it                 the reader's connection breaks; a copy that ends too early is made good again
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import structlog

from drs_service.blobs.driver import Buffer
from drs_service.blobs.store import BlobStore
from drs_service.db import archived, blobs, replicas
from drs_service.db.pool import Database
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.domain.ranges import ByteRange
from drs_service.domain.thawing import Thaw
from drs_service.errors import (
    BlobCorrupt,
    BlobNotFound,
    BytesArchived,
    DigestMismatch,
    DrsServiceError,
    StorageUnavailable,
)
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.usecases.alerting import report
from drs_service.usecases.bringing_back import BringingBack
from drs_service.usecases.places import Places

T = TypeVar("T")

log = structlog.get_logger()

MISSING = "the bytes are missing"
CUT_OFF = "the bytes end too early"
WRONG_SIZE = "the bytes are too few or too many"
OTHERS = "the bytes are others"
CHANGED = "the file has changed"
DEFAULT = Thaw()


class Reading:
    def __init__(
        self,
        database: Database,
        places: Places,
        *,
        alerts: bool = False,
        how: Thaw = DEFAULT,
        thaws: bool = True,
        patient: bool = False,
    ) -> None:
        """alerts: whether there is somebody to be told of damage. how: archived copies are brought back, if thaws.
        patient: whether they may be asked for today and brought back tomorrow.
        """
        self._database = database
        self._places = places
        self.alerts = alerts
        self._back = BringingBack(
            database, places, how, thaws=thaws, patient=patient, on_loss=partial(self._report, damage=MISSING)
        )
        self._reporting: set[asyncio.Task[None]] = set()
        self._forsaken: set[asyncio.Task[AsyncGenerator[Buffer, None]]] = set()

    async def open(self, digest: Digest, span: ByteRange, among: Collection[str]) -> AsyncGenerator[Buffer, None]:
        """The bytes of span, begun, from one of the places that are said to have them.

        BlobCorrupt if none of them has, StorageUnavailable if one that might does not answer, or is not known here,
        BytesArchived if they lie in an archive: they are brought back then, or never for a reader: BytesPutAway. The
        caller closes it.
        """
        tried: set[str] = set()
        left = set(among)
        while True:
            try:
                return await self._open(digest, span, left)
            except (BlobCorrupt, BytesArchived):
                # What is kept in memory of an object is an instant old: it may have been healed, or brought back.
                tried |= left
                async with self._database.connection() as connection:
                    copies = await replicas.of(connection, digest)
                good = {name: copy for name, copy in copies.items() if copy.damage is None}
                left = {name for name, copy in good.items() if not copy.archived} - tried
                if not left:
                    left = await self._back.bring({digest: [name for name, copy in good.items() if copy.archived]})
                if not left:
                    raise

    async def ready(self, digests: Sequence[Digest], place: str | None = None, *, begin: bool = True) -> None:
        """BytesArchived if some of them cannot be read at once, in this place or in any: they are brought back then, if
        it may begin. BytesPutAway if nobody has them brought back by reading, and nobody has done it otherwise.
        """
        async with self._database.connection() as connection:
            put_away = await archived.nowhere_else(connection, digests, place)
        await self._back.bring(put_away, begin=begin)

    async def archived(self, digest: Digest, store: BlobStore, job: Attempt = UNQUEUED) -> None:
        """A copy was not given out because it lies in an archive: others are read until it was brought back."""
        self._back.note(digest, store)
        async with self._database.transaction() as connection:
            await job.hold(connection)
            is_news = await archived.refused(connection, digest, store.place)
        if is_news:
            log.info("a copy lies in an archive", digest=digest.hex, place=store.place)

    async def _open(self, digest: Digest, span: ByteRange, among: Collection[str]) -> AsyncGenerator[Buffer, None]:
        unavailable: StorageUnavailable | BytesArchived | None = None
        stores = self._places.in_order(among)
        for store in stores:
            opening = store.open(digest, span, on_damage=partial(self._report, digest, store, CUT_OFF))
            try:
                return await (opening if store is stores[-1] else self._soon(opening))
            except BlobNotFound:
                self._report(digest, store, MISSING)
            except BlobCorrupt:
                pass  # reported
            except BytesArchived as error:
                await self.archived(digest, store)
                unavailable = unavailable or error
            except StorageUnavailable as error:
                self._note_ill(store, error)
                unavailable = error
        raise (
            unavailable
            or self._elsewhere(among)
            or BlobCorrupt("No good copy of the bytes of this object is left.", digest=digest.hex)
        )

    def _note_ill(self, store: BlobStore, error: StorageUnavailable) -> None:
        if not error.facts.get("alone"):  # of one file, the place is none the worse for it
            self._places.note_ill(store)
        log.warning("a place does not answer", place=store.place, error=str(error), **error.facts)

    def _elsewhere(self, among: Collection[str]) -> StorageUnavailable | None:
        """What to say of copies in places that the settings of this process do not know."""
        unknown = sorted(set(among) - set(self._places.names))
        if not unknown:
            return None
        log.error("bytes are in places that the settings do not know", places=unknown)
        return StorageUnavailable(
            f"The bytes are in {', '.join(unknown)}, which DRS_PLACES of this node does not name."
        )

    async def _soon(self, opening: Coroutine[None, None, AsyncGenerator[Buffer, None]]) -> AsyncGenerator[Buffer, None]:
        """What is opened, unless that takes too long: StorageUnavailable. It is left to itself then, for a call of a
        file system that hangs cannot be ended.
        """
        task = asyncio.create_task(opening)
        try:
            await asyncio.wait({task}, timeout=self._places.patience)
            if task.done():
                return task.result()
        finally:
            if task.cancel():
                self._forsaken.add(task)
                task.add_done_callback(self._forsaken.discard)
        raise StorageUnavailable(reason=f"no byte has come for {self._places.patience:g} seconds")

    async def from_a_good_copy(
        self,
        blob: Blob,
        among: Collection[str],
        attempt: Callable[[BlobStore, AsyncIterable[Buffer]], Awaitable[T]],
        *,
        job: Attempt = UNQUEUED,
    ) -> T:
        """What attempt makes of all bytes in one of these places; a DigestMismatch of it says that they are others.

        A place that does not begin soon is asked last for a while, as when a reader waits.
        BlobCorrupt if no copy is good, StorageUnavailable if one that might be does not answer, BytesArchived if one
        lies in an archive: it is brought back then; BytesPutAway if that is not for us to do; and what attempt raises
        besides.
        """
        unavailable: StorageUnavailable | None = None
        put_away: set[str] = set()
        digest, stores = blob.digest, self._places.in_order(among)
        for store in stores:
            try:
                async with aclosing(await self._whole(store, blob, job, is_last=store is stores[-1])) as pieces:
                    return await self._attempted(digest, store, attempt(store, pieces), job)
            except BytesArchived:
                await self.archived(digest, store, job)
                put_away.add(store.place)
            except StorageUnavailable as error:
                unavailable = error
            except (BlobNotFound, BlobCorrupt, DigestMismatch):
                pass  # noted
        if unavailable is None and put_away:
            await self._back.bring({digest: put_away})
            raise BytesArchived("It has just been brought back.")
        lost = BlobCorrupt("No good copy of the bytes is left.", digest=digest.hex)
        raise unavailable or self._elsewhere(among) or lost

    async def _whole(
        self, store: BlobStore, blob: Blob, job: Attempt, *, is_last: bool
    ) -> AsyncGenerator[Buffer, None]:
        opening = store.open_whole(blob)
        try:
            return await self._attempted(blob.digest, store, opening if is_last else self._soon(opening), job)
        except StorageUnavailable as error:
            self._note_ill(store, error)
            raise

    async def _attempted(self, digest: Digest, store: BlobStore, attempt: Awaitable[T], job: Attempt) -> T:
        """StorageUnavailable also if nothing is missed only because the place is not there."""
        try:
            return await attempt
        except BlobNotFound:
            await self.damaged(digest, store, MISSING, job)
            raise
        except BlobCorrupt:
            await self.damaged(digest, store, CUT_OFF, job)
            raise
        except DigestMismatch:
            await self.damaged(digest, store, OTHERS, job)
            raise

    def _report(self, digest: Digest, store: BlobStore, damage: str) -> None:
        task = asyncio.create_task(self._reported(digest, store, damage))
        self._reporting.add(task)
        task.add_done_callback(self._reporting.discard)

    async def _reported(self, digest: Digest, store: BlobStore, damage: str) -> None:
        try:
            await self.damaged(digest, store, damage)
        except DrsServiceError as error:
            # Whoever reads next, or the scrubbing, will meet it again.
            log.warning("a bad copy was not noted", place=store.place, error=str(error), **error.facts)

    async def damaged(self, digest: Digest, store: BlobStore, damage: str, job: Attempt = UNQUEUED) -> None:
        """Let nobody read a copy any more, and have it made anew. Nothing if there should be none, or it is known.

        A place that is not there at all has lost nothing yet: StorageUnavailable. JobTakenOver if the job that found it
        is another worker's by now, who may have seen the copy healed.
        """
        await self._places.check(store)
        if damage == MISSING and await is_there(store, digest):
            return  # the place was away, and is back
        if store.external is not None and damage == CUT_OFF:
            damage = CHANGED
        async with self._database.transaction() as connection:
            await job.hold(connection)
            if damage == MISSING:
                # Whoever brings the bytes again says so under this lock: it may just have been.
                await blobs.lock(connection, [digest])
                if await is_there(store, digest):
                    return
            if await replicas.damaged(connection, digest, store.place, damage):
                await report(connection, [digest], store.place, damage, alerts=self.alerts)

    async def close(self) -> None:
        """Return when everything is reported."""
        await asyncio.gather(*self._reporting, return_exceptions=True)


async def is_there(store: BlobStore, digest: Digest) -> bool:
    try:
        await store.stat(digest)
    except BlobNotFound:
        return False
    return True


async def fault(store: BlobStore, blob: Blob, pace: Callable[[int], Awaitable[None]] | None = None) -> str | None:
    """What is wrong with the bytes of a blob in a place, all of which are read; None if they are right.

    StorageUnavailable, BytesArchived.
    """
    try:
        if (await store.stat(blob.digest)).size != blob.size:
            return WRONG_SIZE
        found = await store.digest(blob, pace)
    except BlobNotFound:
        return MISSING
    except BlobCorrupt:
        return CUT_OFF
    return None if found == blob.digest else OTHERS
