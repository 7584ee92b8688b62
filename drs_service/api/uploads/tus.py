"""`/tus`: uploads that survive anything, by tus 1.0.0 (https://tus.io/protocols/resumable-upload)."""

import re
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from typing import Any

from litestar import Response, delete, patch, post, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Schema
from litestar.params import FromPath
from litestar.types import ASGIApp, ExceptionHandlersMap

from drs_service.api.bodies import AnyRequest, body_of, check_whole, content_length, list_header
from drs_service.api.document import header, operation
from drs_service.api.errors import EXCEPTION_HANDLERS as OF_ALL
from drs_service.api.errors import Error
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.api.streaming import Bytes
from drs_service.domain import texts, tus
from drs_service.domain.checksums import Checksum, checksums
from drs_service.domain.media_types import media_type
from drs_service.domain.names import file_name
from drs_service.domain.uploads import Purpose, Upload
from drs_service.errors import EncodingUnsupported, TusInvalid, TusVersionUnsupported
from drs_service.usecases.resuming import Resuming, Sending, Wanted
from drs_service.usecases.turns import Interruption

Handler = Callable[..., Any]

PATH = "/tus/{upload_id:str}"
CHUNK = "application/offset+octet-stream"
NO_STORE = {"cache-control": "no-store"}
RESUMABLE = {"tus-resumable": tus.VERSION}
# What a client calls things in Upload-Metadata: tus-js-client and Uppy, tuspy, and the words of DRS.
NAMES = ("filename", "name")
TYPES = ("filetype", "type", "mime_type")
DIGESTS = ("sha-256", "sha256")
TAG = "tag."

NUMBER = r"^[0-9]{1,18}$"
SPOKEN = header("Tus-Resumable", "1.0.0", pattern=r"^1\.0\.0$", required=True)
CHECKSUM = header(
    "Upload-Checksum",
    "an algorithm and the checksum of the body in base64",
    pattern=r"^(sha1|md5|crc32|sha256|sha-256) [A-Za-z0-9+/]+={0,2}$",
)
BYTES = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
CREATION = operation(
    headers=[
        SPOKEN,
        header("Upload-Length", "bytes of the whole", pattern=NUMBER),
        header("Upload-Defer-Length", "1, if the length will be said later", pattern="^1$"),
        header("Upload-Metadata", "filename, filetype, sha-256, description, tag.KEY: each with a value in base64"),
        header("Upload-Concat", "partial; or final; and the URLs of partial uploads", pattern=r"^(partial|final;\S+)"),
        CHECKSUM,
    ],
    media_type=CHUNK,
    body=BYTES,
)
OF_SENDING = [
    SPOKEN,
    header("Upload-Offset", "where the body belongs: how far the upload has come", pattern=NUMBER),
    header("Upload-Length", "bytes of the whole, if that was not said before", pattern=NUMBER),
    CHECKSUM,
]
SENDING = operation(headers=OF_SENDING, media_type=CHUNK, body=BYTES)
OVERRIDDEN = operation(
    headers=[
        header("X-HTTP-Method-Override", "PATCH or DELETE", pattern="^(PATCH|DELETE)$", required=True),
        *OF_SENDING,
    ],
    media_type=CHUNK,
    body=BYTES,
)
ASKING = operation(headers=[SPOKEN])
REFUSALS = {
    400: ResponseSpec(Error, description="The request is wrong as it stands."),
    408: ResponseSpec(Error, description="No bytes arrived for too long; what came stays."),
    412: ResponseSpec(Error, description="Another version of tus is spoken."),
    413: ResponseSpec(Error, description="More bytes than are to come, or than this service accepts."),
    415: ResponseSpec(Error, description="The body is not of the type application/offset+octet-stream."),
    507: ResponseSpec(Error, description="The storage is full."),
}
OF_ONE = {
    404: ResponseSpec(Error, description="There is no such upload, or none any more."),
    409: ResponseSpec(Error, description="The offset is not where the upload has come to, or nothing can be added."),
    410: ResponseSpec(Error, description="What was sent is no longer there."),
    423: ResponseSpec(Error, description="Another request is sending, and does not let go."),
    460: ResponseSpec(Error, description="The body has not the Upload-Checksum; it was thrown away."),
    **REFUSALS,
}


def routes(resuming: Resuming, urls: PublicUrls, *, idle: float, max_bytes: int) -> list[HTTPRouteHandler]:
    spoken = {
        "tus-version": tus.VERSION,
        "tus-extension": ",".join(tus.EXTENSIONS),
        "tus-max-size": str(max_bytes),
        "tus-checksum-algorithm": ",".join(tus.CHECKSUMS),
    }

    @route("/tus", http_method=[HttpMethod.OPTIONS], status_code=204, summary="Say what of tus is spoken")
    async def options_tus() -> Response[None]:
        return empty(204, {"allow": "OPTIONS, POST", **spoken})

    @route(PATH, http_method=[HttpMethod.OPTIONS], status_code=204, summary="Say what of tus is spoken, of an upload")
    async def options_upload(upload_id: FromPath[str]) -> Response[None]:
        return empty(204, {"allow": "DELETE, HEAD, OPTIONS, PATCH, POST", **spoken})

    @post(
        "/tus",
        status_code=201,
        request_max_body_size=None,
        summary="Begin a resumable upload",
        description="The URL of the upload is in `Location`. A `sha-256` in Upload-Metadata is verified; if an object "
        "that you may read has these bytes already, the upload is complete at once.",
        responses={201: ResponseSpec(None, description="It has begun, and its URL is in Location."), **REFUSALS},
        operation_class=CREATION,
    )
    async def post_tus(request: AnyRequest) -> ASGIApp:
        check_version(request)
        first = sending(request, 0) if has_body(request) else None
        upload = await resuming.create(principal_of(request), wanted(request, urls), first)
        return bare(201, {"location": urls.tus(upload.id), **progress(upload, urls)})

    @route(
        PATH,
        http_method=[HttpMethod.HEAD],
        status_code=200,
        summary="Say how far an upload has come",
        responses={200: ResponseSpec(None, description="It has come to Upload-Offset."), **OF_ONE},
        operation_class=ASKING,
    )
    async def head_tus(upload_id: FromPath[str], request: AnyRequest) -> ASGIApp:
        check_version(request)
        upload = await resuming.settle(upload_id)
        return bare(200, {**progress(upload, urls), **described(upload)})

    @patch(
        PATH,
        status_code=204,
        request_max_body_size=None,
        summary="Go on with an upload",
        responses={204: ResponseSpec(None, description="It has come to Upload-Offset."), **OF_ONE},
        operation_class=SENDING,
    )
    async def patch_tus(upload_id: FromPath[str], request: AnyRequest) -> Response[None]:
        return await go_on(upload_id, request)

    async def go_on(upload_id: str, request: AnyRequest) -> Response[None]:
        check_version(request)
        offset = tus.length(request.headers.get("upload-offset", ""), header="Upload-Offset")
        upload = await resuming.send(upload_id, sending(request, offset))
        return empty(204, progress(upload, urls))

    @delete(
        PATH,
        status_code=204,
        summary="Give an upload up",
        responses={204: ResponseSpec(None, description="It is gone; an object that it became stays."), **OF_ONE},
        operation_class=ASKING,
    )
    async def delete_tus(upload_id: FromPath[str], request: AnyRequest) -> Response[None]:
        return await give_up(upload_id, request)

    async def give_up(upload_id: str, request: AnyRequest) -> Response[None]:
        check_version(request)
        await resuming.terminate(upload_id)
        return empty(204, {})

    @post(
        PATH,
        status_code=204,
        request_max_body_size=None,
        summary="PATCH or DELETE, for those who can only POST",
        description="`X-HTTP-Method-Override` says which.",
        responses={204: ResponseSpec(None, description="As the other method answers."), **OF_ONE},
        operation_class=OVERRIDDEN,
    )
    async def post_override(upload_id: FromPath[str], request: AnyRequest) -> Response[None]:
        match request.headers.get("x-http-method-override", "").upper():
            case "PATCH":
                return await go_on(upload_id, request)
            case "DELETE":
                return await give_up(upload_id, request)
        raise TusInvalid("X-HTTP-Method-Override says which method is meant: PATCH or DELETE.")

    def sending(request: AnyRequest, offset: int) -> Sending:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CHUNK:
            raise EncodingUnsupported(f"The bytes of an upload come as {CHUNK}.")
        check_whole(request)
        interruption = Interruption()
        stated = request.headers.get("upload-length")
        return Sending(
            source=body_of(request, idle=idle, interruption=interruption),
            interruption=interruption,
            offset=offset,
            length=content_length(request),
            total=tus.length(stated, header="Upload-Length") if stated is not None else None,
            expect=expected(request),
        )

    # OPTIONS first: to a path without one the framework adds its own, which then stays.
    return [options_tus, post_tus, options_upload, head_tus, patch_tus, delete_tus, post_override]


def speaking(handler: Handler) -> Handler:
    """The handler of an error, as a part of this protocol."""

    def handle(request: AnyRequest, error: Exception) -> Response[Any]:
        answer: Response[Any] = handler(request, error)
        answer.headers.update(RESUMABLE)
        if isinstance(error, TusVersionUnsupported):
            answer.headers["tus-version"] = tus.VERSION
        return answer

    return handle


EXCEPTION_HANDLERS: ExceptionHandlersMap = {kind: speaking(handle) for kind, handle in OF_ALL.items()}


def check_version(request: AnyRequest) -> None:
    if request.headers.get("tus-resumable") != tus.VERSION:
        raise TusVersionUnsupported


def has_body(request: AnyRequest) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def expected(request: AnyRequest) -> Checksum | None:
    stated = request.headers.get("upload-checksum")
    return tus.checksum(stated) if stated is not None else None


def wanted(request: AnyRequest, urls: PublicUrls) -> Wanted:
    """What is said of the upload. TusInvalid, NameInvalid, MediaTypeInvalid, ChecksumInvalid, TextInvalid."""
    metadata = list_header(request, "upload-metadata")
    values = tus.metadata(metadata or "")
    stated, deferred = (request.headers.get(name) for name in ("upload-length", "upload-defer-length"))
    concat = request.headers.get("upload-concat")
    urls_of_parts = tus.concat(concat) if concat is not None else None
    if deferred not in (None, "1") or (stated is not None and deferred is not None):
        raise TusInvalid("Either Upload-Length is stated, or Upload-Defer-Length is 1.")
    if urls_of_parts is None and stated is None and deferred is None:
        raise TusInvalid("Upload-Length is missing, or Upload-Defer-Length: 1.")
    if urls_of_parts is not None and (stated is not None or deferred is not None):
        raise TusInvalid("A final upload has the length of its parts.")
    name = file_name(first(values, NAMES) or "upload")
    digest = first(values, DIGESTS)
    description = tus.text(values, "description")
    tags = {key.removeprefix(TAG): tus.text(values, key) or "" for key in values if key.startswith(TAG)}
    return Wanted(
        name=name,
        media_type=media_type(first(values, TYPES), name=name.original),
        size=tus.length(stated, header="Upload-Length") if stated is not None else None,
        purpose=Purpose.PART if concat is not None and urls_of_parts is None else Purpose.OBJECT,
        checksums=checksums([("sha-256", digest)]) if digest else (),
        description=texts.text(description, what="description", most=texts.MAX_DESCRIPTION, lines=True)
        if description
        else None,
        tags=texts.tags(tags),
        parts=tuple(part_of(url, urls) for url in urls_of_parts) if urls_of_parts is not None else None,
        metadata=metadata,
        concat=concat,
    )


def first(values: Mapping[str, bytes], keys: tuple[str, ...]) -> str | None:
    return next((tus.text(values, key) for key in keys if values.get(key)), None)


def part_of(url: str, urls: PublicUrls) -> str:
    """The id in the URL of a partial upload; whole, or only its path. TusInvalid."""
    found = re.fullmatch(rf"(?:{re.escape(urls.tus(''))}|/tus/)([A-Za-z0-9_-]+)", url)
    if found is None:
        raise TusInvalid(f"{url} is not the URL of a partial upload.")
    return found[1]


def progress(upload: Upload, urls: PublicUrls) -> dict[str, str]:
    """How far it has come, and until when it is waited for."""
    said = {"upload-offset": str(upload.received), "upload-expires": format_datetime(upload.expires_at, usegmt=True)}
    if upload.object_id is not None:
        said["content-location"] = urls.object(upload.object_id)
    return said


def described(upload: Upload) -> dict[str, str]:
    """What was said of it, as it was said."""
    said = {"upload-defer-length": "1"} if upload.size is None else {"upload-length": str(upload.size)}
    if upload.purpose is Purpose.ANNOUNCED:
        said["upload-metadata"] = tus.written_metadata(
            {"filename": upload.name.original, "filetype": upload.media_type}
        )
    elif upload.metadata:
        said["upload-metadata"] = upload.metadata
    if upload.concat is not None:
        said["upload-concat"] = upload.concat
    return said


def empty(status: int, headers: Mapping[str, str]) -> Response[None]:
    return Response(None, status_code=status, headers={**NO_STORE, **RESUMABLE, **headers})


def bare(status: int, headers: Mapping[str, str]) -> ASGIApp:
    """The same, where the framework would put a null into the body."""
    said = {**NO_STORE, **RESUMABLE, "content-length": "0", **headers}
    return Bytes(status, said)
