"""Bytes in a dict: one process, gone with it."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from drs_service.blobs.driver import Buffer, Entry, Waiting
from drs_service.domain.uploads import Mark
from drs_service.errors import BlobCorrupt, UploadBusy, UploadLost

READ_SIZE = 256 * 1024


class MemoryDriver:
    """Keeps bytes in this process, for tests and trials."""

    keeps_out = True

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, datetime]] = {}
        self._waiting: dict[str, MemoryWaiting] = {}

    async def stage(self) -> "MemoryStaged":
        return MemoryStaged(self._kept)

    async def begin(self) -> str:
        return secrets.token_hex(16)

    async def resume(self, handle: str) -> "MemoryWaiting":
        waiting = self._waiting.setdefault(handle, MemoryWaiting(self._kept, partial(self._waiting.pop, handle, None)))
        waiting.enter()
        return waiting

    async def forget(self, handle: str) -> None:
        self._waiting.pop(handle, None)

    async def waiting(self) -> AsyncIterator[Entry]:
        for handle, waiting in list(self._waiting.items()):
            yield Entry(handle, waiting.written)

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        for piece in pieces(self._kept[key][0], start, end):
            yield piece

    async def size(self, key: str) -> int:
        return len(self._kept[key][0])

    async def delete(self, key: str) -> None:
        self._kept.pop(key, None)

    async def keys(self, prefix: str) -> AsyncIterator[Entry]:
        for key in sorted(key for key in self._kept if key.startswith(prefix)):
            if key in self._kept:
                yield Entry(key, self._kept[key][1])

    async def clean(self) -> int:
        return 0

    async def probe(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        self._kept.clear()


class MemoryStaged:
    def __init__(self, kept: dict[str, tuple[bytes, datetime]]) -> None:
        self._kept = kept
        self._bytes = bytearray()

    async def write(self, chunks: Sequence[Buffer]) -> None:
        for chunk in chunks:
            self._bytes += chunk

    async def publish(self, key: str) -> None:
        self._kept.setdefault(key, (bytes(self._bytes), datetime.now(UTC)))

    async def discard(self) -> None:
        self._bytes = bytearray()


class MemoryWaiting(MemoryStaged):
    """Outlives whoever writes to it, though not the process."""

    def __init__(self, kept: dict[str, tuple[bytes, datetime]], forget: Callable[[], object]) -> None:
        super().__init__(kept)
        self._forget = forget
        self._taken = False
        self.written = datetime.now(UTC)

    def enter(self) -> None:
        if self._taken:
            raise UploadBusy
        self._taken = True

    async def go_on(self, mark: Mark) -> None:
        if len(self._bytes) < mark.offset:
            raise UploadLost(ends=len(self._bytes))
        del self._bytes[mark.offset :]

    async def write(self, chunks: Sequence[Buffer]) -> None:
        await super().write(chunks)
        self.written = datetime.now(UTC)

    async def append(self, other: Waiting, size: int) -> None:
        async for piece in other.reread(0, size):
            await self.write([piece])

    async def sync(self) -> Mark:
        return Mark(len(self._bytes))

    async def reread(self, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        for piece in pieces(bytes(self._bytes), start, end):
            yield piece

    async def discard(self) -> None:
        await super().discard()
        self._forget()
        await self.leave()

    async def leave(self) -> None:
        self._taken = False


def pieces(content: bytes, start: int, end: int) -> Iterator[Buffer]:
    view = memoryview(content)
    if end > len(view):
        raise BlobCorrupt(ends=len(view))
    for at in range(start, end, READ_SIZE):
        yield view[at : min(at + READ_SIZE, end)]
