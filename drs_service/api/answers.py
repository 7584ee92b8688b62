"""JSON answers: with an entity tag where they are read again, and compressed where that pays."""

import asyncio
import hashlib
import re
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import msgspec
from litestar.types import Receive, Scope, Send

from drs_service.api.streaming import send_all, send_end
from drs_service.domain.conditions import if_none_match_holds

COMPRESS_FROM = 4096  # bytes: below that it saves no packet
INLINE_UP_TO = 64 * 1024  # bytes compressed on the event loop; more goes to a thread
LEVEL = 5
GZIP = 16 + zlib.MAX_WBITS  # zlib's way of saying gzip

Header = tuple[bytes, bytes]
VARY: Header = (b"vary", b"accept-encoding")


class Json:
    """An answer with a JSON body. It may be given as often as it is asked for.

    cached: it is the same for everybody and answers a GET; then it has a strong ETag, and If-None-Match is honoured.
    """

    def __init__(
        self,
        content: object,
        *,
        status: int = 200,
        cache_control: str,
        cached: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.body = msgspec.json.encode(content)
        self._status = status
        self._cache_control = cache_control
        self._cached = cached
        self._more_headers = headers
        self._said: tuple[list[Header], str | None] | None = None

    def _head(self) -> tuple[list[Header], str | None]:
        """Headers and tag, made when they are first asked for: of many answers only the body is ever used."""
        if self._said is None:
            headers = headers_of(self._cache_control, self._more_headers)
            if len(self.body) >= COMPRESS_FROM:
                headers.append(VARY)
            self._said = headers, hashlib.sha256(self.body).hexdigest()[:32] if self._cached else None
        return self._said

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if_none_match, accept_encoding = conditions_of(scope)
        body, coding = self.body, ""
        if len(body) >= COMPRESS_FROM and accepts_gzip(accept_encoding):
            body, coding = await compressed(body), "gzip"
        said, tag = self._head()
        headers = list(said)
        status = self._status
        if tag is not None:
            # RFC 9110 8.8.3.3: a coding makes another representation, with a tag of its own.
            etag = f'"{tag}{coding and "-" + coding}"'
            headers.append((b"etag", etag.encode("ascii")))
            # RFC 9110 13.1.2: only a GET or HEAD is answered so; the POST twins share this answer.
            if scope.get("method") in {"GET", "HEAD"} and not if_none_match_holds(if_none_match, etag):
                status, body, coding = 304, b"", ""
                del headers[0]  # RFC 9110 15.4.5: nothing is said of content that is not sent
        if coding:
            headers.append((b"content-encoding", b"gzip"))
        if status != 304:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


class StreamedJson:
    """An answer with a JSON body that is not held whole if it is long: pieces make it, once.

    tag: what its ETag is made of, if there is to be one; its pieces follow from it.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        *,
        status: int = 200,
        cache_control: str,
        tag: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._pieces = pieces
        self._status = status
        self._tag = hashlib.sha256(tag).hexdigest()[:32] if tag is not None else None
        self._headers = [*headers_of(cache_control, headers), VARY]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces) as pieces:
            if_none_match, accept_encoding = conditions_of(scope)
            coding = "gzip" if accepts_gzip(accept_encoding) else ""
            method = scope.get("method")
            status, headers = self._status, list(self._headers)
            if self._tag is not None:
                etag = f'"{self._tag}{coding and "-" + coding}"'
                headers.append((b"etag", etag.encode("ascii")))
                if method in {"GET", "HEAD"} and not if_none_match_holds(if_none_match, etag):
                    status, coding = 304, ""
                    del headers[0]
            if coding:
                headers.append((b"content-encoding", b"gzip"))
            if status == 304 or method == "HEAD":
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send_end(send)
            else:
                # What cannot be begun is still an error answer, and what is short has a length.
                start = bytearray()
                async for piece in pieces:
                    start += piece
                    if len(start) >= INLINE_UP_TO:
                        await send({"type": "http.response.start", "status": status, "headers": headers})
                        whole = gathered(bytes(start), pieces)
                        await send_all(gzipped(whole) if coding else whole, receive, send)
                        return
                body = gzip(bytes(start)) if coding else bytes(start)
                headers.append((b"content-length", b"%d" % len(body)))
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": body, "more_body": False})


def headers_of(cache_control: str, more: Mapping[str, str] | None) -> list[Header]:
    return [
        (b"content-type", b"application/json"),
        (b"cache-control", cache_control.encode("ascii")),
        *((name.encode("ascii"), value.encode("latin-1")) for name, value in (more or {}).items()),
    ]


async def gathered(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The pieces in larger ones; the first at once."""
    yield first
    buffer = bytearray()
    async for piece in rest:
        buffer += piece
        if len(buffer) >= INLINE_UP_TO:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


async def gzipped(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The pieces compressed, the first of them without waiting for more."""
    compressor = zlib.compressobj(LEVEL, wbits=GZIP)
    flushed = False
    async for piece in pieces:
        out = await asyncio.to_thread(compressor.compress, piece) if flushed else compressor.compress(piece)
        if not flushed:
            out += compressor.flush(zlib.Z_SYNC_FLUSH)
            flushed = True
        if out:
            yield out
    yield compressor.flush()


def conditions_of(scope: Scope) -> tuple[str | None, str]:
    """If-None-Match and Accept-Encoding, without building an object for all headers: this is the hottest path."""
    if_none_match = None
    accept_encoding = ""
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            if_none_match = value.decode("latin-1")
        elif name == b"accept-encoding":
            accept_encoding = value.decode("latin-1")
    return if_none_match, accept_encoding


def accepts_gzip(accept_encoding: str) -> bool:
    """RFC 9110 12.5.3: gzip, or whatever comes, with a weight above 0."""
    weights = {}
    for member in accept_encoding.lower().split(","):
        coding, _, parameters = member.strip().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", parameters)
        weights[coding.strip()] = float(weight[1]) if weight else 1.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0


async def compressed(body: bytes) -> bytes:
    return gzip(body) if len(body) <= INLINE_UP_TO else await asyncio.to_thread(gzip, body)


def gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(LEVEL, wbits=GZIP)
    return compressor.compress(body) + compressor.flush()
