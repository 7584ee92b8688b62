"""`GET /objects` and `GET /objects/checksum/{checksum}`: the 1.6 draft's ways to find objects."""

from typing import Annotated

from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import PathParameter, QueryParameter
from litestar.types import ASGIApp
from msgspec import UNSET

from drs_service.api.bodies import AnyRequest
from drs_service.api.drs import shapes
from drs_service.api.drs.bulk import around
from drs_service.api.drs.rendering import METADATA, Rendering
from drs_service.api.errors import Error
from drs_service.api.principals import principal_of
from drs_service.domain.checksums import SIZES, algorithm, checksum
from drs_service.domain.texts import MAX_TAG_KEY, MAX_TAG_VALUE, clean, text
from drs_service.errors import ObjectNotFound, PageInvalid, Rejected
from drs_service.usecases.finding import Finding

# PR #424: "must be less than 2048, defaults to 256".
MAX_PAGE = 2047
DEFAULT_PAGE = 256
MAX_TAGS = 16
REFUSALS = {400: ResponseSpec(Error, description="The request is wrong as it stands.")}
NOT_FOUND = {404: ResponseSpec(Error, description="There is no such object, or none that you may see.")}

Keys = Annotated[list[str] | None, QueryParameter(name="tag_key", description="the key of a tag; all must be there")]
Values = Annotated[
    list[str] | None,
    QueryParameter(name="tag_value", description="the value of the tag at the same place; an empty one may be any"),
]
PageSize = Annotated[int, QueryParameter(description=f"entries of a page, at most {MAX_PAGE}")]
PageToken = Annotated[str | None, QueryParameter(description="the next_page_token of the page before")]
Kind = Annotated[str | None, QueryParameter(name="type", description="the algorithm; any, if it is left out")]


def routes(finding: Finding, rendering: Rendering) -> list[HTTPRouteHandler]:
    @route(
        "/objects",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="List objects",
        description="1.6 draft. In the order in which they were made, page by page.",
        responses={200: ResponseSpec(shapes.ListedObjects, description="A page of objects."), **REFUSALS},
    )
    async def get_objects(
        request: AnyRequest,
        keys: Keys = None,
        values: Values = None,
        page_size: PageSize = DEFAULT_PAGE,
        page_token: PageToken = None,
    ) -> ASGIApp:
        size = checked_size(page_size)
        tags = tags_of(keys or [], values or [])
        page = await finding.tagged(principal_of(request), tags, size=size, token=page_token)
        empty = shapes.ListedObjects(resolved_drs_object=[], next_page_token=page.next_token or UNSET)
        before, after = around(empty)
        return rendering.many(
            before, [(one, rendering.body(one)) for one in page.objects], after, cache_control=METADATA
        )

    @route(
        "/objects/checksum/{checksum:str}",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="Find objects by a checksum",
        description="1.6 draft, with `type`, which its text mentions, and pages.",
        responses={
            200: ResponseSpec(shapes.FoundObjects, description="The objects with this checksum."),
            **REFUSALS,
            **NOT_FOUND,
        },
    )
    async def get_by_checksum(
        request: AnyRequest,
        value: Annotated[str, PathParameter(name="checksum", description="hexadecimal, of either case")],
        kind: Kind = None,
        page_size: PageSize = MAX_PAGE,
        page_token: PageToken = None,
    ) -> ASGIApp:
        size = checked_size(page_size)
        name, wanted = stated(value, kind)
        page = await finding.with_checksum(principal_of(request), wanted, name, size=size, token=page_token)
        if not page.objects and page_token is None:
            raise ObjectNotFound("There is no object with this checksum.")
        count = len(page.objects)
        empty = shapes.FoundObjects(
            summary=shapes.Summary(requested=count, resolved=count, unresolved=0),
            unresolved_drs_objects=[],
            resolved_drs_object=[],
            next_page_token=page.next_token or UNSET,
        )
        before, after = around(empty)
        return rendering.many(
            before, [(one, rendering.body(one)) for one in page.objects], after, cache_control=METADATA
        )

    return [get_objects, get_by_checksum]


def checked_size(page_size: int) -> int:
    if not 1 <= page_size <= MAX_PAGE:
        raise PageInvalid(f"The page_size is a number from 1 to {MAX_PAGE}.")
    return page_size


def tags_of(keys: list[str], values: list[str]) -> list[tuple[str, str | None]]:
    """PR #424: keys and values belong together by their places; an empty or missing value may be any."""
    if len(values) > len(keys) or len(keys) > MAX_TAGS:
        raise Rejected(f"Every tag_value belongs to the tag_key at its place; at most {MAX_TAGS} are looked for.")
    values = values + [""] * (len(keys) - len(values))
    return [
        (text(key, what="tag_key", most=MAX_TAG_KEY), clean(value, what="tag_value", most=MAX_TAG_VALUE) or None)
        for key, value in zip(keys, values, strict=True)
    ]


def stated(value: str, kind: str | None) -> tuple[str | None, str]:
    """The algorithm, if one is asked for, and the value as it is kept. ChecksumInvalid."""
    if kind is not None and algorithm(kind) not in SIZES:
        one = checksum(kind, value)
        return one.algorithm, one.value
    lower = value.strip().lower()
    plain = lower if set(lower) <= set("0123456789abcdef") else value.strip()
    return (algorithm(kind) if kind is not None else None), clean(plain, what="checksum", most=256)
