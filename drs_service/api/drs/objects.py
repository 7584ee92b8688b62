"""`/objects/{object_id}`: what an object is, where its bytes are, and who may ask."""

from contextlib import suppress
from typing import Annotated

from litestar import post, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, PathParameter
from litestar.types import ASGIApp

from drs_service.api.answers import Json
from drs_service.api.bodies import AnyRequest
from drs_service.api.document import CONDITIONAL, UNCHANGED
from drs_service.api.drs import shapes
from drs_service.api.drs.rendering import METADATA, Rendering
from drs_service.api.drs.requests import AccessRequest, Expand, ObjectRequest
from drs_service.api.errors import Error
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.errors import ObjectPending
from drs_service.usecases.objects import Objects
from drs_service.usecases.signing import Signing

PATH = "/objects/{object_id:str}"
ACCESS_PATH = PATH + "/access/{access_id:str}"
REFUSALS = {
    400: ResponseSpec(Error, description="The request is wrong as it stands."),
    404: ResponseSpec(Error, description="There is no such object, or none that you may see."),
    410: ResponseSpec(Error, description="The object was deleted."),
}
PENDING = {
    202: ResponseSpec(
        None,
        description="The bytes are still being verified, or brought back from an archive: try again after Retry-After.",
    )
}
OBJECT = {200: ResponseSpec(shapes.DrsObject, description="The object."), **PENDING, **REFUSALS}
PUT_AWAY = ResponseSpec(Error, description="The bytes lie in an archive, and reading does not bring them back.")
ACCESS_URL = {
    200: ResponseSpec(shapes.AccessURL, description="Where the bytes are."),
    409: PUT_AWAY,
    **PENDING,
    **REFUSALS,
}

AccessId = Annotated[str, PathParameter(description="an access_id of the object's access_methods")]


def routes(objects: Objects[Json], rendering: Rendering, urls: PublicUrls, signing: Signing) -> list[HTTPRouteHandler]:
    @route(
        PATH,
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="Describe an object",
        responses={**OBJECT, **UNCHANGED},
        operation_class=CONDITIONAL,
    )
    async def get_object(object_id: FromPath[str], request: AnyRequest, expand: Expand = False) -> ASGIApp:
        known = await objects.get(principal_of(request), object_id)
        return await rendering.one(known, expand=expand)

    @post(PATH, status_code=200, summary="Describe an object, to the bearer of passports", responses=OBJECT)
    async def post_object(object_id: FromPath[str], request: AnyRequest, data: JSONBody[ObjectRequest]) -> ASGIApp:
        known = await objects.get(principal_of(request), object_id)
        return await rendering.one(known, expand=data.expand)

    @route(
        PATH,
        http_method=[HttpMethod.OPTIONS],
        status_code=200,
        summary="Say how to be let in to an object",
        responses={200: ResponseSpec(shapes.Authorizations, description="The ways in."), **REFUSALS},
    )
    async def options_object(object_id: FromPath[str], request: AnyRequest) -> ASGIApp:
        with suppress(ObjectPending):  # who may ask does not hang on the bytes
            await objects.get(principal_of(request), object_id)
        return Json(shapes.authorizations(object_id), cache_control=METADATA)

    async def access(request: AnyRequest, object_id: str, access_id: str) -> ASGIApp:
        known = await objects.get(principal_of(request), object_id)
        begin = request.method != HttpMethod.HEAD
        found = await shapes.access_url(known.object, access_id, urls, signing, begin=begin)
        return Json(found, cache_control="no-store")

    @route(
        ACCESS_PATH,
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="Say where the bytes can be fetched",
        responses=ACCESS_URL,
    )
    async def get_access_url(object_id: FromPath[str], access_id: AccessId, request: AnyRequest) -> ASGIApp:
        return await access(request, object_id, access_id)

    @post(
        ACCESS_PATH,
        status_code=200,
        summary="Say where the bytes can be fetched, to the bearer of passports",
        responses=ACCESS_URL,
    )
    async def post_access_url(
        object_id: FromPath[str], access_id: AccessId, request: AnyRequest, data: JSONBody[AccessRequest]
    ) -> ASGIApp:
        return await access(request, object_id, access_id)

    # OPTIONS first: to a path without one the framework adds its own, which then stays.
    return [options_object, get_object, post_object, get_access_url, post_access_url]
