"""Bytes in a dict: one process, gone with it."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC, datetime

from drs_service.blobs.driver import Buffer, Entry
from drs_service.errors import BlobCorrupt

READ_SIZE = 256 * 1024


class MemoryDriver:
    """Keeps bytes in this process, for tests and trials."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, datetime]] = {}

    async def stage(self) -> "MemoryStaged":
        return MemoryStaged(self._kept)

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        view = memoryview(self._kept[key][0])
        if end > len(view):
            raise BlobCorrupt(key=key, ends=len(view))
        for at in range(start, end, READ_SIZE):
            yield view[at : min(at + READ_SIZE, end)]

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
