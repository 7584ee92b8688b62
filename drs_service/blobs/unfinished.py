"""An upload of which some has come: it goes on behind the bytes that are safe, and what it has hashed is carried on."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing

from drs_service.blobs.driver import BlobDriver, Buffer, Waiting
from drs_service.blobs.hashing import Hashing
from drs_service.blobs.receiving import Arrival, Receiving
from drs_service.domain.checksums import Checksum, hasher
from drs_service.domain.uploads import Mark
from drs_service.errors import ChunkMismatch, DrsServiceError

# How much may have to be sent again after a crash in the middle of a long request.
SAFE_EVERY = 64 * 1024**2  # bytes
SAFE_WITHIN = 5.0  # seconds

Told = Callable[[Mark], Awaitable[None]]


class Unfinished:
    """One upload, held alone. Its bytes are safe up to its mark: a crash takes none of them."""

    def __init__(self, driver: BlobDriver, waiting: Waiting, receiving: Receiving) -> None:
        self.mark = Mark()
        self.hashing: Hashing | None = None
        """Has seen the bytes up to the mark; None if nobody has who could tell."""
        self._driver = driver
        self._waiting = waiting
        self._receiving = receiving
        self._safe_at = time.monotonic()

    async def go_on(self, mark: Mark, hashing: Hashing | None) -> None:
        """Begin where the bytes are known to be safe, with what was carried on from there. UploadLost."""
        await self._waiting.go_on(mark)
        self.mark, self.hashing = mark, hashing

    async def receive(
        self, source: AsyncIterable[Buffer], *, most: int, tell: Told, expect: Checksum | None = None
    ) -> None:
        """Take what source yields, and tell each mark up to which the bytes are safe: now and then, and at the end.

        When source fails, what came before it did stays, and its error is raised at the end. With a checksum expected,
        all stays or nothing: ChunkMismatch. UploadTooLarge beyond most bytes, StorageFull, StorageUnavailable: then
        what came since the last mark told is lost.
        """
        before, seen = self.mark.offset, Seen(self.hashing, expect)
        # What is carried on is worth nothing while something is under way that may fail.
        carried, self.hashing = self.hashing, None

        async def on_block() -> None:
            if expect is None and self._is_due(before + seen.size):
                await self._make_safe(tell)

        failure: DrsServiceError | None = None

        async def to_its_end() -> AsyncGenerator[Buffer, None]:
            nonlocal failure
            try:
                async for chunk in source:
                    yield chunk
                    del chunk
            except DrsServiceError as error:
                failure = error

        async with aclosing(to_its_end()) as chunks:
            await self._receiving.absorb(chunks, self._waiting, seen, most=most, on_block=on_block)
        if expect is not None:
            if failure is not None:
                raise failure
            if seen.checksum() != expect:
                self.hashing = carried  # what lies behind the mark is cut off before anybody goes on
                raise ChunkMismatch
        await self._make_safe(tell)
        self.hashing = seen.hashing
        if failure is not None:
            raise failure

    async def append(self, other: "Unfinished") -> None:
        """Take all of another one, beside hashing it. Nobody knows how far this came when it fails: begin again."""
        hashing, self.hashing = self.hashing, None

        async def hash_all() -> None:
            if hashing is not None:
                async with aclosing(other.reread()) as pieces:
                    await self._receiving.hash(pieces, hashing)

        hashed = asyncio.create_task(hash_all())
        try:
            await self._waiting.append(other._waiting, other.mark.offset)
            await hashed
        finally:
            hashed.cancel()
            await asyncio.wait([hashed])
        self.mark = await self._waiting.sync()
        self.hashing = hashing

    def _is_due(self, written: int) -> bool:
        return written - self.mark.offset >= SAFE_EVERY or time.monotonic() - self._safe_at >= SAFE_WITHIN

    async def _make_safe(self, tell: Told) -> None:
        mark = await self._waiting.sync()
        await tell(mark)
        self.mark = mark
        self._safe_at = time.monotonic()

    def reread(self) -> AsyncGenerator[Buffer, None]:
        """The bytes up to the mark."""
        return self._waiting.reread(0, self.mark.offset)

    def knows(self, algorithms: frozenset[str]) -> bool:
        """Whether its digest and these checksums can be told without reading it again."""
        return self.hashing is not None and algorithms <= self.hashing.algorithms

    async def discard(self) -> None:
        """Forget what has come; what was kept of it stays."""
        await self._waiting.discard()

    async def finish(
        self, algorithms: frozenset[str] = frozenset(), *, tell: Callable[[int], None] | None = None
    ) -> Arrival:
        """The bytes as they have arrived, read again if nobody knows their digest, or these checksums of them.

        tell hears how many bytes have been read so far.
        """
        if self.hashing is None or not self.knows(algorithms):
            hashing = Hashing(algorithms)
            async with aclosing(self._retold(tell)) as pieces:
                await self._receiving.hash(pieces, hashing)
            self.hashing = hashing
        return Arrival(self.hashing.blob(), self.hashing.checksums(), self._driver, self._waiting)

    async def _retold(self, tell: Callable[[int], None] | None) -> AsyncGenerator[Buffer, None]:
        read = 0
        async with aclosing(self.reread()) as pieces:
            async for piece in pieces:
                yield piece
                read += len(piece)
                if tell is not None:
                    tell(read)


class Seen:
    """What has passed by in one request: hashed for all of the upload if its beginning is known, and for itself."""

    def __init__(self, hashing: Hashing | None, expect: Checksum | None) -> None:
        self.hashing = hashing.copy() if hashing is not None else None
        self.size = 0
        self._expect = expect
        self._own = hasher(expect.algorithm) if expect is not None else None

    def update(self, block: list[Buffer]) -> None:
        if self.hashing is not None:
            self.hashing.update(block)
        for chunk in block:
            if self._own is not None:
                self._own.update(chunk)
            self.size += len(chunk)

    def checksum(self) -> Checksum | None:
        if self._expect is None or self._own is None:
            return None
        return Checksum(self._expect.algorithm, self._own.hexdigest())
