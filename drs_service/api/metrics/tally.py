"""What one process counts of its requests, at a microsecond a request.

prometheus-client's own histogram would take two to four: it locks, and looks its labels up, for a service that answers
in sixty. Here one thread counts, and nothing waits.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)  # seconds
NO_ROUTE = "(none)"  # what was refused before a route was found: paths of strangers are no labels
WITHOUT_BODY = {"GET", "HEAD", "OPTIONS"}
RECEIVING = {
    (method, route)
    for route in ("/upload", "/upload/{name}", "/uploads/{upload_id}", "/tus", "/tus/{upload_id}")
    for method in ("PUT", "POST", "PATCH")
}
CODE = "error_code"  # under which the state of a request has what was wrong with it


class Durations(msgspec.Struct):
    """Of requests that are alike."""

    route: str
    method: str
    status: int
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """Of those as long as each of the BOUNDS and longer than the one before; the last, longer than all."""
    sum: float = 0.0


class Tally:
    def __init__(self) -> None:
        self.durations: dict[tuple[str, str, int], Durations] = {}
        self.in_flight = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.uploads: Counter[str] = Counter()

    def add(self, route: str, method: str, status: int, seconds: float) -> None:
        key = (route, method, status)
        durations = self.durations.get(key)
        if durations is None:
            durations = self.durations[key] = Durations(route, method, status)
        durations.counts[bisect_left(BOUNDS, seconds)] += 1
        durations.sum += seconds


class Tallied:
    """Counts the requests to app."""

    def __init__(self, app: ASGIApp, tally: Tally) -> None:
        self._app = app
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await self._count(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _count(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        tally = self._tally
        method: str = scope["method"]
        status = 0

        def sending(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.body":
                if method != "HEAD":  # whose body the server drops
                    tally.sent_bytes += len(message["body"])
            elif message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        tally.in_flight += 1
        began = time.perf_counter()
        try:
            await self._app(scope, receive if method in WITHOUT_BODY else self._receiving(receive), sending)
        finally:
            tally.in_flight -= 1
            route = scope.get("path_template") or NO_ROUTE
            tally.add(route, method, status, time.perf_counter() - began)
            if (method, route) in RECEIVING:
                tally.uploads[outcome(scope, status)] += 1

    def _receiving(self, receive: Receive) -> Receive:
        async def receiving() -> HTTPReceiveMessage:
            message = await receive()
            if message["type"] == "http.request":
                self._tally.received_bytes += len(message["body"])
            return message  # type: ignore[return-value]  # of an HTTP scope nothing else comes

        return receiving


def outcome(scope: HTTPScope, status: int) -> str:
    """`ok`, or the code of the error."""
    return "ok" if 200 <= status < 400 else str(scope["state"].get(CODE, "refused"))
