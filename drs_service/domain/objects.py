"""A DRS object: a name and what is known about a blob."""

from dataclasses import dataclass
from datetime import datetime

from drs_service.domain.blob import Blob


@dataclass(frozen=True, slots=True)
class Checksum:
    """What is published about a blob besides its digest."""

    algorithm: str
    """An IANA Named Information hash name where there is one, else md5, crc32c, …; lower case."""
    value: str
    """Hexadecimal, lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """An object about to be recorded."""

    id: str
    blob: Blob
    name: str
    """In DRS's portable characters."""
    file_name: str
    """As its sender spelt it."""
    media_type: str
    owner: str
    space: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrsObject(NewObject):
    """An object as it stands."""

    created_time: datetime
    """Of the content, not of the record (DRS 1.5.0, DrsObject.created_time)."""
    updated_time: datetime
    description: str | None = None
    version: str | None = None
    checksums: tuple[Checksum, ...] = ()
    """Besides the digest, by algorithm."""
    aliases: tuple[str, ...] = ()
