"""What DRS 1.5.0 lets a client put into a body. Passports are read for their shape; nothing here needs one yet."""

from typing import Annotated

import msgspec
from litestar.params import QueryParameter

from drs_service.errors import TooMany

Passports = list[str]
Expand = Annotated[
    bool, QueryParameter(description="whether nested bundles carry their contents, all the way down; ignored for blobs")
]


class ObjectRequest(msgspec.Struct, kw_only=True):
    """The body of POST /objects/{object_id}. `{}` is a request."""

    expand: bool = False
    passports: Passports = []


class AccessRequest(msgspec.Struct, kw_only=True):
    """The body of POST /objects/{object_id}/access/{access_id}. `{}` is a request."""

    passports: Passports = []


class BulkObjectRequest(msgspec.Struct, kw_only=True):
    """The body of POST and OPTIONS /objects."""

    bulk_object_ids: Annotated[list[str], msgspec.Meta(min_length=1)]
    passports: Passports = []


class BulkObjectAccessId(msgspec.Struct, kw_only=True):
    bulk_object_id: str
    bulk_access_ids: Annotated[list[str], msgspec.Meta(min_length=1)]


class BulkAccessRequest(msgspec.Struct, kw_only=True):
    """The body of POST /objects/access."""

    bulk_object_access_ids: Annotated[list[BulkObjectAccessId], msgspec.Meta(min_length=1)]
    passports: Passports = []


def check_length(count: int, *, most: int) -> None:
    """TooMany above the limit that service-info states."""
    if count > most:
        raise TooMany(f"The request asks for {count}; at most {most} are answered at once.")
