"""What every archive format does, and what it is told of each file."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol

Buffer = bytes | bytearray | memoryview

MAX_PATH = 4095
"""Characters. Linux takes paths of 4,096 bytes with the NUL at their end; what is longer could not be extracted."""

_NAME = r"(?!\.\.?(?:/|\Z))[A-Za-z0-9._-]+"
_PATH = re.compile(rf"{_NAME}(?:/{_NAME})*/?")

# Zip and tar could say more, Content-Length and every file system could not.
_MAX_SIZE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a directory in an archive."""

    path: str
    """Names of DRS's portable characters, joined by slashes; relative. A directory's ends in a slash."""
    size: int
    """Bytes; 0 for a directory."""
    modified: datetime
    """Aware."""

    def __post_init__(self) -> None:
        # `..` and a leading slash would let an extractor write outside of its directory.
        if not _PATH.fullmatch(self.path) or len(self.path) > MAX_PATH:
            raise ValueError(f"{self.path[:MAX_PATH]!a} is not a path in an archive")
        if not 0 <= self.size <= _MAX_SIZE or (self.is_directory and self.size):
            raise ValueError(f"{self.path} cannot have {self.size} bytes")
        if self.modified.utcoffset() is None:
            raise ValueError(f"{self.path} was modified at a time without a zone")

    @property
    def is_directory(self) -> bool:
        return self.path.endswith("/")


class Archive(Protocol):
    """An archive in the making: begin, update…, end for each entry, one after another; then finish.

    The entries' own bytes are sent by the caller, between begin and end. ValueError for a call out of its turn, for
    fewer or more bytes than an entry was to have, and for a path that was there before.
    """

    media_type: ClassVar[str]
    suffix: ClassVar[str]
    """Of a file name, with its dot."""

    def begin(self, entry: Entry) -> bytes:
        """What goes before the bytes of an entry."""

    def update(self, piece: Buffer) -> None:
        """Note a piece of the entry's bytes. It is not kept."""

    def end(self) -> bytes:
        """What goes after the bytes of an entry. May be empty."""

    def finish(self) -> Iterator[bytes]:
        """What goes after the last entry, in pieces."""

    @staticmethod
    def length(entries: Iterable[Entry]) -> int:
        """The bytes of the whole archive of these entries. ValueError for a path that comes twice."""


class Paths:
    """The paths of an archive, each once: of two files at one path an extractor would leave one."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen = set[str]()

    def add(self, path: str) -> None:
        """ValueError for a path that was there before, as a file or as a directory."""
        name = path.removesuffix("/")
        if name in self._seen:
            raise ValueError(f"{name} is in the archive already")
        self._seen.add(name)


class Turns:
    """Whose turn it is in an archive: a mistake in the order, or in the number of bytes, is a ValueError.

    A mistake stays one: an entry that got too many bytes never ends, and an archive with such an entry never finishes.
    """

    __slots__ = ("_entry", "_finished", "_missing", "_paths")

    def __init__(self) -> None:
        self._entry: Entry | None = None
        self._missing = 0
        self._finished = False
        self._paths = Paths()

    def begin(self, entry: Entry) -> None:
        self._between_entries()
        self._paths.add(entry.path)
        self._entry, self._missing = entry, entry.size

    def update(self, count: int) -> None:
        """Note that so many bytes have passed."""
        entry = self._within_an_entry()
        self._missing -= count
        if self._missing < 0:
            raise ValueError(f"{entry.path} was to have {entry.size} bytes and has more")

    def end(self) -> Entry:
        """The entry that ends."""
        entry = self._within_an_entry()
        if self._missing:
            raise ValueError(f"{entry.path} was to have {entry.size} bytes, not {entry.size - self._missing}")
        self._entry = None
        return entry

    def finish(self) -> None:
        self._between_entries()
        self._finished = True

    def _between_entries(self) -> None:
        if self._finished:
            raise ValueError("the archive is finished")
        if self._entry is not None:
            raise ValueError(f"{self._entry.path} has not ended")

    def _within_an_entry(self) -> Entry:
        if self._entry is None:
            raise ValueError("no entry has begun")
        return self._entry
