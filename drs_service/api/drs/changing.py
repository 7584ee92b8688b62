"""`PUT …/delete`, `PUT …/access-methods`, `PUT …/checksums`, `POST …/tags`: the 1.6 draft's changes of objects."""

from collections.abc import Mapping, Sequence

from litestar import post, put
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from drs_service.api.bodies import AnyRequest
from drs_service.api.drs import shapes
from drs_service.api.drs.objects import PATH, REFUSALS
from drs_service.api.drs.rendering import Rendering
from drs_service.api.drs.requests import check_length
from drs_service.api.drs.writes import (
    AccessMethodsStated,
    AccessMethodUpdateRequest,
    BulkAccessMethodUpdateRequest,
    BulkChecksumAdditionRequest,
    BulkDeleteRequest,
    ChecksumAdditionRequest,
    DeleteRequest,
    TagsRequest,
    access_methods_of,
    checksums_of,
)
from drs_service.api.errors import Error
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.domain import texts
from drs_service.domain.candidates import FromObject
from drs_service.domain.checksums import Checksum
from drs_service.domain.objects import DrsObject, ExternalAccess
from drs_service.errors import AccessMethodInvalid, Rejected
from drs_service.usecases.changing import Changing

CHANGED = {200: ResponseSpec(shapes.DrsObject, description="The object as it is now."), **REFUSALS}
TOO_MANY = {413: ResponseSpec(Error, description="More is asked for than service-info allows at once.")}
ALL_CHANGED = {200: ResponseSpec(shapes.DrsObjects, description="The objects as they are now."), **REFUSALS, **TOO_MANY}
CONFLICT = {409: ResponseSpec(Error, description="There is another checksum of this type, and none ever changes.")}
NO_STORE = {"cache-control": "no-store"}
GONE = {204: ResponseSpec(None, description="It is deleted."), **REFUSALS}


def routes(changing: Changing, rendering: Rendering, urls: PublicUrls, *, most: int) -> list[HTTPRouteHandler]:
    @put(
        PATH + "/delete",
        status_code=204,
        response_headers=NO_STORE,
        summary="Delete an object",
        description="1.6 draft. It answers 410 from then on, with the reason; or 404, with `delete_object_metadata`.",
        responses=GONE,
    )
    async def put_delete(
        object_id: FromPath[str], request: AnyRequest, data: JSONBody[DeleteRequest | None] = None
    ) -> None:
        await delete(request, [object_id], data or DeleteRequest())

    @put(
        "/objects/delete",
        status_code=204,
        response_headers=NO_STORE,
        summary="Delete many objects, all or none",
        description="1.6 draft.",
        responses={**GONE, **TOO_MANY},
    )
    async def put_bulk_delete(request: AnyRequest, data: JSONBody[BulkDeleteRequest]) -> None:
        check_length(len(data.bulk_object_ids), most=most)
        await delete(request, list(dict.fromkeys(data.bulk_object_ids)), data)

    async def delete(request: AnyRequest, object_ids: Sequence[str], data: DeleteRequest) -> None:
        await changing.delete(
            principal_of(request),
            object_ids,
            reason=texts.text(data.reason, what="reason", most=texts.MAX_REASON) if data.reason else None,
            for_good=data.delete_object_metadata,
            bytes_too=data.delete_storage_data,
        )

    @put(
        PATH + "/access-methods",
        summary="Replace the access methods of an object",
        description="1.6 draft. Ours stays as long as the bytes are here, whether it is listed or not.",
        responses=CHANGED,
    )
    async def put_access_methods(
        object_id: FromPath[str], request: AnyRequest, data: JSONBody[AccessMethodUpdateRequest]
    ) -> ASGIApp:
        ways = {object_id: ways_to(object_id, data.access_methods)}
        [changed] = await changing.replace_access(principal_of(request), ways)
        return rendering.changed(changed)

    @put(
        "/objects/access-methods",
        summary="Replace the access methods of many objects, all or none",
        description="1.6 draft.",
        responses=ALL_CHANGED,
    )
    async def put_bulk_access_methods(request: AnyRequest, data: JSONBody[BulkAccessMethodUpdateRequest]) -> ASGIApp:
        check_length(len(data.updates), most=most)
        ways = {one.object_id: ways_to(one.object_id, one.access_methods) for one in data.updates}
        check_once(ways, data.updates)
        return all_changed(await changing.replace_access(principal_of(request), ways))

    @put(
        PATH + "/checksums",
        summary="Add checksums to an object",
        description="1.6 draft. One that is there is never changed.",
        responses={**CHANGED, **CONFLICT},
    )
    async def put_checksums(
        object_id: FromPath[str], request: AnyRequest, data: JSONBody[ChecksumAdditionRequest]
    ) -> ASGIApp:
        stated = {object_id: checksums_of(data.checksums)}
        [changed] = await changing.add_checksums(principal_of(request), stated)
        return rendering.changed(changed)

    @put(
        "/objects/checksums",
        summary="Add checksums to many objects, all or none",
        description="1.6 draft.",
        responses={**ALL_CHANGED, **CONFLICT},
    )
    async def put_bulk_checksums(request: AnyRequest, data: JSONBody[BulkChecksumAdditionRequest]) -> ASGIApp:
        check_length(len(data.additions), most=most)
        stated: Mapping[str, Sequence[Checksum]] = {
            one.object_id: checksums_of(one.checksums) for one in data.additions
        }
        check_once(stated, data.additions)
        return all_changed(await changing.add_checksums(principal_of(request), stated))

    @post(
        PATH + "/tags",
        status_code=200,
        summary="Replace the tags of an object",
        description="1.6 draft.",
        responses=CHANGED,
    )
    async def post_tags(object_id: FromPath[str], request: AnyRequest, data: JSONBody[TagsRequest]) -> ASGIApp:
        changed = await changing.replace_tags(principal_of(request), object_id, texts.tags(data.tags))
        return rendering.changed(changed)

    def ways_to(object_id: str, stated: AccessMethodsStated) -> tuple[ExternalAccess, ...]:
        """Those that are not ours. AccessMethodInvalid for one that is ours, but of another object."""
        ours, external = access_methods_of(stated, urls)
        if any(one != FromObject(object_id) for one in ours):
            raise AccessMethodInvalid("An access method is a URL of this service, but not of this object.")
        return external

    def all_changed(changed: Sequence[DrsObject]) -> ASGIApp:
        bodies = [(one, rendering.body(one)) for one in changed]
        return rendering.many('{"objects":[', bodies, "]}", cache_control="no-store")

    return [
        put_delete,
        put_bulk_delete,
        put_access_methods,
        put_bulk_access_methods,
        put_checksums,
        put_bulk_checksums,
        post_tags,
    ]


def check_once(by_id: Mapping[str, object], stated: Sequence[object]) -> None:
    if len(by_id) < len(stated):
        raise Rejected("An object is named more than once: which of the two is meant?")
