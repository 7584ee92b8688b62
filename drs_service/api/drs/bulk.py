"""`/objects`: many at once. One that is not there is told of; it does not spoil the rest."""

from collections.abc import Iterable, Mapping
from typing import cast

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
from drs_service.api.drs.requests import BulkAccessRequest, BulkObjectRequest, check_length
from drs_service.api.errors import Error, status_of
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.errors import AccessMethodNotFound, ObjectNotFound
from drs_service.usecases.objects import Known, Objects

REFUSALS = {
    400: ResponseSpec(Error, description="The request is wrong as it stands."),
    413: ResponseSpec(Error, description="More is asked for than service-info allows at once."),
}
MAX_ACCESS_IDS = 16  # of one object; the specification bounds only the objects


def routes(objects: Objects[Json], urls: PublicUrls, *, most: int) -> list[HTTPRouteHandler]:
    @post(
        "/objects",
        status_code=200,
        summary="Describe many objects",
        responses={200: ResponseSpec(shapes.BulkObjects, description="Those that there are."), **REFUSALS},
    )
    async def post_objects(request: AnyRequest, data: JSONBody[BulkObjectRequest]) -> ASGIApp:
        found = await lookup(request, data.bulk_object_ids)
        summary, unresolved = account(data.bulk_object_ids, found)
        # They were encoded when they were first asked for.
        bodies = [cast(shapes.DrsObject, msgspec.Raw(known.face.body)) for known in found.values()]
        return bulk(shapes.BulkObjects(summary=summary, unresolved_drs_objects=unresolved, resolved_drs_object=bodies))

    @route(
        "/objects",
        http_method=[HttpMethod.OPTIONS],
        status_code=200,
        summary="Say how to be let in to many objects",
        responses={200: ResponseSpec(shapes.BulkAuthorizations, description="The ways in."), **REFUSALS},
    )
    async def options_objects(request: AnyRequest, data: JSONBody[BulkObjectRequest]) -> ASGIApp:
        found = await lookup(request, data.bulk_object_ids)
        summary, unresolved = account(data.bulk_object_ids, found)
        ways = [shapes.authorizations(object_id) for object_id in found]
        return bulk(
            shapes.BulkAuthorizations(summary=summary, unresolved_drs_objects=unresolved, resolved_drs_object=ways)
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
        pairs = list(
            dict.fromkeys((one.bulk_object_id, access_id) for one in asked for access_id in one.bulk_access_ids)
        )
        resolved = [
            (object_id, access_id)
            for object_id, access_id in pairs
            if object_id in found and access_id == shapes.ACCESS_ID
        ]
        missing = [object_id for object_id, _ in pairs if object_id not in found]
        wrong = [object_id for object_id, access_id in pairs if object_id in found and access_id != shapes.ACCESS_ID]
        return bulk(
            shapes.BulkAccessURLs(
                summary=shapes.Summary(
                    requested=len(pairs), resolved=len(resolved), unresolved=len(pairs) - len(resolved)
                ),
                unresolved_drs_objects=grouped({ObjectNotFound: missing, AccessMethodNotFound: wrong}),
                resolved_drs_object_access_urls=[
                    shapes.BulkAccessURL(
                        drs_object_id=object_id,
                        drs_access_id=access_id,
                        url=shapes.access_url(found[object_id].object, urls).url,
                    )
                    for object_id, access_id in resolved
                ],
            ),
            cache_control="no-store",
        )

    async def lookup(request: AnyRequest, object_ids: list[str]) -> dict[str, Known[Json]]:
        check_length(len(object_ids), most=most)
        found = await objects.get_many(principal_of(request), object_ids)
        return {object_id: found[object_id] for object_id in dict.fromkeys(object_ids) if object_id in found}

    # OPTIONS first: to a path without one the framework adds its own, which then stays.
    return [options_objects, post_objects, post_access]


def account(object_ids: Iterable[str], found: Mapping[str, object]) -> tuple[shapes.Summary, list[shapes.Unresolved]]:
    """The summary and the ids that were not found. An id that was asked for twice counts once."""
    asked = list(dict.fromkeys(object_ids))
    missing = [object_id for object_id in asked if object_id not in found]
    summary = shapes.Summary(requested=len(asked), resolved=len(found), unresolved=len(missing))
    return summary, grouped({ObjectNotFound: missing})


def grouped(failed: Mapping[type[ObjectNotFound | AccessMethodNotFound], list[str]]) -> list[shapes.Unresolved]:
    """One entry per status, as the specification has it, each id once."""
    by_status: dict[int, dict[str, None]] = {}
    for error, object_ids in failed.items():
        by_status.setdefault(status_of(error), {}).update(dict.fromkeys(object_ids))
    return [
        shapes.Unresolved(error_code=status, object_ids=list(object_ids))
        for status, object_ids in by_status.items()
        if object_ids
    ]


def bulk(content: object, *, cache_control: str = "private, no-cache") -> Json:
    return Json(content, cache_control=cache_control)
