"""`/objects`: many at once. One that is not there is told of; it does not spoil the rest."""

from collections.abc import Iterable

import msgspec
from litestar import post, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from drs_service.api.answers import Json
from drs_service.api.bodies import AnyRequest
from drs_service.api.drs import shapes
from drs_service.api.drs.rendering import METADATA, Rendering
from drs_service.api.drs.requests import BulkAccessRequest, BulkObjectRequest, Expand, check_length
from drs_service.api.errors import Error, status_of
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.errors import DrsServiceError, TooMany
from drs_service.usecases.objects import Found, Objects
from drs_service.usecases.signing import Signing

REFUSALS = {
    400: ResponseSpec(Error, description="The request is wrong as it stands."),
    413: ResponseSpec(Error, description="More is asked for than service-info allows at once."),
}
MAX_ENTRIES = 1_000_000  # of bundles in one answer, all the way down
MAX_ACCESS_IDS = 16  # of one object; the specification bounds only the objects


def routes(
    objects: Objects[Json], rendering: Rendering, urls: PublicUrls, signing: Signing, *, most: int
) -> list[HTTPRouteHandler]:
    @post(
        "/objects",
        status_code=200,
        summary="Describe many objects",
        responses={200: ResponseSpec(shapes.BulkObjects, description="Those that there are."), **REFUSALS},
    )
    async def post_objects(request: AnyRequest, data: JSONBody[BulkObjectRequest], expand: Expand = False) -> ASGIApp:
        found = await lookup(request, data.bulk_object_ids)
        entries = sum(known.object.entries or 0 for known in found.known.values())
        if entries > MAX_ENTRIES:
            raise TooMany(f"The bundles have {entries} entries together; {MAX_ENTRIES} are answered at once.")
        summary, unresolved = account(found)
        empty = shapes.BulkObjects(summary=summary, unresolved_drs_objects=unresolved, resolved_drs_object=[])
        before, after = around(empty)
        bodies = [(known.object, known.face.body) for known in found.known.values()]
        return rendering.many(before, bodies, after, expand=expand, cache_control=METADATA)

    @route(
        "/objects",
        http_method=[HttpMethod.OPTIONS],
        status_code=200,
        summary="Say how to be let in to many objects",
        responses={200: ResponseSpec(shapes.BulkAuthorizations, description="The ways in."), **REFUSALS},
    )
    async def options_objects(request: AnyRequest, data: JSONBody[BulkObjectRequest]) -> ASGIApp:
        found = await lookup(request, data.bulk_object_ids)
        summary, unresolved = account(found)
        ways = [shapes.authorizations(object_id) for object_id in found.known]
        return Json(
            shapes.BulkAuthorizations(summary=summary, unresolved_drs_objects=unresolved, resolved_drs_object=ways),
            cache_control=METADATA,
        )

    @post(
        "/objects/access",
        status_code=200,
        summary="Say where the bytes of many objects can be fetched",
        responses={200: ResponseSpec(shapes.BulkAccessURLs, description="Those that there are."), **REFUSALS},
    )
    async def post_access(request: AnyRequest, data: JSONBody[BulkAccessRequest]) -> ASGIApp:
        asked = data.bulk_object_access_ids
        check_length(max(len(one.bulk_access_ids) for one in asked), most=MAX_ACCESS_IDS)
        found = await lookup(request, [one.bulk_object_id for one in asked])
        resolved: list[shapes.BulkAccessURL] = []
        failed: list[tuple[str, DrsServiceError]] = []
        pairs = dict.fromkeys((one.bulk_object_id, access_id) for one in asked for access_id in one.bulk_access_ids)
        for object_id, access_id in pairs:
            try:
                if object_id in found.refused:
                    raise found.refused[object_id]
                access_url = await shapes.access_url(found.known[object_id].object, access_id, urls, signing)
            except DrsServiceError as error:
                failed.append((object_id, error))
            else:
                resolved.append(
                    shapes.BulkAccessURL(
                        drs_object_id=object_id, drs_access_id=access_id, url=access_url.url, headers=access_url.headers
                    )
                )
        summary = shapes.Summary(requested=len(pairs), resolved=len(resolved), unresolved=len(failed))
        return Json(
            shapes.BulkAccessURLs(
                summary=summary, unresolved_drs_objects=grouped(failed), resolved_drs_object_access_urls=resolved
            ),
            cache_control="no-store",
        )

    async def lookup(request: AnyRequest, object_ids: list[str]) -> Found[Json]:
        check_length(len(object_ids), most=most)
        return await objects.get_many(principal_of(request), object_ids)

    # OPTIONS first: to a path without one the framework adds its own, which then stays.
    return [options_objects, post_objects, post_access]


def account(found: Found[Json]) -> tuple[shapes.Summary, list[shapes.Unresolved]]:
    """The summary and the ids that were refused. An id that was asked for twice counts once."""
    resolved, refused = len(found.known), len(found.refused)
    summary = shapes.Summary(requested=resolved + refused, resolved=resolved, unresolved=refused)
    return summary, grouped(found.refused.items())


def grouped(failed: Iterable[tuple[str, DrsServiceError]]) -> list[shapes.Unresolved]:
    """One entry per status, as the specification has it, each id once."""
    by_status: dict[int, dict[str, None]] = {}
    for object_id, error in failed:
        by_status.setdefault(status_of(type(error)), {})[object_id] = None
    return [shapes.Unresolved(error_code=status, object_ids=list(ids)) for status, ids in by_status.items()]


def around(empty: object) -> tuple[str, str]:
    """The JSON of an answer without objects, before and after the place where they go."""
    before, list_of_objects, after = msgspec.json.encode(empty).decode().partition('"resolved_drs_object":[')
    return before + list_of_objects, after
