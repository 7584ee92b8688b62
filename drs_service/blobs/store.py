"""The one door to the bytes: what comes in is hashed, limited and verified here, whatever place keeps it."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from drs_service.blobs.driver import BlobDriver, Buffer, Staged
from drs_service.blobs.keys import BLOBS, IDENTITIES, PROBES, digest_of, identity_key, key_for
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum, Hasher, hasher
from drs_service.domain.digest import Digest
from drs_service.domain.ranges import ByteRange
from drs_service.errors import BlobNotFound, DigestMismatch, StoreMismatch, UploadTooLarge

BLOCK_SIZE = 512 * 1024  # bytes hashed and written by one hop to a thread
INLINE_SIZE = 32 * 1024  # below this, hashing is cheaper than a hop
LONGEST_PROBE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob as the place lists it."""

    digest: Digest
    key: str
    published: datetime


class Arrival:
    """Bytes read to their end and verified, not kept yet."""

    def __init__(self, blob: Blob, checksums: tuple[Checksum, ...], driver: BlobDriver, staged: Staged) -> None:
        self.blob = blob
        self.checksums = checksums
        """Of the algorithms that were asked for besides SHA-256."""
        self.key = key_for(blob.digest)
        self._driver = driver
        self._staged = staged

    async def keep(self) -> None:
        """Publish the bytes under their digest, durably. May be called twice."""
        await self._staged.publish(self.key)

    async def keep_still(self) -> None:
        """Publish again if the bytes have gone since they were kept, or were damaged before.

        Whoever calls this holds the digest's lock.
        """
        try:
            damaged = await self._driver.size(self.key) != self.blob.size
        except KeyError:
            await self.keep()
        else:
            if damaged:
                # A key that exists is never rewritten: it has to go first. What is lost between was lost already.
                await self._driver.delete(self.key)
                await self.keep()


class BlobStore:
    """Blobs by digest, in one place."""

    def __init__(self, driver: BlobDriver, *, place: str, max_bytes: int) -> None:
        self.place = place
        self.max_bytes = max_bytes
        self._driver = driver
        self._threads = ThreadPoolExecutor(thread_name_prefix="hashing")

    @asynccontextmanager
    async def receive(
        self,
        source: AsyncIterable[Buffer],
        *,
        expect: Digest | None = None,
        length: int | None = None,
        algorithms: Collection[str] = (),
    ) -> AsyncIterator[Arrival]:
        """Read source to its end and verify it. It is forgotten at the end of the block unless kept.

        length, if the sender stated it, is held against the limit before anything is read. algorithms, of those that
        can be computed, are worked out besides SHA-256. Raises UploadTooLarge, DigestMismatch, StorageFull,
        StorageUnavailable, and whatever source raises; nothing is stored then.
        """
        if length is not None and length > self.max_bytes:
            raise UploadTooLarge(f"The upload has {length} bytes; at most {self.max_bytes} are accepted.")
        staged = await self._driver.stage()
        try:
            hashing = Hashing(algorithms)
            size = await self._absorb(source, staged, hashing)
            blob = Blob(hashing.digest(), size)
            if expect is not None and blob.digest != expect:
                raise DigestMismatch(
                    f"The bytes received have the digest {blob.digest}, not {expect} as stated. Nothing was stored."
                )
            yield Arrival(blob, hashing.checksums(), self._driver, staged)
        finally:
            await staged.discard()

    async def _absorb(self, source: AsyncIterable[Buffer], staged: Staged, hashing: "Hashing") -> int:
        """Hash and write what source yields, side by side and one block behind it. Returns how many bytes it was."""
        size = 0
        behind: asyncio.Task[None] | None = None
        block: list[Buffer] = []
        block_size = 0
        try:
            async for chunk in source:
                size += len(chunk)
                if size > self.max_bytes:
                    raise UploadTooLarge(f"The upload has more than the {self.max_bytes} bytes that are accepted.")
                block.append(chunk)
                block_size += len(chunk)
                if block_size >= BLOCK_SIZE:
                    if behind is not None:
                        await behind
                    behind = asyncio.create_task(self._take(block, hashing, staged))
                    block, block_size = [], 0
            if behind is not None:
                await behind
            if block_size > INLINE_SIZE:
                await self._take(block, hashing, staged)
            elif block_size:
                hashing.update(block)
                await staged.write(block)
        finally:
            if behind is not None:
                # Its error is not ours to raise here: either it has been, or another came first.
                await asyncio.gather(behind, return_exceptions=True)
        return size

    async def _take(self, block: list[Buffer], hashing: "Hashing", staged: Staged) -> None:
        hashed = asyncio.get_running_loop().run_in_executor(self._threads, hashing.update, block)
        try:
            await staged.write(block)
        finally:
            await hashed

    async def open(self, digest: Digest, span: ByteRange) -> AsyncGenerator[Buffer, None]:
        """The bytes of span, already begun: a blob that cannot be read raises here, not midway.

        BlobNotFound, BlobCorrupt, StorageUnavailable. The caller closes the generator.
        """
        reading = begun(self._driver.read(key_for(digest), span.start, span.end))
        try:
            await anext(reading)
        except KeyError as error:
            raise BlobNotFound(digest=str(digest)) from error
        return reading

    async def stat(self, digest: Digest) -> Blob:
        """BlobNotFound if it is not kept here."""
        try:
            return Blob(digest, await self._driver.size(key_for(digest)))
        except KeyError as error:
            raise BlobNotFound(digest=str(digest)) from error

    async def delete(self, digest: Digest) -> None:
        """Forget the bytes. Whoever calls this holds the digest's lock and knows that nothing refers to it."""
        await self._driver.delete(key_for(digest))

    async def enumerate(self) -> AsyncIterator[Stored]:
        """Every blob in the place, in the order of the digests."""
        async for entry in self._driver.keys(BLOBS):
            digest = digest_of(entry.key)
            if digest is not None:
                yield Stored(digest, entry.key, entry.published)

    async def bind(self, identity: UUID) -> None:
        """Make sure that the blobs here are those of the database with this id. A place without blobs is adopted.

        StoreMismatch: whoever sweeps by that database would delete what another one knows.
        """
        if not await self._identities() and await anext(self.enumerate(), None) is None:
            await self._publish_identity(identity)
        # Look again, also at what was just published: of two databases that adopt a place at once, none may have it.
        found = await self._identities()
        if found != [identity_key(identity)]:
            raise StoreMismatch(mismatch(identity, found), database=str(identity), storage=found)

    async def _identities(self) -> list[str]:
        return [entry.key async for entry in self._driver.keys(IDENTITIES)]

    async def _publish_identity(self, identity: UUID) -> None:
        staged = await self._driver.stage()
        try:
            await staged.publish(identity_key(identity))
        finally:
            await staged.discard()

    async def clean(self) -> int:
        """Forget what processes that are gone left half received or probed; returns how many were received."""
        async for entry in self._driver.keys(PROBES):
            if entry.published < datetime.now(UTC) - LONGEST_PROBE:
                await self._driver.delete(entry.key)
        return await self._driver.clean()

    async def probe(self) -> None:
        """Raise what an upload would raise if the place cannot be used now."""
        await self._driver.probe()

    async def close(self) -> None:
        await self._driver.close()
        self._threads.shutdown()


def mismatch(identity: UUID, found: list[str]) -> str:
    """What to tell the operator."""
    owner = f"the storage holds {' and '.join(found)}" if found else "the storage holds blobs and says of no database"
    return (
        f"The storage belongs to another database: this one has the id {identity}, {owner}. Nothing was touched. "
        "Restore the database from its backup, or set DATABASE_URL and DRS_STORAGE_URL to a pair that belongs "
        "together: a sweep would delete every blob that this database does not know."
    )


class Hashing:
    """SHA-256 of bytes as they pass by, and what else was asked for."""

    def __init__(self, algorithms: Collection[str]) -> None:
        self._sha256 = hashlib.sha256()
        self._others = {name: hasher(name) for name in sorted(algorithms) if name != "sha-256"}
        self._hashers: tuple[Hasher, ...] = (self._sha256, *self._others.values())

    def update(self, block: list[Buffer]) -> None:
        for chunk in block:
            for one in self._hashers:
                one.update(chunk)

    def digest(self) -> Digest:
        return Digest(self._sha256.digest())

    def checksums(self) -> tuple[Checksum, ...]:
        return tuple(Checksum(name, one.hexdigest()) for name, one in self._others.items())


async def begun(reading: AsyncGenerator[Buffer, None]) -> AsyncGenerator[Buffer, None]:
    """Nothing, once the first piece of reading is there; then every piece. Closing this closes reading."""
    try:
        first = await anext(reading, b"")
        yield b""  # a generator that was never begun would not run its `finally`
        if first:
            yield first
        async for piece in reading:
            yield piece
    finally:
        await reading.aclose()
