"""The contract of every place that keeps bytes. The comments are the law; `tests/conformance` enforces them.

A driver keeps bytes under keys, in one place. It knows nothing of digests, limits or HTTP: what is clever is written
once, in `store.py`. Errors of the place itself (a full disk, a dead endpoint) leave a driver as the `Unavailable`
errors of `drs_service.errors`; a key that is not there is a `KeyError`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol, runtime_checkable

from drs_service.domain.thawing import Thaw
from drs_service.domain.uploads import Mark

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Entry:
    """A key that a driver keeps."""

    key: str
    published: datetime
    """When the bytes became readable, as far as the place can tell; aware."""
    archived: bool = False
    """Whether the listing says that they lie in an archive, from which they may have been brought back for a while."""


class Staged(Protocol):
    """Bytes on their way in. Nobody can read them until publish."""

    async def write(self, chunks: Sequence[Buffer]) -> None:
        """Append the chunks in order. They are the caller's again when this returns.

        One call at a time: the next write, and publish, wait for this one to return.
        """

    async def publish(self, key: str) -> None:
        """Make the bytes readable under key, all at once and durably.

        If key exists it stays as it is: same key, same bytes. May be called again, also after the key was deleted.
        Nothing is written after the first publish.
        """

    async def discard(self) -> None:
        """Forget what was staged; what was published stays. May be called twice, and after publish."""


class Waiting(Staged, Protocol):
    """Staged bytes that wait for more of them, and outlive the process that wrote them."""

    async def go_on(self, mark: Mark) -> None:
        """Write on behind mark, which a sync has given; what lies behind it is forgotten.

        Before it nothing is written, read or published. UploadLost if the bytes before it are not there.
        """

    async def append(self, other: "Waiting", size: int) -> None:
        """Write the first bytes of another one, which were synced, as fast as the place can.

        Both are of this driver. When it fails, nobody knows how many were written.
        """

    async def sync(self) -> Mark:
        """Return when what was written is still there after the machine has lost its power: where to go on then.

        The mark before it stays good until the next sync: whoever calls this writes the new one down between.
        """

    def reread(self, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        """The bytes [start, end) of what was written, as `BlobDriver.read` gives them."""

    async def leave(self) -> None:
        """Let others go on. What came since the last sync may be lost. May be called again, and after discard."""


@dataclass(frozen=True, slots=True)
class PartHere:
    """A part that its sender has brought to the place."""

    number: int
    """Counted from 1."""
    size: int
    tag: str
    """Of exactly these bytes."""


@runtime_checkable
class Direct(Protocol):
    """An optional power of a place: what waits under a handle may come by parts that go past us."""

    async def begin_parts(self, handle: str) -> str:
        """What the parts are to be brought to. Nobody can read it, and it is forgotten with the handle."""

    async def presign_part(self, handle: str, parts: str, number: int, *, size: int, valid: timedelta) -> str:
        """A URL to which whoever has it may PUT a part of so many bytes, and of no others, for so long."""

    async def parts(self, handle: str, parts: str) -> Sequence[PartHere]:
        """Those that have come. UploadLost."""

    async def complete_parts(self, handle: str, parts: str, here: Sequence[PartHere]) -> Mark:
        """Let them be, in this order, what waits under handle. No URL leads to it any more. UploadLost."""

    async def joined(self, handle: str, parts: str) -> Mark | None:
        """The mark that `complete_parts` has returned before, if it has."""

    async def forget_parts(self, handle: str, parts: str) -> None:
        """As if they had never been begun."""


@runtime_checkable
class Presigns(Protocol):
    """An optional power of a place: whoever has a URL of it reads the bytes past us."""

    async def presign_read(self, key: str, *, valid: timedelta, content_type: str, content_disposition: str) -> str:
        """A URL of the bytes under key, and of ranges of them, for so long; its answers say what is said here.

        Nobody looks whether the key is there.
        """


class Frost(Enum):
    """Whether a key can be read."""

    NONE = "none"
    ARCHIVED = "archived"
    THAWING = "thawing"


@dataclass(frozen=True, slots=True)
class Condition:
    frost: Frost
    until: datetime | None = None
    """When what was brought back goes into the archive again; None: never by itself."""


READABLE = Condition(Frost.NONE)


@runtime_checkable
class Freezes(Protocol):
    """An optional power of a place: it knows of an archive.

    What lies there has a size, can be deleted and published, and its reading raises BytesArchived.
    """

    async def condition(self, key: str) -> Condition:
        """KeyError if there is no such key."""


@runtime_checkable
class Thaws(Freezes, Protocol):
    """One more: what is in the archive can be brought back."""

    async def thaw(self, key: str, how: Thaw) -> None:
        """Have an archived key brought back, which takes long: `condition` tells. Asking again does no harm.

        KeyError if there is no such key.
        """


@runtime_checkable
class InFiles(Protocol):
    """An optional power of a place: a thread can read what it keeps by itself."""

    async def file(self, key: str) -> int:
        """The descriptor of a file that has the bytes under key, open for reading; the caller closes it. KeyError."""


class BlobDriver(Protocol):
    """Bytes under keys, in one place. A key is a relative path of `[a-z0-9-]` segments."""

    @property
    def keeps_out(self) -> bool:
        """Whether `resume` knows of other processes.

        Where it does not, several may go on with the same bytes at once, each behind its own marks, and none of them
        harms another's: whoever calls it lets only one of them keep its mark.
        """

    async def stage(self) -> Staged: ...

    async def begin(self) -> str:
        """The handle of nothing yet, that any process can go on with."""

    async def resume(self, handle: str) -> Waiting:
        """Have what waits under handle for oneself: UploadBusy while another one has it, wherever that one runs, or,
        unless the place `keeps_out`, in this process.

        It is free again when that one leaves, or dies. After publish nothing is written to it any more, but publish
        may be called again, also by the next one.
        """

    async def forget(self, handle: str) -> None:
        """Forget what waits under handle. Nothing there is not an error; one who goes on with it does so in vain."""

    def waiting(self) -> AsyncIterator[Entry]:
        """Every handle under which bytes wait, and when they were last written to."""

    def read(self, key: str, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        """The bytes [start, end) of key, in pieces the reader does not keep past the next.

        The first piece may raise KeyError: there is no such key; or BytesArchived, of a place that `Freezes`. Bytes
        that end before `end` are `BlobCorrupt`.
        A reading goes on to its end when the key is deleted meanwhile.
        """

    async def size(self, key: str) -> int:
        """Bytes under key. KeyError if there is no such key."""

    async def delete(self, key: str) -> None:
        """Forget key, durably. A missing key is not an error."""

    def keys(self, prefix: str) -> AsyncIterator[Entry]:
        """Every key that starts with prefix, sorted."""

    async def clean(self) -> int:
        """Forget what processes that are gone have left staged. Returns how many they were."""

    async def probe(self) -> str | None:
        """Prove that the place can be read and written; raise what a write would raise.

        Returns what is wrong besides: that it lets nobody delete.
        """

    async def close(self) -> None:
        """Let go of threads and connections. Nothing is called after it."""
