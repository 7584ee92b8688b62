"""Bytes that wait in this process until there are enough of them to send."""

import asyncio
import tempfile
from contextlib import suppress
from typing import IO

from drs_service.blobs.driver import Buffer
from drs_service.errors import StorageUnavailable


class Room:
    """Memory that the spools of a process share."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """Whether there was room for it."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        self._left += size


class Spool:
    """In memory while there is room; what comes when there is none goes to a temporary file, which has no name.

    A thousand senders that have paused in the middle of a part would take gigabytes of memory otherwise.
    """

    def __init__(self, room: Room) -> None:
        self.size = 0
        """Bytes in it."""
        self._room = room
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    async def write(self, chunk: Buffer) -> None:
        """StorageUnavailable if there is no room in the directory of temporary files either."""
        if self._file is None and self._room.take(len(chunk)):
            self._memory += chunk
        else:
            await self._write_out(chunk)
        self.size += len(chunk)

    async def _write_out(self, chunk: Buffer) -> None:
        try:
            if self._file is None:
                self._file = await asyncio.to_thread(tempfile.TemporaryFile)
            await asyncio.to_thread(write_all, self._file, chunk)
        except OSError as error:
            raise StorageUnavailable(reason=f"what arrives cannot wait in {tempfile.gettempdir()}: {error}") from error

    async def content(self) -> bytes:
        """All of it."""
        if self._file is None:
            return bytes(self._memory)
        return b"".join((self._memory, await asyncio.to_thread(read_all, self._file)))

    def clear(self) -> None:
        """Empty it, for good or to begin again."""
        self._room.give_back(len(self._memory))
        self._memory = bytearray()
        self.size = 0
        if self._file is not None:
            with suppress(OSError):  # what could not be written has been told of
                self._file.close()
            self._file = None


def write_all(file: IO[bytes], chunk: Buffer) -> None:
    file.write(chunk)
    file.flush()


def read_all(file: IO[bytes]) -> bytes:
    """And leave it as it was: what is written next is behind it."""
    file.seek(0)
    return file.read()
