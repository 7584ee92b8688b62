"""What one process counts of its requests, at a microsecond or two a request.

prometheus-client's own histogram would take two to three more: it locks, and looks its labels up. Here one thread
counts, and nothing waits.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable
from time import perf_counter

from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Send

BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)  # seconds
NO_ROUTE = "(none)"  # what was refused before a route was found: paths of strangers are no labels
WITHOUT_BODY = {"GET", "HEAD", "OPTIONS"}
RECEIVING = {
    (method, route)
    for route in ("/upload", "/upload/{name}", "/uploads/{upload_id}", "/tus", "/tus/{upload_id}")
    for method in ("PUT", "POST", "PATCH")
}
CODE = "error_code"  # under which the state of a request has what was wrong with it


class Durations:
    """Of requests that are alike."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """Of those as long as each of the BOUNDS and longer than the one before; the last, longer than all."""
        self.sum = 0.0


class Tally:
    def __init__(self) -> None:
        self.durations: dict[tuple[str, str, int], Durations] = {}
        """By route, method and status."""
        self.in_flight = 0
        self.tunnels = 0
        """Of sessions, that end here."""
        self.received_bytes = 0
        self.sent_bytes = 0
        self.uploads: Counter[str] = Counter()

    def took(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request that is over; status 0: the client went away."""
        key = route, method, status
        durations = self.durations.get(key)
        if durations is None:
            durations = self.durations[key] = Durations()
        durations.counts[bisect_left(BOUNDS, seconds)] += 1
        durations.sum += seconds


class Tallied:
    """Counts the requests to app. It may take a microsecond: what could be a function stands in place."""

    def __init__(self, app: ASGIApp, tally: Tally) -> None:
        self._app = app
        self._tally = tally

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        tally = self._tally
        method: str = scope["method"]
        status = 0

        def sending(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body" and method != "HEAD":  # whose body the server drops
                tally.sent_bytes += len(message["body"])
            return send(message)

        tally.in_flight += 1
        has_body = method not in WITHOUT_BODY
        began = perf_counter()
        try:
            await self._app(scope, self._receiving(receive) if has_body else receive, sending)
        finally:
            seconds = perf_counter() - began
            tally.in_flight -= 1
            route = scope.get("path_template", NO_ROUTE)
            tally.took(route, method, status, seconds)
            if has_body and (method, route) in RECEIVING:
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
