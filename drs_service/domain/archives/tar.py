"""Tar, as POSIX.1-2001 has it: ustar, with pax records for what ustar cannot say."""

import tarfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from drs_service.domain.archives.archive import Buffer, Entry, Paths, Turns

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

# POSIX.1-2001 pax, ustar Interchange Format: a name of 100 bytes; sizes and times of eleven octal digits.
_MAX_NAME = 100
_MAX_NUMBER = 8**11 - 1


class TarArchive:
    """An uncompressed tar file. Every owner is 0, without a name; files are rw-r--r--, directories rwxr-xr-x."""

    media_type: ClassVar[str] = "application/x-tar"
    suffix: ClassVar[str] = ".tar"

    __slots__ = ("_length", "_turns")

    def __init__(self) -> None:
        self._turns = Turns()
        self._length = 0

    def begin(self, entry: Entry) -> bytes:
        self._turns.begin(entry)
        header = _header(entry)
        self._length += len(header)
        return header

    def update(self, piece: Buffer) -> None:
        self._turns.update(memoryview(piece).nbytes)

    def end(self) -> bytes:
        entry = self._turns.end()
        padding = -entry.size % tarfile.BLOCKSIZE
        self._length += entry.size + padding
        return bytes(padding)

    def finish(self) -> Iterator[bytes]:
        self._turns.finish()
        return iter((bytes(_after(self._length)),))

    @staticmethod
    def length(entries: Iterable[Entry]) -> int:
        paths = Paths()
        total = 0
        for entry in entries:
            paths.add(entry.path)
            total += _header_length(entry) + entry.size + -entry.size % tarfile.BLOCKSIZE
        return total + _after(total)


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.path)
    info.size = entry.size
    info.mtime = _mtime(entry)
    if entry.is_directory:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info.tobuf(tarfile.PAX_FORMAT)


def _header_length(entry: Entry) -> int:
    # A header takes 20 µs to write, and most are one block: whole seconds keep fractions out of the pax records.
    if len(entry.path) <= _MAX_NAME and entry.size <= _MAX_NUMBER and 0 <= _mtime(entry) <= _MAX_NUMBER:
        return tarfile.BLOCKSIZE
    return len(_header(entry))


def _mtime(entry: Entry) -> int:
    return (entry.modified - _EPOCH) // _SECOND


def _after(length: int) -> int:
    """The zeros that end an archive of so many bytes."""
    # POSIX.1-2001 pax: "two 512-octet logical records filled with binary zeros". Like GNU tar and Python we then fill
    # the last record of 20 blocks, the unit in which archives are read from tapes and pipes.
    zeros = 2 * tarfile.BLOCKSIZE
    return zeros + -(length + zeros) % tarfile.RECORDSIZE
