"""The one door to the bytes: what comes in is hashed, limited and verified here, whatever place keeps it."""

import asyncio
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from drs_service.blobs.binding import another_database, another_place
from drs_service.blobs.driver import (
    READABLE,
    BlobDriver,
    Buffer,
    Condition,
    Direct,
    Entry,
    Freezes,
    InFiles,
    Presigns,
    Thaws,
)
from drs_service.blobs.external import ExternalFiles
from drs_service.blobs.external_driver import ExternalDriver
from drs_service.blobs.hashing import Hashing
from drs_service.blobs.keys import (
    BLOBS,
    IDENTITIES,
    KEPT_PROBE,
    NAMES,
    PROBES,
    digest_of,
    identity_key,
    key_for,
    name_key,
)
from drs_service.blobs.reading_on import begun, paced, read_on
from drs_service.blobs.receiving import Arrival, Receiving
from drs_service.blobs.rereading import Rereading
from drs_service.blobs.unfinished import Unfinished
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.domain.ranges import ByteRange
from drs_service.domain.replication import Rule
from drs_service.domain.thawing import Thaw
from drs_service.errors import (
    BlobCorrupt,
    BlobNotFound,
    DigestMismatch,
    StorageFull,
    StorageUnavailable,
    StoreMismatch,
    UploadTooLarge,
)

log = structlog.get_logger()

LONGEST_PROBE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob as the place lists it."""

    digest: Digest
    key: str
    published: datetime
    archived: bool = False
    """As `Entry.archived`."""


class BlobStore:
    """Blobs by digest, in one place."""

    def __init__(self, driver: BlobDriver, *, place: str, max_bytes: int, replicas: Sequence[Rule] = ()) -> None:
        """replicas: where else copies are to be of what comes in here."""
        self.place = place
        self.replicas = replicas
        self.max_bytes = max_bytes
        self._driver = driver
        self._receiving = Receiving()
        self._rereading = Rereading()

    @asynccontextmanager
    async def receive(
        self,
        source: AsyncIterable[Buffer],
        *,
        expect: Digest | None = None,
        length: int | None = None,
        most: int | None = None,
        algorithms: Collection[str] = (),
    ) -> AsyncIterator[Arrival]:
        """Read source to its end and verify it. It is forgotten at the end of the block unless kept.

        length, if the sender stated it, is held against the limit before anything is read; most is another limit, of
        what was accepted before. algorithms, of those that
        can be computed, are worked out besides SHA-256. Raises UploadTooLarge, DigestMismatch, StorageFull,
        StorageUnavailable, and whatever source raises; nothing is stored then.
        """
        if length is not None and length > self.max_bytes:
            raise UploadTooLarge(f"The upload has {length} bytes; at most {self.max_bytes} are accepted.")
        staged = await self._driver.stage()
        try:
            hashing = Hashing(algorithms)
            await self._receiving.absorb(source, staged, hashing, most=self.max_bytes if most is None else most)
            blob = hashing.blob()
            if expect is not None and blob.digest != expect:
                raise DigestMismatch(
                    f"The bytes received have the digest {blob.digest}, not {expect} as stated. Nothing was stored."
                )
            yield Arrival(blob, hashing.checksums(), self._driver, staged)
        finally:
            await staged.discard()

    @property
    def keeps_out(self) -> bool:
        """Whether `resume` keeps out those who go on with the same upload in other processes."""
        return self._driver.keeps_out

    @property
    def direct(self) -> Direct | None:
        """The place itself, if uploads can be brought to it past us."""
        return self._driver if isinstance(self._driver, Direct) else None

    @property
    def external(self) -> ExternalFiles | None:
        """The files, if they are those of others: nothing is ever written here, or deleted."""
        return self._driver.files if isinstance(self._driver, ExternalDriver) else None

    async def begin(self) -> str:
        """The handle of an upload of which nothing has come yet."""
        return await self._driver.begin()

    @asynccontextmanager
    async def resume(self, handle: str) -> AsyncIterator[Unfinished]:
        """Have an upload for oneself for the length of the block. UploadBusy, StorageUnavailable."""
        waiting = await self._driver.resume(handle)
        try:
            yield Unfinished(self._driver, waiting, self._receiving)
        finally:
            await waiting.leave()

    async def forget(self, handle: str) -> None:
        """Forget what has come of an upload. Harmless if there is nothing."""
        await self._driver.forget(handle)

    def waiting(self) -> AsyncIterator[Entry]:
        """The handles of uploads of which something has come, and when that was."""
        return self._driver.waiting()

    async def open(
        self, digest: Digest, span: ByteRange, *, on_damage: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[Buffer, None]:
        """The bytes of span, already begun: a blob that cannot be read raises here, not midway.

        BlobNotFound, BlobCorrupt, BytesArchived, StorageUnavailable. The caller closes the generator. on_damage is
        told of a BlobCorrupt, whenever it comes.
        """
        reading = begun(self._driver.read(key_for(digest), span.start, span.end), on_damage)
        try:
            await anext(reading)
        except KeyError as error:
            raise BlobNotFound(digest=str(digest)) from error
        return reading

    async def open_whole(self, blob: Blob) -> AsyncGenerator[Buffer, None]:
        """All bytes of a blob, for those whom nobody waits for: where a connection breaks the reading goes on, over as
        many requests as that takes. As `open`; BlobNotFound also midway.
        """
        if not blob.size:
            return await self.open(blob.digest, ByteRange(0, 0))
        key = key_for(blob.digest)
        reading = begun(self._through(key, blob), lambda: None)
        await anext(reading)
        return reading

    async def _through(self, key: str, blob: Blob) -> AsyncGenerator[Buffer, None]:
        try:
            async with aclosing(read_on(partial(self._driver.read, key), 0, blob.size)) as pieces:
                async for piece in pieces:
                    yield piece
        except KeyError as error:
            raise BlobNotFound(digest=str(blob.digest)) from error

    async def hash(self, pieces: AsyncIterable[Buffer], hashing: Hashing) -> None:
        """Let hashing see pieces, beside whatever else goes on."""
        await self._receiving.hash(pieces, hashing)

    async def stat(self, digest: Digest) -> Blob:
        """BlobNotFound if it is not kept here."""
        try:
            return Blob(digest, await self._driver.size(key_for(digest)))
        except KeyError as error:
            raise BlobNotFound(digest=str(digest)) from error

    async def has(self, digest: Digest) -> bool:
        """Whether there is anything under this digest, good or bad."""
        try:
            await self.stat(digest)
        except BlobNotFound:
            return False
        return True

    async def digest(self, blob: Blob, pace: Callable[[int], Awaitable[None]] | None = None) -> Digest:
        """What the bytes kept for a blob are in truth; pace is waited for with the size of every piece.

        BlobNotFound, BlobCorrupt if they end too early, BytesArchived, StorageUnavailable.
        """
        if isinstance(self._driver, InFiles):
            return await self._digest_of_file(self._driver, blob, pace)
        async with aclosing(await self.open_whole(blob)) as pieces:
            return await self.digest_of(pieces, pace)

    async def digest_of(
        self, pieces: AsyncIterable[Buffer], pace: Callable[[int], Awaitable[None]] | None = None
    ) -> Digest:
        """The same, of what is being read. Raises what that raises."""
        hashing = Hashing()
        await self.hash(pieces if pace is None else paced(pieces, pace), hashing)
        return hashing.blob().digest

    async def _digest_of_file(
        self, driver: InFiles, blob: Blob, pace: Callable[[int], Awaitable[None]] | None
    ) -> Digest:
        try:
            descriptor = await driver.file(key_for(blob.digest))
        except KeyError as error:
            raise BlobNotFound(digest=str(blob.digest)) from error
        try:
            hashing = await self._rereading.hash(descriptor, blob.size, pace)
        finally:
            os.close(descriptor)
        if hashing.size < blob.size:
            raise BlobCorrupt(key=key_for(blob.digest), ends=hashing.size)
        return hashing.blob().digest

    async def condition(self, digest: Digest) -> Condition:
        """Whether the blob can be read at once. BlobNotFound, StorageUnavailable."""
        if not isinstance(self._driver, Freezes):
            await self.stat(digest)
            return READABLE
        try:
            return await self._driver.condition(key_for(digest))
        except KeyError as error:
            raise BlobNotFound(digest=str(digest)) from error

    @property
    def thaws(self) -> bool:
        """Whether we may bring back what lies in an archive here."""
        return isinstance(self._driver, Thaws)

    async def thaw(self, digest: Digest, how: Thaw) -> None:
        """Have a blob that lies in an archive brought back, which `condition` says of. BlobNotFound."""
        assert isinstance(self._driver, Thaws), "only such a place has an archive"
        try:
            await self._driver.thaw(key_for(digest), how)
        except KeyError as error:
            raise BlobNotFound(digest=str(digest)) from error

    async def presign(
        self, digest: Digest, *, valid: timedelta, content_type: str, content_disposition: str
    ) -> str | None:
        """A URL under which whoever has it reads the blob past us, for so long; None if the place knows no such thing.

        StorageUnavailable. Nobody looks whether the blob is there; of a file of others it is, and whether it is as it
        was: AccessMethodNotFound, BytesArchived.
        """
        if not isinstance(self._driver, Presigns):
            return None
        return await self._driver.presign_read(
            key_for(digest), valid=valid, content_type=content_type, content_disposition=content_disposition
        )

    async def delete(self, digest: Digest) -> None:
        """Forget the bytes. Whoever calls this holds the digest's lock and knows that nothing refers to it.

        StorageUnavailable.
        """
        with self._failing_to("delete a blob"):
            await self._driver.delete(key_for(digest))

    @contextmanager
    def _failing_to(self, do: str) -> Iterator[None]:
        try:
            yield
        except StorageUnavailable as error:
            raise StorageUnavailable(f"{self.place} did not {do}. {error}", **error.facts) from error

    async def enumerate(self) -> AsyncIterator[Stored]:
        """Every blob in the place, in the order of the digests."""
        async for entry in self._driver.keys(BLOBS):
            digest = digest_of(entry.key)
            if digest is not None:
                yield Stored(digest, entry.key, entry.published, entry.archived)

    async def bind(self, identity: UUID) -> None:
        """Make sure that the blobs here are those of the database with this id. A place without blobs is adopted.

        StoreMismatch: whoever sweeps by that database would delete what another one knows.
        """
        if not await self.identities() and await anext(self.enumerate(), None) is None:
            await self._publish_empty(identity_key(identity))
        await self.check(identity)

    async def check(self, identity: UUID) -> None:
        """StoreMismatch unless the place says that it belongs to the database with this id, and goes by our name.

        One that says no name takes ours.
        """
        # Looked at also after one was published: of two databases that adopt a place at once, none may have it.
        found, names = await asyncio.gather(self.identities(), self._names())
        if found != [identity_key(identity)]:
            raise StoreMismatch(another_database(identity, found), database=str(identity), storage=found)
        if not names:
            names = await self._named()
        if names != [name_key(self.place)]:
            raise StoreMismatch(another_place(self.place, names), place=self.place, storage=names)

    async def identities(self) -> list[str]:
        """What the place says of the database that knows its blobs; nothing if it is new, or not there."""
        return [entry.key async for entry in self._driver.keys(IDENTITIES)]

    async def _names(self) -> list[str]:
        return [entry.key async for entry in self._driver.keys(NAMES)]

    async def _named(self) -> list[str]:
        """What the place says of its name after it was told ours."""
        try:
            await self._publish_empty(name_key(self.place))
        except (StorageFull, StorageUnavailable) as error:
            # It can still be read, and is told again.
            log.warning("a place does not note its name", place=self.place, error=str(error), **error.facts)
            return [name_key(self.place)]
        return await self._names()

    async def _publish_empty(self, key: str) -> None:
        staged = await self._driver.stage()
        try:
            await staged.publish(key)
        finally:
            await staged.discard()

    async def clean(self) -> int:
        """Forget what processes that are gone left half received or probed; returns how many were received."""
        with self._failing_to("delete what was left behind"):
            async for entry in self._driver.keys(PROBES):
                if entry.key != KEPT_PROBE and entry.published < datetime.now(UTC) - LONGEST_PROBE:
                    await self._driver.delete(entry.key)
            return await self._driver.clean()

    async def probe(self) -> str | None:
        """Raise what an upload would raise if the place cannot be used now; return what is wrong besides."""
        return await self._driver.probe()

    async def close(self) -> None:
        await self._driver.close()
        self._receiving.close()
        self._rereading.close()
