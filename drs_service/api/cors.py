"""What a browser must be told before a page of another origin may use the service (WHATWG Fetch, CORS protocol).

            no Origin       origin listed        `*`, not listed          neither
preflight   DRS's own       204, every method    204, methods that read   403
others      go on           go on, readable      go on, readable          go on, not readable

A preflight is an OPTIONS with Origin and Access-Control-Request-Method; every other OPTIONS is DRS's own. Who may
change anything is the guard's business: browsers send some POSTs without asking first.

Cookies mean nothing here, and a token in Authorization is sent by the page itself: so credentials are never allowed.
"""

import re
from collections.abc import Awaitable, Collection
from typing import cast

from litestar.enums import ScopeType
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from drs_service.api.errors import refused
from drs_service.domain.origins import ANY_ORIGIN
from drs_service.errors import Forbidden

Header = tuple[bytes, bytes]

READING = "GET, HEAD, OPTIONS"
EVERY_METHOD = READING + ", POST, PUT, PATCH, DELETE"
HEADER_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
PREFLIGHT_VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
MAX_AGE = "7200"  # seconds; Chromium keeps the answer no longer

# What a script may read of an answer, beyond Content-Type, Cache-Control and their like.
EXPOSED = ", ".join(
    (
        *("Accept-Ranges", "Allow", "Content-Disposition", "Content-Length", "Content-Location", "Content-Range"),
        *("ETag", "Link", "Location", "Repr-Digest", "Retry-After", "WWW-Authenticate"),
        *("Tus-Checksum-Algorithm", "Tus-Extension", "Tus-Max-Size", "Tus-Resumable", "Tus-Version"),
        *("Upload-Complete", "Upload-Concat", "Upload-Defer-Length", "Upload-Expires", "Upload-Length"),
        *("Upload-Limit", "Upload-Metadata", "Upload-Offset"),
    )
)


class Cors:
    """Says of every answer of app who may read it. It stands outside, so that errors can be read as well."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._any = ANY_ORIGIN in origins
        listed = [origin.encode("ascii") for origin in origins if origin != ANY_ORIGIN]
        # With `*` every answer is the same for everybody, those to no origin included: caches may share it.
        self._to_others = readable_by(b"*") if self._any else []
        self._to_listed = {origin: self._to_others or readable_by(origin) for origin in listed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        app = self._app
        origin = origin_of(scope)
        headers = self._to_others if origin is None else self._to_listed.get(origin, self._to_others)
        if origin is not None and is_preflight(scope):
            if headers:
                await self._allowed(scope, origin)(scope, receive, send)
                return
            app = refused(Forbidden("DRS_CORS_ORIGINS does not list the origin of this page."))
        varies = not self._any

        def send_on(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                given = cast(list[Header], message["headers"])
                said = [*(varied(given) if varies else given), *headers]
                message = {"type": message["type"], "status": message["status"], "headers": said}
            return send(message)

        await app(scope, receive, send_on)

    def _allowed(self, scope: HTTPScope, origin: bytes) -> ASGIApp:
        """The answer to a preflight of an origin that may at least read."""
        headers = {
            "access-control-allow-origin": "*" if self._any else origin.decode("ascii"),
            "access-control-allow-methods": EVERY_METHOD if origin in self._to_listed else READING,
            "access-control-max-age": MAX_AGE,
            "vary": PREFLIGHT_VARY,
        }
        # Whatever is asked for is allowed: a header that we do not know does nothing. A `*` would leave out
        # Authorization.
        wanted = dict(scope["headers"]).get(b"access-control-request-headers", b"")
        if HEADER_NAMES.fullmatch(wanted):
            headers["access-control-allow-headers"] = wanted.decode("ascii")
        return ASGIResponse(status_code=204, headers=headers)


def is_preflight(scope: HTTPScope) -> bool:
    """Of a request with an Origin."""
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def readable_by(origin: bytes) -> list[Header]:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED.encode("ascii")),
    ]


def origin_of(scope: HTTPScope) -> bytes | None:
    """The Origin; None without one. Two of them are none that could be listed."""
    origin = None
    for name, value in scope["headers"]:
        if name == b"origin":
            origin = value if origin is None else b""
    return origin


def varied(headers: list[Header]) -> list[Header]:
    """headers, with a Vary that names Origin."""
    for at, (name, value) in enumerate(headers):
        if name.lower() == b"vary":
            names = {one.strip() for one in value.lower().split(b",")}
            if names & {b"*", b"origin"}:
                return headers
            return [*headers[:at], (b"vary", value + b", Origin"), *headers[at + 1 :]]
    return [*headers, (b"vary", b"Origin")]
