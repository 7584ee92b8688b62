"""What an object store can do, whoever runs it: whole objects under names. `cloud.py` makes a driver of it.

Errors leave a bucket as those of the driver contract do: `Unavailable`, and KeyError for a name that is not there.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from drs_service.blobs.driver import READABLE, Buffer, Condition, PartHere
from drs_service.domain.thawing import Thaw


@dataclass(frozen=True, slots=True)
class Source:
    """An object to copy from, and its bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a bucket lists: an object and when it was written, or one that is begun by parts and when a part came.

    Of what is begun some tell only when that was.
    """

    name: str
    at: datetime
    multipart: str | None = None
    """The id of what was begun."""
    archived: bool = False
    """As `Entry.archived`."""
    size: int = 0
    """Bytes of an object."""
    tag: str = ""
    """Of exactly these bytes: what is written in their place has another one."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as it stands."""

    size: int
    tag: str
    condition: Condition = READABLE


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the answer to a presigned request says of the bytes."""

    content_type: str | None = None
    content_disposition: str | None = None


class Bucket(Protocol):
    """Objects under names; each appears whole or not at all."""

    @property
    def least_part(self) -> int:
        """Bytes that a part, and a source that is not the last one, must have."""

    async def put(self, name: str, body: bytes, *, absent_only: bool = False) -> None:
        """Make an object. absent_only: one that is there stays as it is."""

    async def begin(self, name: str) -> str:
        """Begin an object that comes by parts; returns its id."""

    async def put_part(self, name: str, multipart: str, number: int, body: bytes) -> str:
        """Send a part, counted from 1; returns its tag."""

    async def complete(self, name: str, multipart: str, tags: Sequence[str]) -> None:
        """Make the object of the parts with these tags, in their order."""

    async def abort(self, name: str, multipart: str) -> None:
        """Forget the parts. Nothing there is not an error."""

    async def concatenate(self, name: str, sources: Sequence[Source]) -> None:
        """Make an object of others without their bytes passing here. KeyError if one of them is not there."""

    def read(self, name: str, start: int, end: int, *, tag: str | None = None) -> AsyncGenerator[Buffer, None]:
        """As `BlobDriver.read`. BlobCorrupt before the first byte if tag is not that of the object."""

    async def look(self, name: str) -> Seen:
        """KeyError."""

    async def size(self, name: str) -> int:
        """KeyError."""

    async def delete(self, name: str) -> None:
        """A missing object is not an error."""

    def objects(self, prefix: str) -> AsyncIterator[Found]:
        """Every object whose name starts with prefix, sorted."""

    def unfinished(self, prefix: str) -> AsyncIterator[Found]:
        """Every object of which parts have come, and that was neither completed nor aborted."""

    async def presign_read(self, name: str, *, expires_in: timedelta, overrides: Overrides) -> str:
        """A URL under which whoever has it can read the object, or ranges of it.

        StorageUnavailable if whoever asks here has nothing to sign it with.
        """

    async def close(self) -> None:
        """Let go of connections."""


class ThawingBucket(Bucket, Protocol):
    """One that may put objects into an archive."""

    async def condition(self, name: str) -> Condition:
        """As `Thaws.condition`."""

    async def thaw(self, name: str, how: Thaw) -> None:
        """As `Thaws.thaw`."""


class DirectBucket(ThawingBucket, Protocol):
    """One whose parts can be brought to it by whoever has a URL, and by nobody once the object is complete."""

    async def parts(self, name: str, multipart: str) -> Sequence[PartHere]:
        """Those that have come, in order. KeyError if nothing was begun, or it has been completed or aborted."""

    async def complete_brought(self, name: str, multipart: str, tags: Sequence[str]) -> None:
        """As `complete`. KeyError if nothing was begun, or it has been aborted."""

    async def presign_part(self, name: str, multipart: str, number: int, *, size: int, expires_in: timedelta) -> str:
        """A URL to which whoever has it can PUT this part of so many bytes; the answer's ETag is its tag."""
