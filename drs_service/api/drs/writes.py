"""What the 1.6 draft lets a client put into the bodies of its writes, and what the domain makes of it.

Drafts: https://github.com/ga4gh/data-repository-service-schemas/pull/418 (writes) and /pull/424 (tags, listing).
What a candidate need not state may be null as well.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from drs_service.api.drs.requests import Passports
from drs_service.api.public import PublicUrls
from drs_service.domain import texts
from drs_service.domain.candidates import (
    MAX_SIZE,
    Candidate,
    Content,
    Elsewhere,
    FromContents,
    FromDigest,
    FromObject,
    FromUpload,
    Source,
)
from drs_service.domain.checksums import Checksum, checksums
from drs_service.domain.digest import Digest
from drs_service.domain.drs_uri import parse_drs_uri
from drs_service.domain.external_access import external_access, identified
from drs_service.domain.media_types import media_type
from drs_service.domain.names import file_name
from drs_service.domain.objects import ExternalAccess
from drs_service.errors import BundleInvalid, CandidateInvalid, NameInvalid
from drs_service.usecases.announcing import Announcement

MAX_URIS = 16
AccessType = Literal[
    "s3", "gs", "ftp", "gsiftp", "globus", "htsget", "https"
]  # `file` is another file on every machine
NotEmpty = Annotated[str, msgspec.Meta(min_length=1)]
Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]


class ChecksumStated(msgspec.Struct, kw_only=True):
    checksum: NotEmpty
    type: NotEmpty


ChecksumsStated = Annotated[list[ChecksumStated], msgspec.Meta(min_length=1)]


class AccessUrlStated(msgspec.Struct, kw_only=True):
    url: str
    headers: list[str] | None = None


class AccessMethodStated(msgspec.Struct, kw_only=True):
    """An access method. Its access_id is ours to give, one that is stated is left out; so it needs an access_url."""

    type: AccessType
    access_url: AccessUrlStated
    access_id: str | None = None
    region: str | None = None
    cloud: str | None = None
    available: bool | None = None


AccessMethodsStated = Annotated[list[AccessMethodStated], msgspec.Meta(min_length=1)]


class ContentStated(msgspec.Struct, kw_only=True):
    """A member of a bundle: an object here by its id, one elsewhere by its drs_uri, or a nested bundle to be made."""

    name: NotEmpty
    id: str | None = None
    drs_uri: list[str] | None = None
    contents: "list[ContentStated] | None" = None


class DrsObjectCandidate(msgspec.Struct, kw_only=True):
    """An object to be registered."""

    checksums: ChecksumsStated | None = None
    size: Size | None = None
    name: str | None = None
    mime_type: str | None = None
    access_methods: AccessMethodsStated | None = None
    contents: list[ContentStated] | None = None
    version: str | None = None
    description: str | None = None
    aliases: list[str] | None = None
    tags: dict[str, str] | None = None


class RegisterRequest(msgspec.Struct, kw_only=True):
    candidates: Annotated[list[DrsObjectCandidate], msgspec.Meta(min_length=1)]
    passports: Passports = []


class UploadMethodRequest(msgspec.Struct, kw_only=True):
    type: str
    upload_details: dict[str, object] | None = None


class UploadRequestObject(msgspec.Struct, kw_only=True):
    name: NotEmpty
    size: Size
    mime_type: NotEmpty
    checksums: ChecksumsStated
    description: str | None = None
    aliases: list[str] | None = None
    upload_methods: list[UploadMethodRequest] | None = None


class UploadRequest(msgspec.Struct, kw_only=True):
    requests: Annotated[list[UploadRequestObject], msgspec.Meta(min_length=1)]
    passports: Passports = []


class DeleteRequest(msgspec.Struct, kw_only=True):
    """The body of PUT /objects/{object_id}/delete. `{}` is a request, and so is no body."""

    delete_storage_data: bool = False
    delete_object_metadata: bool = False
    reason: str | None = None
    passports: Passports = []


class BulkDeleteRequest(DeleteRequest, kw_only=True):
    bulk_object_ids: Annotated[list[str], msgspec.Meta(min_length=1)]


class AccessMethodUpdateRequest(msgspec.Struct, kw_only=True):
    access_methods: AccessMethodsStated
    passports: Passports = []


class AccessMethodUpdate(msgspec.Struct, kw_only=True):
    object_id: str
    access_methods: AccessMethodsStated


class BulkAccessMethodUpdateRequest(msgspec.Struct, kw_only=True):
    updates: Annotated[list[AccessMethodUpdate], msgspec.Meta(min_length=1)]
    passports: Passports = []


class ChecksumAdditionRequest(msgspec.Struct, kw_only=True):
    checksums: ChecksumsStated
    passports: Passports = []


class ChecksumAddition(msgspec.Struct, kw_only=True):
    object_id: str
    checksums: ChecksumsStated


class BulkChecksumAdditionRequest(msgspec.Struct, kw_only=True):
    additions: Annotated[list[ChecksumAddition], msgspec.Meta(min_length=1)]
    passports: Passports = []


class TagsRequest(msgspec.Struct, kw_only=True):
    tags: dict[str, str]
    passports: Passports = []


def announcement(asked: UploadRequestObject) -> Announcement:
    """NameInvalid, MediaTypeInvalid, ChecksumInvalid, TextInvalid, TooMany."""
    name = file_name(asked.name)
    return Announcement(
        name=name,
        size=asked.size,
        media_type=media_type(asked.mime_type, name=name.original),
        checksums=checksums_of(asked.checksums),
        description=described(asked.description),
        aliases=texts.aliases(asked.aliases or ()),
    )


def candidate(stated: DrsObjectCandidate, urls: PublicUrls) -> Candidate:
    """CandidateInvalid, AccessMethodInvalid, BundleInvalid, and what `announcement` raises."""
    name = file_name(stated.name) if stated.name is not None else None
    ours, external = access_methods_of(stated.access_methods or (), urls)
    found = checksums_of(stated.checksums or ())
    return Candidate(
        source=source_of(stated, ours, external, found, urls),
        size=stated.size,
        checksums=found,
        name=name,
        media_type=media_type(stated.mime_type, name="") if stated.mime_type is not None else None,
        external_access=external,
        description=described(stated.description),
        version=texts.text(stated.version, what="version", most=texts.MAX_VERSION) if stated.version else None,
        aliases=texts.aliases(stated.aliases or ()),
        tags=texts.tags(stated.tags or {}),
    )


def source_of(
    stated: DrsObjectCandidate,
    ours: Sequence[FromObject | FromUpload],
    external: Sequence[ExternalAccess],
    found: Sequence[Checksum],
    urls: PublicUrls,
) -> Source:
    """Where the bytes of a candidate are."""
    if stated.contents is not None:
        if ours or external:
            raise BundleInvalid("A bundle has no bytes of its own, and no access methods.")
        if not stated.contents:
            raise BundleInvalid("A bundle has at least one member; leave contents out for a single blob.")
        return FromContents(contents_of(stated.contents, urls))
    if len(set(ours)) > 1:
        raise CandidateInvalid("The access methods are URLs of this service for different bytes.")
    if ours:
        return ours[0]
    if external:
        return Elsewhere()
    for one in found:
        if one.algorithm == "sha-256":
            return FromDigest(Digest.from_hex(one.value))
    raise CandidateInvalid("State access_methods, contents, or the sha-256 of bytes that are here already.")


def access_methods_of(
    stated: Sequence[AccessMethodStated], urls: PublicUrls
) -> tuple[list[FromObject | FromUpload], tuple[ExternalAccess, ...]]:
    """Those that are URLs of ours, and those that are not. AccessMethodInvalid."""
    ours: list[FromObject | FromUpload] = []
    external: list[ExternalAccess] = []
    for one in stated:
        source = urls.source(one.access_url.url)
        if source is not None:
            ours.append(source)
        else:
            external.append(
                external_access(
                    one.type,
                    one.access_url.url,
                    headers=one.access_url.headers or (),
                    region=one.region,
                    cloud=one.cloud,
                    available=one.available,
                )
            )
    return ours, identified(external)


def contents_of(stated: Sequence[ContentStated], urls: PublicUrls) -> tuple[Content, ...]:
    return tuple(content(one, urls) for one in stated)


def content(stated: ContentStated, urls: PublicUrls) -> Content:
    """A member is the object of a URI of ours; else it is elsewhere, if it has others; else the object of its id; else
    a bundle to be made. Beside URIs of another service its id is one of that service."""
    name = portable(stated.name)
    uris = tuple(dict.fromkeys(stated.drs_uri or ()))
    if len(uris) > MAX_URIS:
        raise BundleInvalid(f"{name} has more than {MAX_URIS} DRS URIs.")
    parsed = [parse_drs_uri(uri) for uri in uris]
    ours = {object_id for uri in parsed if (object_id := urls.object_id(uri)) is not None}
    if stated.id is not None and (ours or not uris):
        ours.add(stated.id)
    if len(ours) > 1:
        raise BundleInvalid(f"The id and the DRS URIs of {name} are of different objects.")
    for own in ours:
        return Content(name=name, id=own)
    if uris:
        if any(" " in uri for uri in uris):
            raise BundleInvalid(f"There is a space in a DRS URI of {name}.")
        return Content(name=name, drs_uris=uris)
    if not stated.contents:
        raise BundleInvalid(f"{name} has neither an id nor a drs_uri nor contents.")
    return Content(name=name, contents=contents_of(stated.contents, urls))


def portable(name: str) -> str:
    """The name of a member, which becomes a part of paths. NameInvalid."""
    if file_name(name).portable != name:
        raise NameInvalid(f"The name of a member has only A-Z a-z 0-9 . _ - and does not begin with -: {name!r}")
    return name


def checksums_of(stated: Sequence[ChecksumStated]) -> tuple[Checksum, ...]:
    return checksums((one.type, one.checksum) for one in stated)


def described(description: str | None) -> str | None:
    if not description:
        return None
    return texts.text(description, what="description", most=texts.MAX_DESCRIPTION, lines=True)
