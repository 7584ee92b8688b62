"""What DRS 1.5.0 puts on the wire. A member that has no value is left out: null is not in the specification."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from drs_service.api.public import PublicUrls
from drs_service.blobs.keys import key_for
from drs_service.domain.objects import DrsObject as StoredObject
from drs_service.domain.objects import ExternalAccess, Kind, Member
from drs_service.domain.paths import unspelled
from drs_service.domain.places import Bucket
from drs_service.domain.uploads import Upload
from drs_service.errors import AccessMethodNotFound
from drs_service.usecases.signing import Signing

VERSION = "1.5.0"
T = TypeVar("T")
AtLeastOne = Annotated[list[T], msgspec.Meta(min_length=1)]

ACCESS_ID = "https"  # of our own access method: the bytes, through this service
COPY, SIGNED = "copy-", "signed-"  # and of copies, before the name of the place; no type of a stated one is so named


class Checksum(msgspec.Struct, kw_only=True):
    """A checksum of the bytes, in hexadecimal."""

    checksum: str
    type: str


class AccessURL(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Where the bytes can be fetched."""

    url: str
    headers: list[str] | UnsetType = UNSET
    """Each `Name: value`."""


class AccessMethod(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One way to the bytes."""

    type: Literal["s3", "gs", "ftp", "gsiftp", "globus", "htsget", "https", "file"]
    access_id: str
    access_url: AccessURL | UnsetType = UNSET
    """Left out where it is made for whoever asks with the access_id."""
    region: str | UnsetType = UNSET
    cloud: str | UnsetType = UNSET
    available: bool | UnsetType = UNSET


class ContentsObject(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A member of a bundle."""

    name: str
    id: str | UnsetType = UNSET
    drs_uri: list[str] | UnsetType = UNSET
    contents: "list[ContentsObject] | UnsetType" = UNSET


class DrsObject(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A DRS object."""

    id: str
    self_uri: str
    size: int
    created_time: datetime
    checksums: AtLeastOne[Checksum]
    name: str
    updated_time: datetime
    mime_type: str | UnsetType = UNSET
    access_methods: AtLeastOne[AccessMethod] | UnsetType = UNSET
    contents: list[ContentsObject] | UnsetType = UNSET
    version: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    aliases: list[str] | UnsetType = UNSET
    tags: dict[str, str] | UnsetType = UNSET


class Authorizations(msgspec.Struct, kw_only=True):
    """How a caller may prove who it is. Nobody need, until identities are configured."""

    drs_object_id: str
    supported_types: list[Literal["None", "BasicAuth", "BearerAuth", "PassportAuth"]]


class BulkAccessURL(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Where the bytes of one object can be fetched."""

    drs_object_id: str
    drs_access_id: str
    url: str
    headers: list[str] | UnsetType = UNSET


class Summary(msgspec.Struct, kw_only=True):
    """What became of a bulk request."""

    requested: int
    resolved: int
    unresolved: int


class Unresolved(msgspec.Struct, kw_only=True):
    """The ids that met one and the same error."""

    error_code: int
    object_ids: list[str]


class BulkObjects(msgspec.Struct, kw_only=True):
    """The specification has the singular in the name of the list; so it stays."""

    summary: Summary
    unresolved_drs_objects: list[Unresolved]
    resolved_drs_object: list[DrsObject]


class FoundObjects(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a lookup by checksum found: bulk objects, and where to go on if there are more."""

    summary: Summary
    unresolved_drs_objects: list[Unresolved]
    resolved_drs_object: list[DrsObject]
    next_page_token: str | UnsetType = UNSET


class ListedObjects(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A page of a listing."""

    resolved_drs_object: list[DrsObject]
    next_page_token: str | UnsetType = UNSET


class BulkAuthorizations(msgspec.Struct, kw_only=True):
    summary: Summary
    unresolved_drs_objects: list[Unresolved]
    resolved_drs_object: list[Authorizations]


class BulkAccessURLs(msgspec.Struct, kw_only=True):
    summary: Summary
    unresolved_drs_objects: list[Unresolved]
    resolved_drs_object_access_urls: list[BulkAccessURL]


class DrsObjects(msgspec.Struct, kw_only=True):
    """Objects, in the order of the request."""

    objects: list[DrsObject]


class UploadDetails(msgspec.Struct, kw_only=True):
    """How to send the bytes: as the one file of a form, as a body, or by and by with tus 1.0.0."""

    post_url: str
    put_url: str
    tus_url: str
    expires_at: datetime


class UploadMethod(msgspec.Struct, kw_only=True):
    """A way to send the bytes of one file; access_url is what to register."""

    type: str
    access_url: AccessURL
    upload_details: UploadDetails


class UploadResponseObject(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was announced, and how to send it."""

    name: str
    size: int
    mime_type: str
    checksums: AtLeastOne[Checksum]
    upload_methods: list[UploadMethod]
    description: str | UnsetType = UNSET
    aliases: list[str] | UnsetType = UNSET


class UploadResponse(msgspec.Struct, kw_only=True):
    responses: list[UploadResponseObject]


def shape(stored: StoredObject, urls: PublicUrls) -> DrsObject:
    """An object without its contents: those of a bundle may be many, and are streamed."""
    methods = [access_method(one) for one in stored.external_access]
    if stored.kind is Kind.BLOB:
        methods[:0] = [
            own_method(stored, urls),
            *copies(stored, urls),
        ]
    return DrsObject(
        id=stored.id,
        self_uri=urls.drs(stored.id),
        size=stored.size,
        created_time=stored.created_time,
        updated_time=stored.updated_time,
        name=stored.name,
        mime_type=stored.media_type or UNSET,
        version=stored.version or UNSET,
        description=stored.description or UNSET,
        aliases=list(stored.aliases) or UNSET,
        checksums=[Checksum(checksum=one.value, type=one.algorithm) for one in stored.checksums],
        access_methods=methods or UNSET,
        tags=dict(stored.tags) or UNSET,
    )


def own_method(stored: StoredObject, urls: PublicUrls) -> AccessMethod:
    if stored.archived and not stored.places:
        # Without a URL: who asks with the access_id is told to wait, and takes no empty 202 for the bytes.
        return AccessMethod(type="https", access_id=ACCESS_ID, available=False)
    return AccessMethod(type="https", access_id=ACCESS_ID, access_url=own_url(stored, urls))


def access_method(access: ExternalAccess) -> AccessMethod:
    return AccessMethod(
        type=cast(Any, access.type),
        access_id=access.id,
        access_url=AccessURL(url=access.url, headers=list(access.headers) or UNSET),
        region=access.region or UNSET,
        cloud=access.cloud or UNSET,
        available=UNSET if access.available is None else access.available,
    )


def copies(stored: StoredObject, urls: PublicUrls) -> Iterator[AccessMethod]:
    """The ways to copies that do not lead through this service."""
    for bucket in urls.buckets:
        if bucket.place in stored.places | stored.archived:
            is_archived = bucket.place in stored.archived
            yield AccessMethod(
                type=cast(Any, bucket.type),
                access_id=COPY + bucket.place,
                access_url=UNSET if is_archived else copy_url(stored, bucket),
                cloud=bucket.cloud or UNSET,
                region=bucket.region or UNSET,
                available=False if is_archived else UNSET,
            )
    for place in urls.signed:
        if place in stored.places | stored.archived:
            available = False if place in stored.archived else UNSET
            yield AccessMethod(type="https", access_id=SIGNED + place, available=available)


def copy_url(stored: StoredObject, bucket: Bucket) -> AccessURL:
    assert stored.blob is not None, "what has copies has bytes"
    path = stored.paths.get(bucket.place)
    key = unspelled(path).decode(errors="replace") if path is not None else key_for(stored.blob.digest)
    return AccessURL(url=bucket.url + key)


def own_url(stored: StoredObject, urls: PublicUrls) -> AccessURL:
    return AccessURL(url=urls.data(stored.id))


async def access_url(
    stored: StoredObject, access_id: str, urls: PublicUrls, signing: Signing, *, begin: bool = True
) -> AccessURL:
    """AccessMethodNotFound, StorageUnavailable, BytesArchived, which has the bytes brought back if it may begin that,
    BytesPutAway.
    """
    is_archived = access_id.startswith(SIGNED) and access_id.removeprefix(SIGNED) in stored.archived & set(urls.signed)
    if is_archived or (access_id == ACCESS_ID and stored.kind is Kind.BLOB):
        # In the place of an archived copy another one will do, which is read through this service.
        await signing.ready(stored, begin=begin)
        return own_url(stored, urls)
    if access_id.startswith(SIGNED):
        url = await signing.url(stored, access_id.removeprefix(SIGNED), begin=begin)
        return AccessURL(url=url) if url is not None else own_url(stored, urls)
    for bucket in urls.buckets:
        if access_id == COPY + bucket.place and bucket.place in stored.places | stored.archived:
            await signing.ready(stored, bucket.place, begin=begin)
            return copy_url(stored, bucket)
    for one in stored.external_access:
        if one.id == access_id:
            return AccessURL(url=one.url, headers=list(one.headers) or UNSET)
    raise AccessMethodNotFound


def member(one: Member, urls: PublicUrls) -> ContentsObject:
    """A member without its own contents."""
    uris = list(one.drs_uris) or UNSET if one.id is None else [urls.drs(one.id)]
    return ContentsObject(name=one.name, id=one.id or UNSET, drs_uri=uris)


def upload_response(upload: Upload, urls: PublicUrls) -> UploadResponseObject:
    url = urls.upload(upload.id)
    return UploadResponseObject(
        name=upload.name.original,
        size=upload.size or 0,
        mime_type=upload.media_type,
        checksums=[Checksum(checksum=one.value, type=one.algorithm) for one in upload.checksums],
        description=upload.description or UNSET,
        aliases=list(upload.aliases) or UNSET,
        upload_methods=[
            UploadMethod(
                type="https",
                access_url=AccessURL(url=url),
                upload_details=UploadDetails(
                    post_url=url, put_url=url, tus_url=urls.tus(upload.id), expires_at=upload.expires_at
                ),
            )
        ],
    )


def authorizations(object_id: str) -> Authorizations:
    return Authorizations(drs_object_id=object_id, supported_types=["None"])
