"""What DRS 1.5.0 puts on the wire. A member that has no value is left out: null is not in the specification."""

from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from drs_service.api.public import PublicUrls
from drs_service.domain.objects import DrsObject as StoredObject

VERSION = "1.5.0"
T = TypeVar("T")
AtLeastOne = Annotated[list[T], msgspec.Meta(min_length=1)]

ACCESS_ID = "https"  # of the one access method there is: the bytes, through this service


class Checksum(msgspec.Struct, kw_only=True):
    """A checksum of the bytes, in hexadecimal."""

    checksum: str
    type: str


class AccessURL(msgspec.Struct, kw_only=True):
    """Where the bytes can be fetched."""

    url: str


class AccessMethod(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One way to the bytes."""

    type: Literal["s3", "gs", "ftp", "gsiftp", "globus", "htsget", "https", "file"]
    access_url: AccessURL
    access_id: str


class DrsObject(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A DRS object."""

    id: str
    self_uri: str
    size: int
    created_time: datetime
    checksums: AtLeastOne[Checksum]
    name: str
    updated_time: datetime
    mime_type: str
    access_methods: AtLeastOne[AccessMethod]
    version: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    aliases: list[str] | UnsetType = UNSET


class Authorizations(msgspec.Struct, kw_only=True):
    """How a caller may prove who it is. Nobody need, until identities are configured."""

    drs_object_id: str
    supported_types: list[Literal["None", "BasicAuth", "BearerAuth", "PassportAuth"]]


class BulkAccessURL(msgspec.Struct, kw_only=True):
    """Where the bytes of one object can be fetched."""

    drs_object_id: str
    drs_access_id: str
    url: str


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


class BulkAuthorizations(msgspec.Struct, kw_only=True):
    summary: Summary
    unresolved_drs_objects: list[Unresolved]
    resolved_drs_object: list[Authorizations]


class BulkAccessURLs(msgspec.Struct, kw_only=True):
    summary: Summary
    unresolved_drs_objects: list[Unresolved]
    resolved_drs_object_access_urls: list[BulkAccessURL]


class DrsObjects(msgspec.Struct, kw_only=True):
    """Objects, in the order in which their files were sent."""

    objects: list[DrsObject]


def shape(stored: StoredObject, urls: PublicUrls) -> DrsObject:
    return DrsObject(
        id=stored.id,
        self_uri=urls.drs(stored.id),
        size=stored.blob.size,
        created_time=stored.created_time,
        updated_time=stored.updated_time,
        name=stored.name,
        mime_type=stored.media_type,
        version=stored.version or UNSET,
        description=stored.description or UNSET,
        aliases=list(stored.aliases) or UNSET,
        checksums=[
            Checksum(checksum=stored.blob.digest.hex, type="sha-256"),
            *(Checksum(checksum=one.value, type=one.algorithm) for one in stored.checksums),
        ],
        access_methods=[
            AccessMethod(type="https", access_id=ACCESS_ID, access_url=access_url(stored, urls)),
        ],
    )


def access_url(stored: StoredObject, urls: PublicUrls) -> AccessURL:
    return AccessURL(url=urls.data(stored.id))


def authorizations(object_id: str) -> Authorizations:
    return Authorizations(drs_object_id=object_id, supported_types=["None"])
