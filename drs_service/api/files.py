"""`/data/{object_id}`: the bytes, with RFC 9110's conditions and ranges."""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath
from litestar.types import ASGIApp

from drs_service.api.answers import Json
from drs_service.api.archives import ARCHIVE_REFUSALS, ArchiveAnswers, Format
from drs_service.api.bodies import AnyRequest, list_header
from drs_service.api.document import IF_NONE_MATCH, UNCHANGED, header, operation
from drs_service.api.drs.objects import PENDING, REFUSALS
from drs_service.api.errors import Error
from drs_service.api.principals import principal_of
from drs_service.api.streaming import Bytes, Headers
from drs_service.blobs.driver import Buffer
from drs_service.domain.conditions import Verdict, evaluate, if_range_holds
from drs_service.domain.digest_fields import repr_digest
from drs_service.domain.media_types import UNKNOWN
from drs_service.domain.names import FileName, content_disposition
from drs_service.domain.objects import DrsObject, Kind
from drs_service.domain.ranges import ByteRange, parse_ranges
from drs_service.usecases.downloads import Downloads, blob_of
from drs_service.usecases.objects import Objects
from drs_service.usecases.signing import Signing

CONDITIONS = operation(
    headers=[
        header("Range", "The bytes that are wanted, such as bytes=0-99 or bytes=0-0,-1."),
        header("If-Range", "An ETag: Range counts only while it holds."),
        header("If-Match", "What the client has; a 412 says that it is another."),
        IF_NONE_MATCH,
    ]
)
ANSWERS = {
    200: ResponseSpec(bytes, description="The bytes.", media_type="*/*"),
    206: ResponseSpec(bytes, description="The ranges of them that were asked for.", media_type="*/*"),
    302: ResponseSpec(None, description="The bytes are fetched there, for a while, with the same Range."),
    412: ResponseSpec(Error, description="The bytes are not those of If-Match."),
    416: ResponseSpec(Error, description="None of the ranges lies within the bytes, or they are too many."),
    502: ResponseSpec(Error, description="The stored bytes are not those of their digest."),
    **ARCHIVE_REFUSALS,
    **UNCHANGED,
    **PENDING,
    **REFUSALS,
}


def routes(
    objects: Objects[Json], downloads: Downloads, signing: Signing, archives: ArchiveAnswers
) -> list[HTTPRouteHandler]:
    @route(
        "/data/{object_id:str}",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="Fetch the bytes of an object",
        description="Ranges (one or several), If-Range, If-Match and If-None-Match are honoured; the ETag is strong. "
        "A bundle is sent as an archive of all its files, without ranges.",
        media_type="application/octet-stream",
        responses=ANSWERS,
        operation_class=CONDITIONS,
    )
    async def get_data(object_id: FromPath[str], request: AnyRequest, format: Format = None) -> ASGIApp:
        drs_object = (await objects.get(principal_of(request), object_id)).object
        if drs_object.kind is Kind.BUNDLE:
            return await archives.answer(request, drs_object, format)
        headers = headers_of(drs_object)
        if_match, if_none_match = (list_header(request, name) for name in ("if-match", "if-none-match"))
        verdict = evaluate(headers["etag"], if_match=if_match, if_none_match=if_none_match)
        if verdict is Verdict.NOT_MODIFIED:
            return Bytes(304, without_content(headers))
        is_head = request.method == HttpMethod.HEAD
        await downloads.ready([drs_object], begin=not is_head)
        if is_head:
            return Bytes(200, headers | {"content-length": str(blob_of(drs_object).size)})
        if (elsewhere := await signing.redirection(drs_object)) is not None:
            return Bytes(302, {"location": elsewhere, "cache-control": "no-store", "content-length": "0"})
        # RFC 9110 14.2: Range is defined for GET alone.
        wanted = (
            request.headers.get("range") if if_range_holds(request.headers.get("if-range"), headers["etag"]) else None
        )
        return await answer(drs_object, parse_ranges(wanted, blob_of(drs_object).size), headers, downloads)

    return [get_data]


def headers_of(drs_object: DrsObject) -> Headers:
    """What is said of the representation, whatever part of it is sent."""
    digest = blob_of(drs_object).digest
    return {
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=86400, immutable",
        "content-disposition": content_disposition(FileName(drs_object.file_name, drs_object.name)),
        # Whatever was uploaded runs nothing here: a browser saves it, guesses nothing, and gives it no origin.
        "content-security-policy": "default-src 'none'; sandbox",
        "content-type": drs_object.media_type or UNKNOWN,
        "etag": f'"{digest.hex}"',
        "repr-digest": repr_digest(digest),
        "x-content-type-options": "nosniff",
    }


def without_content(headers: Headers) -> Headers:
    """RFC 9110 15.4.5: a 304 says what a cache needs, and nothing of the content."""
    return {name: headers[name] for name in ("cache-control", "etag")}


async def answer(
    drs_object: DrsObject, ranges: Sequence[ByteRange] | None, headers: Headers, downloads: Downloads
) -> ASGIApp:
    """The whole (None), one range, or several; begun, so that what cannot be read is still an error answer."""
    size = blob_of(drs_object).size
    if ranges is None:
        whole = await downloads.open(drs_object, ByteRange(0, size))
        return Bytes(200, headers | {"content-length": str(size)}, whole)
    if len(ranges) == 1:
        [span] = ranges
        partial = {"content-length": str(span.length), "content-range": span.content_range(size)}
        return Bytes(206, headers | partial, await downloads.open(drs_object, span))
    parts = Multipart(drs_object, ranges)
    partial = {"content-length": str(parts.length), "content-type": parts.content_type}
    return Bytes(206, headers | partial, parts.stream(downloads, await downloads.open(drs_object, ranges[0])))


class Multipart:
    """Several ranges in one answer, as multipart/byteranges (RFC 9110 14.6)."""

    def __init__(self, drs_object: DrsObject, ranges: Sequence[ByteRange]) -> None:
        boundary = secrets.token_hex(16)
        size = blob_of(drs_object).size
        self._object = drs_object
        self._ranges = ranges
        self._heads = [
            f"\r\n--{boundary}\r\ncontent-type: {drs_object.media_type}\r\n"
            f"content-range: {span.content_range(size)}\r\n\r\n".encode("latin-1")
            for span in ranges
        ]
        self._end = f"\r\n--{boundary}--\r\n".encode("ascii")
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        self.length = sum(map(len, self._heads)) + sum(span.length for span in ranges) + len(self._end)

    async def stream(self, downloads: Downloads, first: AsyncGenerator[Buffer, None]) -> AsyncGenerator[Buffer, None]:
        for head, span in zip(self._heads, self._ranges, strict=True):
            part = first if span is self._ranges[0] else await downloads.open(self._object, span)
            yield head
            async with aclosing(part):
                async for piece in part:
                    yield piece
        yield self._end
