"""`/uploads/{upload_id}/parts`: bytes that go past the service, to where they are kept, if that can be."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from drs_service.api.answers import Json
from drs_service.api.bodies import AnyRequest
from drs_service.api.errors import RETRY_AFTER, Error
from drs_service.api.json_requests import strictly
from drs_service.api.public import PublicUrls
from drs_service.api.uploads.progress import Progress, progress
from drs_service.usecases.directing import MOST_URLS, Directing

Number = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class PartsRequest(msgspec.Struct, kw_only=True):
    numbers: Annotated[list[Number], msgspec.Meta(min_length=1, max_length=MOST_URLS)]
    """Of parts, counted from 1."""


class Part(msgspec.Struct, kw_only=True):
    number: int
    size: int
    """Bytes; no other number of them will do."""
    url: str
    """PUT the bytes of the part there, with their number as Content-Length, and no headers of your own."""


class Parts(msgspec.Struct, kw_only=True):
    part_size: int
    """Bytes of every part but the last."""
    count: int
    expires_at: datetime
    """Of the URLs; ask again for others."""
    parts: list[Part]


class PartHere(msgspec.Struct, kw_only=True):
    number: int
    size: int


class PartsHere(msgspec.Struct, kw_only=True):
    part_size: int
    count: int
    parts: list[PartHere]


REFUSALS = {
    404: ResponseSpec(Error, description="There is no such upload, or none any more."),
    409: ResponseSpec(Error, description="It is complete, or came through the service, or parts of it are missing."),
    410: ResponseSpec(Error, description="What was sent is no longer there, or is not what was stated of it."),
    423: ResponseSpec(Error, description="Another request is about it."),
}


def routes(directing: Directing, urls: PublicUrls) -> list[HTTPRouteHandler]:
    @post(
        "/uploads/{upload_id:str}/parts",
        status_code=200,
        summary="Ask where to bring parts of an upload",
        description="PUT each part to its URL, in any order and beside each other; then say that it is complete.",
        responses={200: ResponseSpec(Parts, description="A URL for each."), **REFUSALS},
    )
    async def post_parts(upload_id: FromPath[str], request: AnyRequest, data: JSONBody[PartsRequest]) -> ASGIApp:
        said = await strictly(request, type(data))
        given = await directing.tickets(upload_id, said.numbers)
        parts = [Part(number=one.number, size=one.size, url=one.url) for one in given.tickets]
        cut = given.cut
        answer = Parts(part_size=cut.part_size, count=cut.count, expires_at=given.expires_at, parts=parts)
        return Json(answer, cache_control="no-store")

    @get(
        "/uploads/{upload_id:str}/parts",
        summary="Say which parts of an upload have come",
        responses={200: ResponseSpec(PartsHere, description="Those that have come, in order."), **REFUSALS},
    )
    async def get_parts(upload_id: FromPath[str]) -> ASGIApp:
        cut, here = await directing.there(upload_id)
        parts = [PartHere(number=number, size=size) for number, size in sorted(here.items())]
        return Json(PartsHere(part_size=cut.part_size, count=cut.count, parts=parts), cache_control="no-store")

    @post(
        "/uploads/{upload_id:str}/complete",
        status_code=200,
        summary="Say that all parts of an upload have come",
        description="They are counted, read and verified. May be said again.",
        responses={
            200: ResponseSpec(Progress, description="It is complete."),
            202: ResponseSpec(Progress, description="It is being verified; its object has an id."),
            **REFUSALS,
        },
    )
    async def post_complete(upload_id: FromPath[str]) -> ASGIApp:
        upload = await directing.complete(upload_id)
        later = {"retry-after": RETRY_AFTER} if upload.finishing else {}
        status = 202 if upload.finishing else 200
        return Json(progress(upload, urls, direct=True), status=status, cache_control="no-store", headers=later)

    return [post_parts, get_parts, post_complete]
