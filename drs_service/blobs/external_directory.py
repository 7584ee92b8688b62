"""Files of others below a directory of this machine, or of a file system that several machines share.

No symbolic link is followed, not even one on the way to a file: what it leads to inside is found under its own name,
and what is outside nobody has offered.
"""

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from drs_service.blobs.driver import Buffer
from drs_service.blobs.external import ExternalFile, PassedOver
from drs_service.blobs.local import LocalDriver, undo_open
from drs_service.blobs.settling import settled
from drs_service.domain.paths import spelled, unspelled
from drs_service.errors import BlobCorrupt, FileChanged, FileUnreadable, StorageUnavailable

AT_ONCE = 256  # entries looked at by one hop to a thread
# Linux: to pass through a directory takes no right to list it.
LINKS = {errno.ELOOP, getattr(errno, "EMLINK", errno.ELOOP)}  # what O_NOFOLLOW says to one
PASSING = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC

T = TypeVar("T")


class ExternalDirectory:
    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)
        self._driver = LocalDriver(root)  # for its threads, and its way to read an open file

    async def files(self, below: str) -> AsyncIterator[ExternalFile | PassedOver]:
        walk = walked(self._root, unspelled(below))
        try:
            while found := await settled(self._driver.submit(reached, lambda: list(islice(walk, AT_ONCE)))):
                for one in found:
                    yield one
        finally:
            walk.close()

    async def look(self, path: str) -> ExternalFile:
        return await self._driver.run(reached, partial(self._look, path))

    def _look(self, path: str) -> ExternalFile:
        descriptor, found = opened(self._root, unspelled(path))
        os.close(descriptor)
        return seen(path, found)

    async def read(self, file: ExternalFile, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        descriptor = await self._open(file)
        try:
            with self._driver.reader():
                while start < end:
                    piece = await self._piece(descriptor, file, start, end)
                    yield piece
                    start += len(piece)
        finally:
            os.close(descriptor)

    async def _open(self, file: ExternalFile) -> int:
        job = self._driver.submit(reached, partial(self._open_same, file))
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            job.add_done_callback(partial(undo_open, created=None))
            raise

    def _open_same(self, file: ExternalFile) -> int:
        descriptor, found = opened(self._root, unspelled(file.path))
        if seen(file.path, found) != file:
            os.close(descriptor)
            raise FileChanged
        return descriptor

    async def _piece(self, descriptor: int, file: ExternalFile, start: int, end: int) -> bytes:
        try:
            piece = await self._driver.piece(descriptor, start, end, name=file.path)
        except BlobCorrupt as error:
            raise FileChanged from error
        # Looked at after the piece was read: whoever wrote to the file before that has left a later time.
        if seen(file.path, os.fstat(descriptor)) != file:
            raise FileChanged
        return piece

    async def probe(self) -> None:
        """An empty directory is taken for one that nothing is mounted on."""
        if not await self._driver.run(reached, self._has_anything):
            raise StorageUnavailable("The directory is empty: nothing may be mounted there.")

    def _has_anything(self) -> bool:
        try:
            with os.scandir(self._root) as entries:
                return next(entries, None) is not None
        except FileNotFoundError:
            return False

    async def close(self) -> None:
        await self._driver.close()


def opened(root: bytes, path: bytes) -> tuple[int, os.stat_result]:
    """An open file, for reading. FileNotFoundError if there is none, or a link is on the way."""
    *folders, name = path.split(b"/")
    if {b"", b".", b".."} & {*folders, name}:
        raise FileNotFoundError(path)
    directory = os.open(root, PASSING)
    try:
        for folder in folders:
            inner = os.open(folder, PASSING | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        # O_NONBLOCK: what has become a pipe would keep us waiting for its writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=directory)
    finally:
        os.close(directory)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return descriptor, found


def reached(call: Callable[[], T]) -> T:
    """Call, and turn what is wrong with one file alone into errors of ours; the driver sees to the others."""
    try:
        return call()
    except PermissionError as error:
        raise FileUnreadable("The file cannot be read: permission denied.") from error
    except OSError as error:
        if error.errno in {errno.ENOTDIR, *LINKS}:
            raise FileNotFoundError(error.filename) from error
        raise


def seen(path: str, found: os.stat_result) -> ExternalFile:
    return ExternalFile(path, found.st_size, f"{found.st_size}-{found.st_mtime_ns}")


Scanning = Generator["os.DirEntry[bytes] | OSError", None, None]


def walked(root: bytes, below: bytes) -> Generator[ExternalFile | PassedOver, None, None]:
    """Whatever is below, one directory after the other; of each only what is being looked at is in memory."""
    top = root + b"/" + below if below else root
    whole = Path(os.fsdecode(top))
    found = whole.lstat() if below else whole.stat()
    if not stat.S_ISDIR(found.st_mode):
        yield told(spelled(below), found)
        return
    scanning = [scanned(top)]
    try:
        while scanning:
            match next(scanning[-1], None):
                case None:
                    scanning.pop()
                case OSError() as error:
                    path = os.fsencode(error.filename or top)[len(root) + 1 :]
                    yield PassedOver(spelled(path), error.strerror or str(error))
                case entry if entry.is_dir(follow_symlinks=False):
                    scanning.append(scanned(entry.path))
                case entry:
                    with contextlib.suppress(FileNotFoundError):
                        yield told(spelled(entry.path[len(root) + 1 :]), entry.stat(follow_symlinks=False))
    finally:
        for one in scanning:
            one.close()


def scanned(directory: bytes) -> Scanning:
    """What lies in a directory, and what went wrong."""
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except FileNotFoundError:
        pass  # it has gone since it was seen
    except OSError as error:
        yield error


def told(path: str, found: os.stat_result) -> ExternalFile | PassedOver:
    if stat.S_ISREG(found.st_mode):
        return seen(path, found)
    is_link = stat.S_ISLNK(found.st_mode)
    return PassedOver(path, "a symbolic link" if is_link else "neither a file nor a directory", wrong=False)
