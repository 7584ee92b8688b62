"""`/objects`: what an object is, and where its bytes are."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, PathParameter
from litestar.response.base import ASGIResponse

from drs_service.api.drs import shapes
from drs_service.api.errors import Error
from drs_service.api.public import PublicUrls
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.objects import DrsObject
from drs_service.errors import AccessMethodNotFound
from drs_service.usecases.objects import Objects

NOT_FOUND = {404: ResponseSpec(Error, description="There is no such object, or none that you may see.")}


def face(drs_object: DrsObject, urls: PublicUrls) -> ASGIResponse:
    """The answer to a GET of the object. It is made once and given as often as it is asked for."""
    return ASGIResponse(
        body=msgspec.json.encode(shapes.shape(drs_object, urls)),
        media_type="application/json",
        headers={"cache-control": "private, no-cache"},
    )


def routes(objects: Objects[ASGIResponse], urls: PublicUrls) -> list[HTTPRouteHandler]:
    @get(
        "/objects/{object_id:str}",
        summary="Describe an object",
        responses={200: ResponseSpec(shapes.DrsObject, description="The object."), **NOT_FOUND},
    )
    async def get_object(object_id: FromPath[str]) -> ASGIResponse:
        return (await objects.get(ANONYMOUS, object_id)).face

    @get(
        "/objects/{object_id:str}/access/{access_id:str}",
        summary="Say where the bytes can be fetched",
        responses=NOT_FOUND,
    )
    async def get_access_url(
        object_id: FromPath[str], access_id: Annotated[str, PathParameter(description="from access_methods")]
    ) -> shapes.AccessURL:
        known = await objects.get(ANONYMOUS, object_id)
        if access_id != shapes.ACCESS_ID:
            raise AccessMethodNotFound
        return shapes.access_url(known.object, urls)

    return [get_object, get_access_url]
