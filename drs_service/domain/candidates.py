"""Objects that somebody wants registered, and where their bytes are (the 1.6 draft's DrsObjectCandidate)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from drs_service.domain.checksums import COMPUTABLE, Checksum, of_bundle
from drs_service.domain.digest import Digest
from drs_service.domain.names import FileName
from drs_service.domain.objects import DrsObject, ExternalAccess, NewObject
from drs_service.errors import BundleInvalid, ChecksumMismatch, SizeMismatch

MAX_DEPTH = 64
"""Bundles within bundles."""
MAX_SIZE = 2**63 - 1
"""Bytes: DRS 1.5.0, DrsObject.size is an int64."""


@dataclass(frozen=True, slots=True)
class FromUpload:
    """The bytes are those of an upload."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class FromObject:
    """The bytes are those of another object."""

    object_id: str


@dataclass(frozen=True, slots=True)
class FromDigest:
    """The bytes are those with this digest, of any object that the caller may read."""

    digest: Digest
    instead: bool = False
    """Whether that is instead of sending them: then a copy must be our own, as it would be of what was sent."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The bytes are where the access methods say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is to stand in a bundle under a name: an object here, one elsewhere, or a bundle yet to be made."""

    name: str
    id: str | None = None
    drs_uris: tuple[str, ...] = ()
    contents: tuple["Content", ...] | None = None


@dataclass(frozen=True, slots=True)
class FromContents:
    """There are no bytes: it is a bundle."""

    contents: tuple[Content, ...]


Source = FromUpload | FromObject | FromDigest | Elsewhere | FromContents


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    source: Source
    size: int | None
    """Bytes. None if it was not stated."""
    checksums: tuple[Checksum, ...]
    name: FileName | None = None
    media_type: str | None = None
    external_access: tuple[ExternalAccess, ...] = ()
    description: str | None = None
    version: str | None = None
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    """Algorithms, of those that can be worked out, to publish the checksums of besides."""


def contents_of(candidates: Sequence[Candidate]) -> Iterator[Content]:
    """Every content of every bundle to be made, also within one another."""
    waiting = [content for one in candidates if isinstance(one.source, FromContents) for content in one.source.contents]
    while waiting:
        content = waiting.pop()
        yield content
        waiting += content.contents or ()


@dataclass(frozen=True, slots=True)
class Sum:
    """What the members of a bundle make it."""

    size: int
    checksums: tuple[Checksum, ...]
    entries: int


def sum_of(members: Sequence[DrsObject | NewObject | None]) -> Sum:
    """The sum of direct members; None stands for one elsewhere, of which nothing is known. BundleInvalid.

    DRS 1.5.0, DrsObject.size: "the cumulative size, in bytes, of items in the contents field".
    """
    here = [one for one in members if one is not None]
    known: list[Sequence[Checksum]] = [one.checksums if isinstance(one, DrsObject) else one.stated for one in here]
    size = sum(one.size for one in here)
    if size > MAX_SIZE:
        raise BundleInvalid("The members have more bytes together than a size can say.")
    return Sum(
        size=size,
        checksums=of_bundle(known) if len(here) == len(members) else (),
        entries=len(members) + sum(one.entries or 0 for one in here),
    )


def hold_to_sum(summed: Sum, candidate: Candidate, *, whole: bool) -> tuple[int, tuple[Checksum, ...]]:
    """The size and the checksums of a bundle: worked out where that is possible, else as stated.

    whole: whether all its members are here. SizeMismatch, ChecksumMismatch, BundleInvalid.
    """
    if not whole:
        if candidate.size is None or candidate.size < summed.size:
            raise SizeMismatch(
                f"Members here have {summed.size} bytes; state the size of all of them, for some are elsewhere. (Of a "
                "bundle within a bundle nobody can state it: register it first.)"
            )
        if not candidate.checksums:
            raise BundleInvalid("A bundle with members elsewhere needs a checksum: it cannot be worked out here.")
        return candidate.size, candidate.checksums
    if candidate.size not in (None, summed.size):
        raise SizeMismatch(f"The members have {summed.size} bytes together, not {candidate.size}.")
    ours = {one.algorithm: one for one in summed.checksums}
    for one in candidate.checksums:
        if one.algorithm in COMPUTABLE and one.algorithm not in ours:
            raise ChecksumMismatch(f"The {one.algorithm} of a bundle follows from its members, and not all have one.")
        if ours.setdefault(one.algorithm, one) != one:
            raise ChecksumMismatch(
                f"The {one.algorithm} of the members' checksums, sorted and put together, is "
                f"{ours[one.algorithm].value}, not {one.value}."
            )
    stated = {one.algorithm for one in candidate.checksums} | {"sha-256"}
    # Those that all members have, if SHA-256 is not among them: at least one there must be.
    found = tuple(one for one in ours.values() if one.algorithm in stated) or summed.checksums
    if not found:
        raise BundleInvalid("The members have no checksum in common, and none was stated for the bundle.")
    return summed.size, found
