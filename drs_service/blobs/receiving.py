"""Bytes on their way in: hashed and written side by side, one block behind the socket."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from drs_service.blobs.driver import BlobDriver, Buffer, Staged
from drs_service.blobs.keys import key_for
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.errors import UploadTooLarge

BLOCK_SIZE = 512 * 1024  # bytes hashed and written by one hop to a thread
SHORT_BLOCK_SIZE = 64 * 1024  # the same, while blocks of so many uploads fill up that they take MOST_WAITING of memory
MOST_WAITING = 48 * 1024**2  # bytes
INLINE_SIZE = 32 * 1024  # below this, hashing is cheaper than a hop


class Hasher(Protocol):
    """Sees every block."""

    def update(self, block: list[Buffer]) -> None: ...


class Block:
    """Chunks that are hashed and written together."""

    def __init__(self) -> None:
        self.chunks: list[Buffer] = []
        self.size = 0

    def add(self, chunk: Buffer) -> None:
        self.chunks.append(chunk)
        self.size += len(chunk)


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
                await self.keep_anew()

    async def keep_anew(self) -> None:
        """Publish in place of bytes that are known to be others. Whoever calls this holds the digest's lock."""
        # A key that exists is never rewritten: it has to go first. What is lost between was lost already.
        await self._driver.delete(self.key)
        await self.keep()


class Receiving:
    """The threads that hash."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(thread_name_prefix="hashing")
        self._waiting = 0
        """Bytes in blocks, of all who send."""

    async def absorb(
        self,
        source: AsyncIterable[Buffer],
        staged: Staged,
        hashing: Hasher,
        *,
        most: int,
        on_block: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Hash and write what source yields. UploadTooLarge beyond most bytes, and what source and staged raise.

        on_block follows on every block, beside the arrival of the next.
        """
        size = 0
        behind: asyncio.Task[None] | None = None
        block = Block()
        try:
            async for chunk in source:
                size += len(chunk)
                if size > most:
                    raise UploadTooLarge(f"The upload has more than the {most} bytes that are accepted.")
                block.add(chunk)
                self._waiting += len(chunk)
                del chunk  # the block alone holds it while nothing more comes
                if block.size >= (BLOCK_SIZE if self._waiting < MOST_WAITING else SHORT_BLOCK_SIZE):
                    if behind is not None:
                        await behind
                    behind = asyncio.create_task(self._take(block, hashing, staged, on_block))
                    block = Block()
            if behind is not None:
                await behind
            last, block = block, Block()
            await self._take(last, hashing, staged, None)
        finally:
            self._waiting -= block.size
            if behind is not None:
                # Its error is not ours to raise here: either it has been, or another came first.
                await asyncio.gather(behind, return_exceptions=True)

    async def _take(
        self, block: Block, hashing: Hasher, staged: Staged, on_block: Callable[[], Awaitable[None]] | None
    ) -> None:
        try:
            if block.size > INLINE_SIZE:
                hashed = asyncio.get_running_loop().run_in_executor(self._threads, hashing.update, block.chunks)
                try:
                    await staged.write(block.chunks)
                finally:
                    await hashed
            elif block.size:
                hashing.update(block.chunks)
                await staged.write(block.chunks)
        finally:
            self._waiting -= block.size
        if on_block is not None:
            await on_block()

    async def hash(self, pieces: AsyncIterable[Buffer], hashing: Hasher) -> None:
        """Let hashing see what was written before, one piece behind the one that is being read."""
        loop = asyncio.get_running_loop()
        behind: asyncio.Future[None] | None = None
        try:
            async for piece in pieces:
                if behind is not None:
                    await behind
                behind = loop.run_in_executor(self._threads, hashing.update, [piece])
        finally:
            if behind is not None:
                await behind

    def close(self) -> None:
        self._threads.shutdown()
