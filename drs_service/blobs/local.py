"""Bytes as files under one directory of this machine, or of a file system that several machines share.

    <root>/                       0700 if we make it; whoever else shall read the files makes it before
    <root>/sha256/ab/cd/abcd…     published: read-only (0440), never rewritten
    <root>/staging/<owner>/…      on their way in; an owner is one running process
    <root>/staging/<owner>.lock   held (flock) by that process for as long as it lives
    <root>/staging/waiting/…      on their way in by and by; held (flock) by whoever is writing just now

A staged file is published with link(2): it appears under its key whole or not at all, and link refuses to touch a key
that is there already, which rename would replace. The staged name stays until discard, so that the bytes can be
published again if a sweep took the key in between. Whoever gets the lock of an owner may throw away what it staged.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from drs_service.blobs.driver import Buffer, Entry, Waiting
from drs_service.blobs.files import (
    Directories,
    Owner,
    copy,
    cut,
    in_page_cache,
    link,
    sync,
    sync_directory,
    take,
    translated,
    write,
    writing,
)
from drs_service.blobs.probing import Probing
from drs_service.blobs.settling import settled
from drs_service.domain.uploads import Mark
from drs_service.errors import BlobCorrupt

STAGING = "staging"
WAITING = "waiting"
# A few readers get large pieces, which are fastest; many share a budget, since a slow one holds its piece for long.
READ_SIZE = 2 * 1024 * 1024
LEAST_READ_SIZE = 256 * 1024
READ_BUDGET = 128 * 1024 * 1024
WRITE_BACK_SIZE = 32 * 1024 * 1024
APPEND_SIZE = 8 * 1024 * 1024

P = ParamSpec("P")
T = TypeVar("T")


class LocalDriver:
    """Keeps bytes under root, an absolute path. Needs a file system with hard links and flock."""

    keeps_out = True

    def __init__(self, root: Path, *, threads: int = 16) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="blobs")
        self.directories = Directories(root)
        self._owner = Owner(root / STAGING, self.directories)
        self._waiting = root / STAGING / WAITING
        self._readers = 0
        self._probing = Probing(self)

    async def stage(self) -> "LocalStaged":
        with writing():
            path = (await self.run(self._owner.directory)) / secrets.token_hex(16)
            return LocalStaged(self, path, await self._open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    async def begin(self) -> str:
        return secrets.token_hex(16)  # no file yet is as good as an empty one

    async def resume(self, handle: str) -> "LocalWaiting":
        path = self._waiting / handle
        with writing():
            job = self.submit(take, self.directories, path)
            try:
                descriptor = await asyncio.wrap_future(job)
            except asyncio.CancelledError:
                job.add_done_callback(partial(undo_open, created=None))
                raise
        return LocalWaiting(self, path, descriptor)

    async def forget(self, handle: str) -> None:
        await self.run((self._waiting / handle).unlink, missing_ok=True)

    async def waiting(self) -> AsyncIterator[Entry]:
        for entry in await self.run(self._list, str(self._waiting.relative_to(self._root)), ""):
            if isinstance(entry, Entry):
                yield Entry(entry.key.rpartition("/")[2], entry.published)

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        descriptor = await self.file(key)
        try:
            with self.reader():
                while start < end:
                    piece = await self.piece(descriptor, start, end, name=key)
                    yield piece
                    start += len(piece)
        finally:
            os.close(descriptor)

    async def file(self, key: str) -> int:
        return await self._open(self.path(key), os.O_RDONLY)

    @contextlib.contextmanager
    def reader(self) -> Iterator[None]:
        """Whoever asks for pieces is one more of those who share the memory for them."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    async def piece(self, descriptor: int, start: int, end: int, *, name: str) -> bytes:
        """Some of the bytes [start, end) of an open file, from the first on. BlobCorrupt if there are none."""
        count = min(end - start, max(LEAST_READ_SIZE, min(READ_SIZE, READ_BUDGET // max(1, self._readers))))
        if in_page_cache(descriptor, start, count):
            piece = os.pread(descriptor, count, start)
        else:
            # A cancelled reader leaves the thread to finish; it must not find another file's descriptor.
            piece = await settled(self.submit(os.pread, descriptor, count, start))
        if not piece:
            raise BlobCorrupt(key=name, ends=start)
        return piece

    async def size(self, key: str) -> int:
        return (await self.run(os.stat, self.path(key))).st_size

    async def delete(self, key: str) -> None:
        with contextlib.suppress(KeyError):
            await self.run(self._delete, self.path(key))

    def _delete(self, path: Path) -> None:
        path.unlink()
        sync_directory(path.parent)

    async def keys(self, prefix: str) -> AsyncIterator[Entry]:
        # One directory at a time: a store may hold more names than memory does.
        pending: list[str | Entry] = [prefix.rpartition("/")[0]]
        while pending:
            match pending.pop():
                case Entry() as entry:
                    yield entry
                case folder:
                    pending += reversed(await self.run(self._list, folder, prefix))

    def _list(self, folder: str, prefix: str) -> list[str | Entry]:
        """What lies in folder and can lead to prefix, in the order of its keys: folders as str."""
        found: list[tuple[str, str | Entry]] = []
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(self._root / folder) as children,
        ):
            for child in children:
                key = f"{folder}/{child.name}" if folder else child.name
                if child.is_dir(follow_symlinks=False):
                    leads_there = f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/")
                    if leads_there and key != STAGING:
                        found.append((f"{key}/", key))
                elif key.startswith(prefix):
                    with contextlib.suppress(FileNotFoundError):
                        published = datetime.fromtimestamp(child.stat(follow_symlinks=False).st_mtime, UTC)
                        found.append((key, Entry(key, published)))
        return [item for _, item in sorted(found, key=lambda pair: pair[0])]

    async def clean(self) -> int:
        return await self.run(self._owner.clean)

    async def probe(self) -> str | None:
        return await self._probing.probe()

    async def close(self) -> None:
        await self._probing.close()
        await self.run(self._owner.leave)
        self._threads.shutdown()

    def path(self, key: str) -> Path:
        return self._root / key

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a blocking call in a thread, with the errors of the file system as ours."""
        return self._threads.submit(translated, partial(call, *args, **kwargs))

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self.submit(call, *args, **kwargs))

    async def _open(self, path: Path, flags: int) -> int:
        job = self.submit(os.open, path, flags | os.O_CLOEXEC, 0o600)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            job.add_done_callback(partial(undo_open, created=path if flags & os.O_CREAT else None))
            raise


class LocalStaged:
    """A file that nobody else knows of, until it is linked under its key."""

    _write_back_size = WRITE_BACK_SIZE

    def __init__(self, driver: LocalDriver, path: Path, descriptor: int) -> None:
        self._driver = driver
        self._path = path
        self._descriptor: int | None = descriptor
        self._unsynced = 0
        self._write_back: Future[None] | None = None
        self._last: Future[int] | Future[None] | None = None  # of write and publish; may outlive a cancelled caller

    async def write(self, chunks: Sequence[Buffer]) -> None:
        assert self._descriptor is not None, "nothing is written after the first publish"
        await self._written(write, self._descriptor, chunks)

    async def _written(self, call: Callable[P, int], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have call write, which returns how many bytes it wrote."""
        assert self._descriptor is not None
        self._last = job = self._driver.submit(call, *args, **kwargs)
        self._unsynced += await settled(job)
        # Write back early, beside the arrival: the sync at the end then has little left to wait for.
        if self._unsynced >= self._write_back_size and (self._write_back is None or self._write_back.done()):
            await self._settle_write_back()
            self._unsynced = 0
            self._write_back = self._driver.submit(sync, self._descriptor, data_only=True)

    async def publish(self, key: str) -> None:
        if self._descriptor is not None:
            await self._settle_write_back()
            self._last = job = self._driver.submit(self._seal, self._descriptor)
            await settled(job)
            os.close(self._descriptor)
            self._descriptor = None
        self._last = job = self._driver.submit(self._link, self._driver.path(key))
        with writing():
            await settled(job)

    def _seal(self, descriptor: int) -> None:
        os.fchmod(descriptor, 0o440)
        os.utime(descriptor)
        sync(descriptor)

    def _link(self, target: Path) -> None:
        self._driver.directories.make(target.parent)
        link(self._path, target)
        # Also when the key was there: whoever linked it may not have come this far.
        sync_directory(target.parent)

    async def discard(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        # A caller that is cancelled does not come back: this goes on without it.
        await asyncio.shield(asyncio.wrap_future(self._driver.submit(self._forget, descriptor)))

    def _forget(self, descriptor: int | None) -> None:
        self._let_go(descriptor)
        self._path.unlink(missing_ok=True)

    def _let_go(self, descriptor: int | None) -> None:
        # A thread that a cancelled caller has left behind must not find another file's descriptor.
        for job in (self._last, self._write_back):
            if job is not None and not job.cancel():
                job.exception()  # returns when the thread has let go
        if descriptor is not None:
            os.close(descriptor)

    async def _settle_write_back(self) -> None:
        if self._write_back is not None:
            await settled(self._write_back)
            self._write_back = None


class LocalWaiting(LocalStaged):
    """A file that its writers go on with one after another; the lock on it is of the one who has it open."""

    # Every request ends with a sync, and its client waits for what is left to be written then.
    _write_back_size = WRITE_BACK_SIZE // 4

    def __init__(self, driver: LocalDriver, path: Path, descriptor: int) -> None:
        super().__init__(driver, path, descriptor)
        self._named = False
        self._size = 0
        self._lock: int | None = None
        """The descriptor once more: publish closes the other one, and whoever publishes is not done yet."""

    async def go_on(self, mark: Mark) -> None:
        assert self._descriptor is not None, "nothing goes on after the first publish"
        await settled(self._driver.submit(cut, self._descriptor, mark.offset))
        self._size = mark.offset

    async def write(self, chunks: Sequence[Buffer]) -> None:
        await super().write(chunks)
        self._size += sum(map(len, chunks))

    async def publish(self, key: str) -> None:
        if self._lock is None and self._descriptor is not None:
            self._lock = os.dup(self._descriptor)
        await super().publish(key)

    async def append(self, other: Waiting, size: int) -> None:
        assert isinstance(other, LocalWaiting) and self._descriptor is not None and other._descriptor is not None
        for start in range(0, size, APPEND_SIZE):
            count = min(APPEND_SIZE, size - start)
            await self._written(copy, other._descriptor, self._descriptor, start, count, name=other._path.name)
            self._size += count

    async def sync(self) -> Mark:
        if self._descriptor is not None:
            await self._settle_write_back()
            self._last = job = self._driver.submit(self._sync, self._descriptor)
            await settled(job)
            self._unsynced = 0
        return Mark(self._size)

    def _sync(self, descriptor: int) -> None:
        sync(descriptor, data_only=True)
        if not self._named:
            sync_directory(self._path.parent)
            self._named = True

    async def reread(self, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        while start < end:
            assert self._descriptor is not None, "nothing is read again after the first publish"
            piece = await self._driver.piece(self._descriptor, start, end, name=self._path.name)
            yield piece
            start += len(piece)

    async def leave(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        await asyncio.shield(asyncio.wrap_future(self._driver.submit(self._let_go, descriptor)))

    def _let_go(self, descriptor: int | None) -> None:
        super()._let_go(descriptor)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def undo_open(job: Future[int], *, created: Path | None) -> None:
    """Close what was opened for a caller that has been cancelled meanwhile, and remove it if it was made for it."""
    if not job.cancelled() and job.exception() is None:
        os.close(job.result())
        if created is not None:
            created.unlink(missing_ok=True)
