"""What a bucket of files is made of: each of these asks a file system of fsspec, and blocks."""

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from fsspec import AbstractFileSystem

from drs_service.blobs.bucket import Found, Source
from drs_service.blobs.lanes import is_missing
from drs_service.errors import BlobCorrupt, StorageUnavailable

PIECE_SIZE = 1024**2
DEPTH = 5  # directories below the root
WRITE_SIZE = 256 * 1024
TIMES = ("mtime", "modified", "last_modified", "last_write_time", "updated")
"""What file systems call it."""

NEVER = datetime.min.replace(tzinfo=UTC)
"""When a folder was written, which nobody asks."""

Info = Mapping[str, Any]
T = TypeVar("T")


def write(files: AbstractFileSystem, path: str, body: bytes) -> None:
    with in_directory(files, path, lambda: files.open(path, "wb")) as file:
        for start in range(0, len(body), WRITE_SIZE):
            file.write(body[start : start + WRITE_SIZE])
    check_size(files, path, len(body))


def move(files: AbstractFileSystem, staged: str, target: str, size: int, *, over: bool) -> None:
    """Make what is staged readable, all at once; unless over, another one may have been first."""
    with writing():
        # First of all: where a rename fails, there are libraries that copy, which others could watch.
        if not files.isdir(directory := parent(target)):
            make_directory(files, directory)
        try:
            files.mv(staged, target)
        except OSError as error:
            if is_missing(error):
                # It may be that it was done, and the answer was lost.
                if not is_there(files, target):
                    raise
            elif error.errno != errno.EEXIST:
                raise
            # Where a rename does not replace.
            elif over:
                files.rm_file(target)
                files.mv(staged, target)
            else:
                files.rm_file(staged)
        # There are libraries that do not tell that nothing was renamed.
        check_size(files, target, size)


def in_directory(files: AbstractFileSystem, path: str, act: Callable[[], T]) -> T:
    """Call act, which writes to path; where its directory is missing, that is made."""
    try:
        return act()
    except Exception as error:
        if not is_missing(error):
            raise
    with writing():
        make_directory(files, parent(path))
        return act()


@contextmanager
def writing() -> Iterator[None]:
    """To whoever writes, what is missing is not the key."""
    try:
        yield
    except Exception as error:
        if is_missing(error):
            raise StorageUnavailable(reason=str(error)) from error
        raise


def make_directory(files: AbstractFileSystem, path: str) -> None:
    # Others may be making it, or one above it, as well, which not every library bears.
    for attempts_left in reversed(range(DEPTH)):
        try:
            files.makedirs(path, exist_ok=True)
        except Exception:
            if not attempts_left and not files.isdir(path):
                raise
        else:
            return


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def check_size(files: AbstractFileSystem, path: str, size: int) -> None:
    if (found := size_of(files, path)) != size:
        raise StorageUnavailable(reason=f"{path} has {found} bytes, not {size}")


def size_of(files: AbstractFileSystem, path: str) -> int:
    return int(info_of(files, path)["size"])


def info_of(files: AbstractFileSystem, path: str) -> Info:
    info: Info = files.info(path)
    if info["type"] == "directory":
        raise FileNotFoundError(path)
    return info


def is_there(files: AbstractFileSystem, path: str) -> bool:
    try:
        size_of(files, path)
    except Exception as error:
        if is_missing(error):
            return False
        raise
    return True


def listed(files: AbstractFileSystem, path: str, folder: str) -> list[Found]:
    try:
        infos = files.ls(path, detail=True)
    except Exception as error:
        if is_missing(error):
            return []
        raise
    # Some list a file as if it were in itself.
    inside = [info for info in infos if info["name"].strip("/") != path.strip("/")]
    return sorted((entry(folder, info) for info in inside), key=lambda found: found.name)


def entry(folder: str, info: Info) -> Found:
    path = folder + info["name"].rstrip("/").rpartition("/")[2]
    if info["type"] == "directory":
        return Found(f"{path}/", NEVER)
    return Found(path, written(info), size=int(info["size"]), tag=tag_of(info))


def tag_of(info: Info) -> str:
    """As exact as the times of the file system: there is nothing better."""
    return f"{written(info).isoformat()}-{info['size']}"


def written(info: Info) -> datetime:
    for at in filter(None, map(info.get, TIMES)):
        if isinstance(at, datetime):
            return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        if isinstance(at, int | float):
            return datetime.fromtimestamp(at, UTC)
    raise StorageUnavailable(reason="the file system does not tell when a file was written")


def pieces(files: AbstractFileSystem, path: str, start: int, end: int) -> Iterator[bytes]:
    with files.open(path, "rb") as file:
        file.seek(start)
        while start < end:
            piece = file.read(min(PIECE_SIZE, end - start))
            if not piece:
                raise BlobCorrupt(path=path, ends=start)
            yield piece
            start += len(piece)


def copied(files: AbstractFileSystem, sources: Sequence[Source], target: str) -> Iterator[int]:
    """How many bytes of them are in target, each time that there are more."""
    size = 0
    with in_directory(files, target, lambda: files.open(target, "wb")) as file:
        for source in sources:
            for piece in pieces(files, source.name, 0, source.size):
                file.write(piece)
                size += len(piece)
                yield size
    check_size(files, target, size)
