"""`POST /upload-request` and `POST /objects/register`: the 1.6 draft's way of adding objects."""

import hashlib
import re
from typing import Annotated

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import HeaderParameter, JSONBody
from litestar.types import ASGIApp

from drs_service.api.answers import Json
from drs_service.api.bodies import AnyRequest
from drs_service.api.drs import shapes
from drs_service.api.drs.rendering import Rendering
from drs_service.api.drs.requests import check_length
from drs_service.api.drs.writes import DrsObjectCandidate, RegisterRequest, UploadRequest, announcement, candidate
from drs_service.api.errors import Error
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.domain.candidates import Candidate
from drs_service.errors import DrsServiceError, IdempotencyKeyInvalid
from drs_service.usecases.announcing import Announcing
from drs_service.usecases.registering import IdempotencyKey, Registering

MAX_BODY = 16 * 1024**2  # bytes: a bundle of 100,000 members has some 10 MB
REFUSALS = {
    400: ResponseSpec(Error, description="The request is wrong as it stands; nothing was stored."),
    413: ResponseSpec(Error, description="More is asked for than service-info allows at once; nothing was stored."),
    507: ResponseSpec(Error, description="The owner or the space holds as many bytes as it may; nothing was stored."),
}
REPEATED = {
    404: ResponseSpec(Error, description="What was registered with the Idempotency-Key is there no more."),
    410: ResponseSpec(Error, description="What was registered with the Idempotency-Key was deleted."),
    422: ResponseSpec(Error, description="The Idempotency-Key was used for another request."),
}


def routes(
    registering: Registering, announcing: Announcing, rendering: Rendering, urls: PublicUrls, *, most: int
) -> list[HTTPRouteHandler]:
    @post(
        "/upload-request",
        status_code=200,
        summary="Ask for places to upload files to",
        description="1.6 draft. Send the bytes to `upload_details.post_url`, then register `access_url`.",
        responses={
            200: ResponseSpec(shapes.UploadResponse, description="One for each file, in order."),
            429: ResponseSpec(Error, description="There are too many unfinished uploads, or requests, of this owner."),
            **REFUSALS,
        },
    )
    async def post_upload_request(request: AnyRequest, data: JSONBody[UploadRequest]) -> ASGIApp:
        check_length(len(data.requests), most=most)
        announced = [announcement(one) for one in data.requests]
        uploads = await announcing.announce(principal_of(request), announced)
        responses = [shapes.upload_response(one, urls) for one in uploads]
        return Json(shapes.UploadResponse(responses=responses), cache_control="no-store")

    @post(
        "/objects/register",
        status_code=201,
        request_max_body_size=MAX_BODY,
        summary="Register objects, all or none",
        description="1.6 draft. A candidate refers to an upload or an object of ours by its URL, to bytes by their "
        "sha-256, to bytes elsewhere by its access methods, or to members by its contents.",
        responses={
            201: ResponseSpec(shapes.DrsObjects, description="The objects, in the order of the candidates."),
            **REFUSALS,
            **REPEATED,
        },
    )
    async def post_register(
        request: AnyRequest,
        data: JSONBody[RegisterRequest],
        idempotency_key: Annotated[
            str | None,
            HeaderParameter(name="Idempotency-Key", description="the same request with the same key is done once"),
        ] = None,
    ) -> ASGIApp:
        check_length(len(data.candidates), most=most)
        key = key_of(idempotency_key, await request.body())
        candidates = [numbered(number, one, urls) for number, one in enumerate(data.candidates)]
        registered = await registering.register(principal_of(request), candidates, key)
        headers = {"location": urls.object(registered[0].id)} if len(registered) == 1 else {}
        bodies = [(one, rendering.body(one)) for one in registered]
        return rendering.many('{"objects":[', bodies, "]}", status=201, cache_control="no-store", headers=headers)

    return [post_upload_request, post_register]


def numbered(number: int, stated: DrsObjectCandidate, urls: PublicUrls) -> Candidate:
    """The candidate; what is wrong with it says which it is."""
    try:
        return candidate(stated, urls)
    except DrsServiceError as error:
        raise type(error)(f"Candidate {number}: {error}", **error.facts) from error


def key_of(text: str | None, body: bytes) -> IdempotencyKey | None:
    """draft-ietf-httpapi-idempotency-key-header-07 2.1: the value is a string of RFC 9651; a bare one is taken too."""
    if text is None:
        return None
    key = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if not re.fullmatch(r"[!-~]{1,255}", key):
        raise IdempotencyKeyInvalid
    return IdempotencyKey(key, hashlib.sha256(body).digest())
