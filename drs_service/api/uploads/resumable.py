"""`/tus`: uploads that survive anything. One resource, and two protocols that speak of it: each request says which.

Tus-Resumable                                        tus 1.0.0: tus.py
Upload-Complete, or Upload-Draft-Interop-Version     the draft of the IETF: draft.py
neither                                              412, as tus has it
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from litestar import Request, Response, delete, patch, post, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Schema
from litestar.params import FromPath
from litestar.types import ASGIApp, ExceptionHandlersMap, Message, Receive, Scope, Send

from drs_service.api.bodies import AnyRequest, list_header
from drs_service.api.document import header, operation
from drs_service.api.drs import shapes
from drs_service.api.errors import EXCEPTION_HANDLERS as OF_ALL
from drs_service.api.errors import Error
from drs_service.api.uploads import draft, tus
from drs_service.domain.structured_fields import boolean
from drs_service.domain.tus import VERSION

PATH = "/tus/{upload_id:str}"
RESUMABLE = (b"tus-resumable", VERSION.encode("ascii"))

NUMBER = r"^[0-9]{1,18}$"
DIGEST = r"^sha-256=:[A-Za-z0-9+/]{43}=:$"
SPOKEN = [
    header("Tus-Resumable", "1.0.0; who speaks the draft leaves it out", pattern=r"^1\.0\.0$", required=True),
    header("Upload-Draft-Interop-Version", "of draft-ietf-httpbis-resumable-upload", pattern="^[0-9]+$"),
]
CHECKSUM = header(
    "Upload-Checksum",
    "an algorithm and the checksum of the body in base64",
    pattern=r"^(sha1|md5|crc32|sha256|sha-256) [A-Za-z0-9+/]+={0,2}$",
)
OF_DRAFT = [
    header("Upload-Complete", "of the draft: ?1 if nothing comes behind the body, else ?0", pattern=r"^\?[01]$"),
    header("Content-Digest", "of the draft: sha-256=:…: of the body", pattern=DIGEST),
]
BYTES = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
CREATION = operation(
    headers=[
        *SPOKEN,
        header("Upload-Length", "bytes of the whole", pattern=NUMBER),
        header("Upload-Defer-Length", "1, if the length will be said later", pattern="^1$"),
        header(
            "Upload-Metadata",
            "filename, filetype, sha-256, checksums, description, tag.KEY: values in base64",
        ),
        header("Upload-Concat", "partial; or final; and the URLs of partial uploads", pattern=r"^(partial|final;\S+)"),
        CHECKSUM,
        header("Content-Disposition", "of the draft: inline; and the file's name"),
        header("Repr-Digest", "of the draft: sha-256=:…: of the whole; it is verified", pattern=DIGEST),
        *OF_DRAFT,
    ],
    media_type=tus.CHUNK,
    body=BYTES,
)
OF_SENDING = [
    *SPOKEN,
    header("Upload-Offset", "where the body belongs: how far the upload has come", pattern=NUMBER),
    header("Upload-Length", "bytes of the whole, if that was not said before", pattern=NUMBER),
    CHECKSUM,
]
SENDING = operation(headers=[*OF_SENDING, *OF_DRAFT], media_type=tus.CHUNK, body=BYTES)
OVERRIDDEN = operation(
    headers=[
        header("X-HTTP-Method-Override", "PATCH or DELETE", pattern="^(PATCH|DELETE)$", required=True),
        *OF_SENDING,
    ],
    media_type=tus.CHUNK,
    body=BYTES,
)
ASKING = operation(headers=SPOKEN)
REFUSALS = {
    400: ResponseSpec(Error, description="The request is wrong as it stands."),
    408: ResponseSpec(Error, description="No bytes arrived for too long; what came stays."),
    412: ResponseSpec(Error, description="Neither tus 1.0.0 nor the draft is spoken."),
    413: ResponseSpec(Error, description="More bytes than are to come, or than this service accepts."),
    415: ResponseSpec(Error, description="The body is not of the type that the protocol has for it."),
    423: ResponseSpec(Error, description="Another request is sending or joining, and does not let go."),
    460: ResponseSpec(Error, description="The body has not the checksum stated of it; it was thrown away."),
    429: ResponseSpec(Error, description="Too many uploads at once, or of this owner."),
    507: ResponseSpec(Error, description="The storage is full, or its owner holds enough."),
}
FINISHING = ResponseSpec(None, description="All bytes are here, and are being verified; so says the draft alone.")
OF_SPEAKING = {204: ResponseSpec(None, description="The headers say it.")}
OF_ONE = {
    404: ResponseSpec(Error, description="There is no such upload, or none any more."),
    409: ResponseSpec(Error, description="The offset is not where the upload has come to, or nothing can be added."),
    410: ResponseSpec(Error, description="What was sent is no longer there, or is not what was stated of it."),
    **REFUSALS,
}


class Spoken(Protocol):
    """A protocol of uploads."""

    async def create(self, request: AnyRequest) -> ASGIApp: ...
    async def ask(self, upload_id: str, request: AnyRequest) -> ASGIApp: ...
    async def go_on(self, upload_id: str, request: AnyRequest) -> ASGIApp: ...
    async def give_up(self, upload_id: str, request: AnyRequest) -> Response[None]: ...


def is_draft(request: AnyRequest) -> bool:
    said = request.headers
    if "tus-resumable" in said:
        return False
    return "upload-draft-interop-version" in said or boolean(list_header(request, "upload-complete") or "") is not None


def routes(of_tus: tus.Tus, of_draft: draft.Draft) -> list[HTTPRouteHandler]:
    def spoken(request: AnyRequest) -> Spoken:
        return of_draft if is_draft(request) else of_tus

    offered = {"cache-control": "no-store", **of_tus.options(), **of_draft.options()}

    @route(
        "/tus",
        http_method=[HttpMethod.OPTIONS],
        status_code=204,
        summary="Say what of the protocols is spoken",
        responses=OF_SPEAKING,
    )
    async def options_tus() -> Response[None]:
        return Response(None, status_code=204, headers={"allow": "OPTIONS, POST", **offered})

    @route(
        PATH,
        http_method=[HttpMethod.OPTIONS],
        status_code=204,
        summary="Say the same of an upload",
        responses=OF_SPEAKING,
    )
    async def options_upload(upload_id: FromPath[str]) -> Response[None]:
        return Response(None, status_code=204, headers={"allow": "DELETE, HEAD, OPTIONS, PATCH, POST", **offered})

    @post(
        "/tus",
        status_code=201,
        request_max_body_size=None,
        summary="Begin a resumable upload",
        description="The URL of the upload is in `Location`. A `sha-256` in Upload-Metadata, or a Repr-Digest, is "
        "verified; if an object that you may read has these bytes already, the upload is complete at once.",
        responses={
            200: ResponseSpec(shapes.DrsObject, description="It is complete; so says the draft alone."),
            201: ResponseSpec(None, description="It has begun, and its URL is in Location."),
            202: FINISHING,
            **REFUSALS,
        },
        operation_class=CREATION,
    )
    async def post_tus(request: AnyRequest) -> ASGIApp:
        return await spoken(request).create(request)

    @route(
        PATH,
        http_method=[HttpMethod.HEAD],
        status_code=200,
        summary="Say how far an upload has come",
        responses={
            200: ResponseSpec(None, description="It has come to Upload-Offset."),
            204: ResponseSpec(None, description="The same in the draft."),
            **OF_ONE,
        },
        operation_class=ASKING,
    )
    async def head_tus(upload_id: FromPath[str], request: AnyRequest) -> ASGIApp:
        return await spoken(request).ask(upload_id, request)

    @patch(
        PATH,
        status_code=200,
        request_max_body_size=None,
        summary="Go on with an upload",
        responses={
            200: ResponseSpec(shapes.DrsObject, description="It is complete; so says the draft alone."),
            202: FINISHING,
            204: ResponseSpec(None, description="It has come to Upload-Offset."),
            **OF_ONE,
        },
        operation_class=SENDING,
    )
    async def patch_tus(upload_id: FromPath[str], request: AnyRequest) -> ASGIApp:
        return await spoken(request).go_on(upload_id, request)

    @delete(
        PATH,
        status_code=204,
        summary="Give an upload up",
        responses={204: ResponseSpec(None, description="It is gone; an object that it became stays."), **OF_ONE},
        operation_class=ASKING,
    )
    async def delete_tus(upload_id: FromPath[str], request: AnyRequest) -> Response[None]:
        return await spoken(request).give_up(upload_id, request)

    @post(
        PATH,
        status_code=204,
        request_max_body_size=None,
        summary="PATCH or DELETE of tus, for those who can only POST",
        description="`X-HTTP-Method-Override` says which.",
        responses={204: ResponseSpec(None, description="As the other method answers."), **OF_ONE},
        operation_class=OVERRIDDEN,
    )
    async def post_override(upload_id: FromPath[str], request: AnyRequest) -> Response[None]:
        return await of_tus.overridden(upload_id, request)

    # OPTIONS first: to a path without one the framework adds its own, which then stays.
    return [options_tus, post_tus, options_upload, head_tus, patch_tus, delete_tus, post_override]


class Speaking:
    """Says of every answer at `/tus` that tus is spoken, unless it was to the draft: of those too that no route gave.

    tus 1.0.0: Tus-Resumable "MUST be included in every request and response", but for OPTIONS.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if (scope["path"] == "/tus" or scope["path"].startswith("/tus/")) and not is_draft(Request(scope)):
            send = self._saying(send)
        return self._app(scope, receive, send)

    def _saying(self, send: Send) -> Send:
        def saying(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                given = [(name, value) for name, value in message["headers"] if name.lower() != RESUMABLE[0]]
                message = {**message, "headers": [*given, RESUMABLE]}
            return send(message)

        return saying


def exception_handlers(of_draft: draft.Draft) -> ExceptionHandlersMap:
    """Those of all routes, answering in the protocol of the request."""

    def speaking(handler: Callable[..., Any]) -> Callable[..., Any]:
        def handle(request: AnyRequest, error: Exception) -> Response[Any]:
            answer: Response[Any] = handler(request, error)
            return of_draft.refusal(answer, error) if is_draft(request) else tus.refusal(answer, error)

        return handle

    return {kind: speaking(handle) for kind, handle in OF_ALL.items()}
