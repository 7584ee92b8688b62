"""The system calls behind `local.py`, each blocking, and what becomes of their errors."""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from drs_service.blobs.driver import Buffer
from drs_service.errors import BlobCorrupt, StorageFull, StorageUnavailable, UploadBusy, UploadLost

IOV_MAX = 1024
PROBE_STEP = 512 * 1024
COPY_SIZE = 512 * 1024
# Linux: read what the page cache holds or say at once that it does not. None elsewhere.
NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
# macOS: fsync does not reach the platter, this does. None elsewhere.
FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)

T = TypeVar("T")


def translated(call: Callable[[], T]) -> T:
    """Call, and turn errors of the file system into those of the driver contract."""
    try:
        return call()
    except FileNotFoundError as error:
        raise KeyError(error.filename) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StorageFull(reason=str(error)) from error
        raise StorageUnavailable(reason=str(error)) from error


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """A file that a write misses is no key that is missing: the place itself has gone."""
    try:
        yield
    except KeyError as error:
        raise StorageUnavailable(reason=f"{error} has been removed") from error


def write(descriptor: int, chunks: Sequence[Buffer]) -> int:
    """Append all chunks; returns their bytes."""
    total = 0
    for at in range(0, len(chunks), IOV_MAX):
        views = [memoryview(chunk) for chunk in chunks[at : at + IOV_MAX]]
        expected = sum(len(view) for view in views)
        total += expected
        written = os.writev(descriptor, views)
        while written < expected:  # a short write: nearly always the last one before the disk is full
            rest = memoryview(b"".join(views))[written:]
            written += os.write(descriptor, rest)
    return total


def copy(source: int, target: int, start: int, count: int, *, name: str) -> int:
    """Append bytes of one file to another, within the kernel if it can do that. BlobCorrupt if they are not there."""
    end = start + count
    while start < end:
        done = copied(source, target, start, end - start)
        if done is None:
            done = write(target, [os.pread(source, min(end - start, COPY_SIZE), start)])
        if done == 0:
            raise BlobCorrupt(key=name, ends=start)
        start += done
    return count


def copied(source: int, target: int, start: int, count: int) -> int | None:
    """Bytes that the kernel has copied; None if it cannot."""
    if not hasattr(os, "copy_file_range"):
        return None
    try:
        return os.copy_file_range(source, target, count, start)
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM}:
            return None
        raise


def in_page_cache(descriptor: int, start: int, count: int) -> bool:
    """Whether these bytes can very likely be had without waiting for the disk.

    One byte of every PROBE_STEP is asked for, and the last: the kernel reads ahead, and forgets, by such lengths.
    """
    if NOWAIT is None:
        return False
    byte = [bytearray(1)]
    try:
        return all(
            os.preadv(descriptor, byte, offset, NOWAIT) == 1
            for offset in (*range(start, start + count, PROBE_STEP), start + count - 1)
        )
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return False
        raise StorageUnavailable(reason=str(error)) from error


def sync(descriptor: int, *, data_only: bool = False) -> None:
    """Return when the file has reached the disk."""
    if FULL_SYNC is not None:
        full_sync(descriptor, FULL_SYNC)
    elif data_only:
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def full_sync(descriptor: int, command: int) -> None:
    """Return when the file has reached the platter or, if the mount does not know the command, as fsync does."""
    try:
        fcntl.fcntl(descriptor, command)
    except OSError as error:
        # What network mounts of macOS say.
        if error.errno not in {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}:
            raise
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Return when the names in a directory have reached the disk. By fsync everywhere: a full sync is for files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Directories:
    """Makes directories at and below root, and remembers which of them this process knows to be on the disk.

    That one is there says nothing: another process may have made it an instant ago, and not have synced it yet.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable: set[str] = set()

    def make(self, path: Path) -> None:
        """Make path and its parents, durably. Fine if they are there. May be called from any thread."""
        # One that was removed since is made again: knowing of it is not enough.
        if path == path.parent or (str(path) in self._durable and path.is_dir()):
            return
        self.make(path.parent)
        path.mkdir(mode=0o700 if path == self._root else 0o777, exist_ok=True)
        try:
            sync_directory(path.parent)
        except PermissionError:
            # A directory above the root may be one that we can pass through and not open.
            if self._root in path.parents:
                raise
        self._durable.add(str(path))


def link(source: Path, target: Path) -> None:
    """Give source the further name target; a target that is there stays as it is."""
    with contextlib.suppress(FileExistsError):
        os.link(source, target, follow_symlinks=False)


class Owner:
    """This process's part of a staging directory, and the lock that says the process lives.

    The lock is a file beside the directory: taken first, let go last, and by the kernel when the process dies.
    """

    def __init__(self, staging: Path, directories: Directories) -> None:
        self._staging = staging
        self._directories = directories
        self._lock: int | None = None
        self._name = ""
        self._entering = threading.Lock()

    def directory(self) -> Path:
        """The directory to stage in, made on the first call. May be called from any thread."""
        with self._entering:
            if self._lock is None:
                self._directories.make(self._staging)
                self._lock, self._name = self._enter()
        return self._staging / self._name

    def _enter(self) -> tuple[int, str]:
        while True:
            name = secrets.token_hex(8)
            lock = self._staging / f"{name}.lock"
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with contextlib.ExitStack() as undo:
                undo.callback(os.close, descriptor)
                undo.callback(lock.unlink, missing_ok=True)
                # A cleaner may hold, and then remove, a lock file that it met before we locked it: begin again.
                if try_lock(descriptor) and lock.exists():
                    (self._staging / name).mkdir()
                    undo.pop_all()
                    return descriptor, name

    def clean(self) -> int:
        """Remove what owners that are gone have staged; returns how many files that was."""
        removed = 0
        for lock in self._staging.glob("*.lock"):
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
                try:
                    if try_lock(descriptor):
                        removed += self._remove(lock.with_suffix(""))
                        lock.unlink()
                finally:
                    os.close(descriptor)
        return removed

    def _remove(self, directory: Path) -> int:
        with contextlib.suppress(FileNotFoundError):
            count = sum(1 for _ in directory.iterdir())
            shutil.rmtree(directory)
            return count
        return 0

    def leave(self) -> None:
        if self._lock is not None:
            self._remove(self._staging / self._name)
            (self._staging / f"{self._name}.lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def take(directories: Directories, path: Path) -> int:
    """A descriptor of a file that nobody else writes to, made if it is not there. UploadBusy."""
    directories.make(path.parent)
    descriptor = open_unfinished(path)
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, descriptor)
        if not try_lock(descriptor):
            raise UploadBusy
        undo.pop_all()
    return descriptor


def cut(descriptor: int, offset: int) -> None:
    """Leave the first bytes of a file, and stand behind them. UploadLost if they are fewer."""
    size = os.fstat(descriptor).st_size
    if size < offset:
        raise UploadLost(ends=size)
    if size > offset:
        os.ftruncate(descriptor, offset)  # fails, as it should, for what was published
    os.lseek(descriptor, offset, os.SEEK_SET)


def open_unfinished(path: Path) -> int:
    """For reading and writing; for reading alone what has been published, for its bytes are those of a key by now."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        return open_published(path)
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        return open_published(path)
    return descriptor


def open_published(path: Path) -> int:
    """UploadBusy if whoever has published it is just letting go of it."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise UploadBusy from error


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
