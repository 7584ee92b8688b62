"""DRS objects: a name and what is known about a blob, about a bundle of members, or about bytes kept elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

import msgspec

from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum


class Kind(Enum):
    BLOB = "blob"
    """Bytes of ours."""
    BUNDLE = "bundle"
    """Members, which are objects or bundles."""
    EXTERNAL = "external"
    """Bytes that are only where the access methods say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAccess:
    """A way to bytes that are not in our hands, as DRS describes it (1.5.0, AccessMethod)."""

    id: str
    """Unique within the object."""
    type: str
    url: str
    headers: tuple[str, ...] = ()
    """Each `Name: value`."""
    region: str | None = None
    cloud: str | None = None
    available: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What stands under a name in a bundle: an object here, or DRS URIs of one elsewhere."""

    name: str
    id: str | None = None
    drs_uris: tuple[str, ...] = ()
    kind: Kind | None = None
    """Of the object here; None if there is none, or none any more."""
    entries: int = 0
    """Of a bundle here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """An object about to be recorded."""

    id: str
    name: str
    """In DRS's portable characters."""
    file_name: str
    """As its sender spelt it."""
    owner: str
    space: str
    media_type: str | None
    """None only of a bundle."""
    blob: Blob | None = None
    """Of an object that is kept here; nothing else has one."""
    external_size: int | None = None
    """Bytes; of a bundle, and of what is kept elsewhere."""
    entries: int | None = None
    """Of a bundle: its members and theirs, all the way down. None of everything else."""
    external_access: tuple[ExternalAccess, ...] = ()
    stated: tuple[Checksum, ...] = ()
    """Checksums that were stated, or worked out from members; not those read from the bytes."""
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    version: str | None = None
    aliases: tuple[str, ...] = ()
    verifying: bool = False
    """Whether bytes elsewhere must still be seen to be as stated."""

    @property
    def size(self) -> int:
        return self.blob.size if self.blob is not None else self.external_size or 0

    @property
    def kind(self) -> Kind:
        if self.entries is not None:
            return Kind.BUNDLE
        return Kind.BLOB if self.blob is not None else Kind.EXTERNAL


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of an object that was deleted, and may be known."""

    deleted: datetime
    reason: str | None


class DrsObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object as it stands. A struct, for a thousand of them are made for one bulk request."""

    id: str
    kind: Kind
    name: str
    file_name: str
    owner: str
    space: str
    media_type: str | None
    size: int
    """Bytes; of a bundle, those of all its members, each as often as it is in it."""
    blob: Blob | None
    """The bytes, if they are kept here."""
    places: frozenset[str] = frozenset()
    """Where there are copies of them that are not known to be bad, and can be read at once."""
    archived: frozenset[str] = frozenset()
    """Where there are such copies in an archive, which are brought back before they are read."""
    paths: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Of those that are files of others: where in their place, as `domain.paths` spells it."""
    created_time: datetime
    """Of the content, not of the record (DRS 1.5.0, DrsObject.created_time)."""
    updated_time: datetime
    checksums: tuple[Checksum, ...]
    """SHA-256 first if it is there, then by algorithm."""
    external_access: tuple[ExternalAccess, ...] = ()
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    entries: int | None = None
    description: str | None = None
    version: str | None = None
    aliases: tuple[str, ...] = ()
    verifying: bool = False
    tombstone: Tombstone | None = None
