"""A service that is open to whoever reaches it must not be reached through somebody's browser.

Loopback keeps other machines out, not the pages of other sites: a page can send forms to 127.0.0.1, and by making its
own name resolve to 127.0.0.1 (DNS rebinding) it can read answers too. So a request must name a host that is ours, and
what changes anything must not come from a page of another origin, unless the operator has listed that origin.
"""

import ipaddress
from collections.abc import Awaitable, Collection, Sequence
from urllib.parse import urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from drs_service.api.errors import refused
from drs_service.domain.origins import ANY_ORIGIN
from drs_service.errors import DrsServiceError, Forbidden, HostUnknown, RouteNotFound

SAFE = {"GET", "HEAD", "OPTIONS"}


def hides_a_slash(scope: HTTPScope, paths: tuple[bytes, ...]) -> bool:
    """Whether a slash is percent-encoded in a path of DRS: no id has one, and none may become a border of the path."""
    path = scope["raw_path"]
    return b"%" in path and path.startswith(paths) and b"%2f" in path.lower()


class Visitors:
    """Tells requests that are meant for us from others."""

    def __init__(self, *, hostname: str, origins: Collection[str]) -> None:
        # `*` is left out: it lets every page read, and no page write.
        self._trusted = {origin.encode("ascii") for origin in origins if origin != ANY_ORIGIN}
        self._ours = {"localhost", hostname.lower()}
        self._known: set[bytes] = set()  # Host fields that were found to be ours; few, for all but an attacker

    def refusal(self, method: str, hosts: Sequence[bytes], origins: Sequence[bytes]) -> DrsServiceError | None:
        """Why a request is not meant for us; None if it is. hosts, origins: all fields of these names."""
        if len(hosts) != 1 or not (hosts[0] in self._known or self._is_ours(hosts[0])):
            return HostUnknown()
        if method in SAFE or all(origin in self._trusted or self._is_our_page(origin) for origin in origins):
            return None
        return Forbidden("A page of another origin may only GET here, unless DRS_CORS_ORIGINS lists it.")

    def _is_ours(self, host: bytes) -> bool:
        if not self._names_us(host.decode("latin-1")):
            return False
        if len(self._known) < 100:
            self._known.add(host)
        return True

    def _is_our_page(self, origin: bytes) -> bool:
        return self._names_us(origin.decode("latin-1").partition("://")[2])

    def _names_us(self, authority: str) -> bool:
        try:
            hostname = urlsplit(f"//{authority}").hostname or ""
            return hostname in self._ours or ipaddress.ip_address(hostname).is_loopback
        except ValueError:
            return False


class Guard:
    """Lets requests through to app that are meant for us."""

    def __init__(self, app: ASGIApp, visitors: Visitors, *, drs_paths: Collection[str]) -> None:
        self._app = app
        self._visitors = visitors
        self._without_slashes = tuple(path.encode("ascii") + b"/" for path in drs_paths)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        app = self._app
        if scope["type"] == ScopeType.HTTP:
            app = self._examine(scope) or app
        return app(scope, receive, send)

    def _examine(self, scope: HTTPScope) -> ASGIApp | None:
        """The answer to a request that is not meant for us; None if it is."""
        headers = scope["headers"]
        refusal = self._visitors.refusal(
            scope["method"],
            [value for name, value in headers if name == b"host"],
            [value for name, value in headers if name == b"origin"],
        )
        if refusal is None and hides_a_slash(scope, self._without_slashes):
            refusal = RouteNotFound()
        return refused(refusal) if refusal is not None else None
