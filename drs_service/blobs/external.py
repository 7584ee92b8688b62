"""Files that others have put somewhere, under names of their own. They are only read: nothing here can write.

Whoever has seen the bytes of a file holds it to its stamp from then on. A file with another stamp is another file.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable

from drs_service.blobs.driver import READABLE, Buffer, Condition

# Bringing it back costs its owner, and writes.
PUT_AWAY = "The file lies in an archive: whoever owns it must bring it back."


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """A file as it stands."""

    path: str
    """As `domain.paths` spells it."""
    size: int
    stamp: str
    """What changes with the bytes, as far as the place can tell."""
    condition: Condition = field(default=READABLE, compare=False)
    """When somebody looked; the bytes are the same in an archive."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What is no file, or could not be looked at."""

    path: str
    reason: str
    wrong: bool = True
    """Whether files may be missed by it."""


class ExternalFiles(Protocol):
    """The files of one place. StorageUnavailable if it does not answer."""

    def files(self, below: str) -> AsyncIterator[ExternalFile | PassedOver]:
        """All that are below a path, or are it; in any order. Never more than a few of them are in memory.

        KeyError if there is nothing; an object store may as well yield nothing.
        """

    async def look(self, path: str) -> ExternalFile:
        """KeyError, FileUnreadable."""

    def read(self, file: ExternalFile, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        """The bytes [start, end), in pieces the reader does not keep past the next.

        KeyError, FileUnreadable, BytesArchived, and FileChanged rather than a piece of which it is not sure that it is
        of this file.
        """

    async def probe(self) -> None:
        """StorageUnavailable unless there is anything to be read."""

    async def close(self) -> None:
        """Let go of threads and connections."""


@runtime_checkable
class SignsExternal(Protocol):
    """An optional power: whoever has a URL reads a file past us."""

    async def presign(self, path: str, *, valid: timedelta, content_type: str, content_disposition: str) -> str:
        """Nobody looks whether it is there."""
