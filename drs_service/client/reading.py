"""A local file as it is sent: read ahead in a thread, and hashed on the way."""

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path

from drs_service.errors import FileChanged, Rejected

READ_SIZE = 4 * 1024**2
PIECE = 256 * 1024


class Reading:
    """An open file. FileChanged as soon as it turns out not to be what it was when it was opened."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._known = os.fstat(fd)
        self._sha256 = hashlib.sha256()
        self._seen = 0

    @property
    def size(self) -> int:
        return self._known.st_size

    @property
    def version(self) -> tuple[int, int]:
        """Size and time of the last change."""
        return self._known.st_size, self._known.st_mtime_ns

    async def pieces(self, start: int, end: int, *, hashed: bool) -> AsyncGenerator[memoryview, None]:
        """The bytes from start to end; hashed if they follow on what has been."""
        ahead = asyncio.create_task(self._read(start, end, hashed=hashed)) if start < end else None
        while ahead is not None:
            block = await ahead
            start += len(block)
            ahead = asyncio.create_task(self._read(start, end, hashed=hashed)) if start < end else None
            try:
                for at in range(0, len(block), PIECE):
                    yield memoryview(block)[at : at + PIECE]
            except BaseException:
                if ahead is not None:
                    await asyncio.wait({ahead})  # a thread is not interrupted, and the file is closed soon
                    ahead.cancelled() or ahead.exception()
                raise

    async def hash_up_to(self, offset: int) -> None:
        while self._seen < offset:
            await self._read(self._seen, offset, hashed=True)

    async def sha256(self) -> str:
        """Of the whole; what has not been sent from here is read now."""
        await self.hash_up_to(self.size)
        now = os.fstat(self._fd)
        if (now.st_size, now.st_mtime_ns) != self.version:
            raise FileChanged
        return self._sha256.hexdigest()

    async def _read(self, start: int, end: int, *, hashed: bool) -> bytes:
        return await asyncio.to_thread(self._read_now, start, min(READ_SIZE, end - start), hashed)

    def _read_now(self, start: int, length: int, hashed: bool) -> bytes:
        block = os.pread(self._fd, length, start)
        if not block:
            raise FileChanged
        # What is sent again after a cut has been seen.
        if hashed and start <= self._seen < start + len(block):
            self._sha256.update(memoryview(block)[self._seen - start :])
            self._seen = start + len(block)
        return block


@contextmanager
def reading(path: Path) -> Iterator[Reading]:
    """OSError; Rejected unless it is a regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for its writer
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Rejected("It is not a regular file.")
        yield Reading(fd)
    finally:
        os.close(fd)
