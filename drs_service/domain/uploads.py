"""An upload: bytes that were announced, and may have come."""

import re
from dataclasses import dataclass
from datetime import datetime

from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.domain.names import FileName

_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def is_upload_id(text: str) -> bool:
    """Whether an upload can have this id."""
    return _UPLOAD_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    id: str
    """Unguessable: who knows it may send the bytes."""
    owner: str
    space: str
    name: FileName
    media_type: str
    size: int
    """Bytes, as announced."""
    checksums: tuple[Checksum, ...]
    """As announced; the bytes are held to those that can be worked out."""
    expires_at: datetime
    description: str | None = None
    aliases: tuple[str, ...] = ()
    blob: Blob | None = None
    """The bytes, once they have come."""
