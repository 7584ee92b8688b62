"""An upload: bytes on their way.

announced   ->  the bytes come  ->  registered: the upload is gone, an object is there
object      ->  the bytes come, by and by  ->  an object is there, and the upload tells which, until it expires
                 or if that takes long:    ->  finishing: a worker makes it, under an id that is known by now
                 or if it cannot be:       ->  failed: the bytes are not what was stated of them
part        ->  the bytes come, by and by  ->  joined with others: what was joined stays until it expires
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from drs_service.domain.blob import Blob
from drs_service.domain.checksums import COMPUTABLE, Checksum
from drs_service.domain.names import FileName

_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def is_upload_id(text: str) -> bool:
    """Whether an upload can have this id."""
    return _UPLOAD_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the bytes of an upload are safe, and how the place that keeps them finds them again."""

    offset: int = 0
    """Bytes that are safe."""
    notes: str = ""
    """The place's own. Of two marks with the same offset and notes, the bytes before it are the same ones."""


class Purpose(Enum):
    """What an upload is for."""

    ANNOUNCED = "announced"
    """To be registered."""
    OBJECT = "object"
    """To become an object by itself."""
    PART = "part"
    """To be joined with others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    id: str
    """Unguessable: who knows it may send the bytes."""
    owner: str
    space: str
    name: FileName
    media_type: str
    size: int | None
    """Bytes of the whole; None while its sender does not know."""
    checksums: tuple[Checksum, ...]
    """As stated before; the bytes are held to those that can be worked out."""
    expires_at: datetime
    purpose: Purpose = Purpose.ANNOUNCED
    mark: Mark = Mark()
    staged: int = 0
    """Bytes that count as staged: those that are safe, or those that may have been brought past us."""
    handle: str | None = None
    """Of the bytes that wait in the store."""
    description: str | None = None
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    ends_by_size: bool = True
    """Whether it is whole as soon as all bytes have come; otherwise once its sender says so."""
    wanted: frozenset[str] = frozenset()
    """Algorithms, of those that can be worked out, that its sender wants checksums of."""
    parts: tuple[str, ...] | None = None
    """Ids of the uploads that it is joined of."""
    blob: Blob | None = None
    """The bytes, once they have come and wait to be registered."""
    finishing: bool = False
    """Whether all bytes have come, and a worker reads them."""
    promised_id: str | None = None
    """Of the object that it will become."""
    object_id: str | None = None
    """What became of it."""
    failed: str | None = None
    """Why nothing will."""
    direct: str | None = None
    """What parts of it are brought to that go past us."""
    turn: str | None = None
    """Who goes on with it, if its place keeps nobody out."""
    metadata: str | None = None
    """Upload-Metadata as it came."""
    concat: str | None = None
    """Upload-Concat as it came."""

    @property
    def algorithms(self) -> frozenset[str]:
        """Of the checksums to work out as the bytes come: those that were stated, and those that are wanted."""
        return self.wanted | {one.algorithm for one in self.checksums} & COMPUTABLE

    @property
    def is_done(self) -> bool:
        """Whether it has become what it is to be; a part never does."""
        return self.object_id is not None or self.blob is not None

    @property
    def is_closed(self) -> bool:
        """Whether nothing more may come: it has become what it is to be, or a worker is about it."""
        return self.is_done or self.finishing

    @property
    def received(self) -> int:
        """Bytes that are safe."""
        return self.mark.offset

    @property
    def is_complete(self) -> bool:
        """Whether all bytes have come."""
        return self.size is not None and self.received == self.size
