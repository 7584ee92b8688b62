"""A request to the app of a session, and its answer."""

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from drs_service.api.errors import told
from drs_service.errors import (
    BodyTooLarge,
    DrsServiceError,
    TargetBroken,
    TargetTimeout,
    TargetUnreachable,
    TooManyStreams,
    TunnelAbsent,
    TunnelLost,
)
from drs_service.gateway.answering import Answer, AnswerBroken
from drs_service.tunnel import heads
from drs_service.tunnel.frames import Buffer, Code, Headers, is_final
from drs_service.tunnel.link import Link

if TYPE_CHECKING:
    from drs_service.gateway.caller import Caller
    from drs_service.gateway.gateway import Gateway

log = structlog.get_logger()

ROUTE = "/socket/{session_id}"  # under which requests are counted
RETRY_AFTER = b"2"  # seconds: an agent that lost its connection has another one soon
ENDINGS: dict[int, type[DrsServiceError]] = {
    Code.UNREACHABLE: TargetUnreachable,
    Code.BROKEN: TargetBroken,
    Code.TIMEOUT: TargetTimeout,
    Code.REFUSED: TunnelAbsent,
    Code.LOST: TunnelLost,
    Code.CROWDED: TooManyStreams,
}


class Fields(msgspec.Struct, kw_only=True):
    """The fields of a request, and what they say to us."""

    headers: Headers
    hosts: list[bytes]
    origins: list[bytes]
    cookies: list[bytes]
    bearer: bytes | None
    length: int
    """Bytes of the body; 0 if that is not said."""
    has_body: bool
    asks_for_websocket: bool
    is_coded: bool
    """Its body is coded for the transfer in more ways than in chunks: only these are undone here."""
    came_through: bool
    """Through a proxy."""
    for_app: tuple[str, bytes | None, Headers] | None = None
    """What the app gets of them, for a session and the secret that it does not get."""


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The head of a request."""

    method: bytes
    session_id: str
    target: bytes
    fields: Fields
    secrets: list[bytes]
    """That may open the session; the bearer token is one of them."""
    upgrades: bool
    http_1_1: bool
    keep_alive: bool


class Exchange:
    """Takes a request from a caller piece by piece and gives it the answer. It ends by itself."""

    def __init__(self, gateway: "Gateway", caller: "Caller", request: Request) -> None:
        self.is_over = False
        """The answer is whole, or will never be."""
        self.is_switched = False
        """What comes from the caller is not HTTP any more."""
        self.has_all = not request.fields.has_body and not request.upgrades
        """The caller has sent everything."""
        self.waits = False
        """The app has had all of the request, and not begun to answer."""
        self.has_moved = False
        """Something has come or gone since somebody set this to False."""
        self.moved_at = self._began = gateway.now()
        """When something came or went, as far as somebody has looked."""
        self._gateway = gateway
        self._caller = caller
        self._request = request
        # What follows a request to switch is perhaps not HTTP: there is no second one.
        self._answer = Answer(
            method=request.method,
            http_1_1=request.http_1_1,
            keep_alive=request.keep_alive and not request.upgrades and not gateway.is_draining,
        )
        self._is_answered = False  # a final head has gone out
        self._link: Link | None = None
        self._stream = 0
        self._early: list[Buffer] = []  # bytes that came before there was a stream
        self._trailers: Headers = []
        self._came = 0  # bytes of the body
        self._owed = 0  # bytes that are written, and not consumed for the caller is slow
        self._finding: asyncio.Task[None] | None = None
        self._status = 0
        gateway.tally.in_flight += 1

    def begin(self) -> None:
        link = self._gateway.ways.ready(self._request.session_id, self._request.secrets)
        if link is not None and link.has_room(self._request.session_id):
            self._go(link)
        else:
            self._caller.pause_reading()
            self._finding = asyncio.create_task(self._find())

    async def _find(self, *, refused: bool = False) -> None:
        request = self._request
        try:
            link = await self._gateway.ways.find(
                request.session_id, request.secrets, since=self._began, refused=refused
            )
        except DrsServiceError as error:
            self.fail(error)
            return
        except Exception:  # whoever asked is to have an answer
            log.exception("the way to a session was not found")
            self.fail(DrsServiceError())
            return
        self._finding = None
        if not link.has_room(request.session_id):
            self.fail(TooManyStreams())
        elif not self.is_over:
            self._go(link)
            if not request.upgrades:  # else it waits for the app
                self._caller.resume_reading()

    def _go(self, link: Link) -> None:
        request = self._request
        headers = self._for_app()
        whole = self.has_all and not self._early
        self._link = link
        self.has_moved = True
        try:
            self._stream = link.open(
                self,
                request.method,
                request.target,
                headers,
                protocol="websocket" if request.upgrades else "http",
                session=request.session_id,
                end=whole and not request.upgrades,
            )
        except ValueError:
            self._link = None
            self.fail(self._gateway.head_too_large())
            return
        if self.has_all or request.upgrades:
            self.waits = True
        for one in self._early:
            link.data(self._stream, one)
        self._early.clear()
        if self.has_all and not whole and not request.upgrades:
            self._end_request()

    def _for_app(self) -> Headers:
        """The fields as the app gets them. Those of the next request on a connection are often the same."""
        session_id, fields = self._request.session_id, self._request.fields
        # Who was let in for a cookie may have a token for the app.
        secret, others = fields.bearer, len(self._request.secrets) > 1
        if secret and others and not self._gateway.ways.is_opened_by(session_id, secret):
            secret = None
        made = fields.for_app
        if made is None or made[:2] != (session_id, secret):
            caller, prefix = self._gateway.told(self._caller.address), self._gateway.prefix(session_id)
            headers = heads.of_request(fields.headers, caller, prefix, secret=secret)
            fields.for_app = made = session_id, secret, headers
        return made[2]

    # From the caller.

    def sent(self, data: Buffer) -> None:
        """Bytes of the body, or of what was switched to."""
        self._came += len(data)
        self._gateway.tally.received_bytes += len(data)
        if self.is_over:
            return
        most = self._gateway.max_body
        if most is not None and self._came > most and not self._request.upgrades:
            self.fail(BodyTooLarge(f"The session's requests may have {most} bytes."))
        elif self._link is None:
            self._early.append(data)
        else:
            self.has_moved = True
            self._link.data(self._stream, data)
            if self._link.is_full(self._stream):
                self._caller.pause_reading()

    def sent_all(self, trailers: Headers) -> None:
        self.has_all = True
        self._trailers = heads.of_trailers(trailers)
        if self._link is not None and not self.is_over:
            self.has_moved = True
            self.waits = True
            self._end_request()

    def _end_request(self) -> None:
        assert self._link is not None
        if self._trailers:
            self._link.trailers(self._stream, self._trailers)
        else:
            self._link.data(self._stream, b"", end=True)

    def took(self) -> None:
        """The caller has room for more of the answer."""
        if self._owed and self._link is not None:
            self.has_moved = True
            self._link.consumed(self._stream, self._owed)
            self._owed = 0

    def cancel(self) -> None:
        """The caller has gone."""
        self._over(Code.CANCELLED)

    # From the app.

    def on_head(self, status: int, headers: Headers, *, ended: bool) -> None:
        self.has_moved = True
        assert self._link is not None
        headers = heads.of_answer(headers, self._gateway.prefix(self._request.session_id), self._origins())
        try:
            if not is_final(status):
                # RFC 8297 3: to many proxies a hint is the answer, and they wait for its end.
                if status == 100 or not self._request.fields.came_through:
                    self._caller.write(self._answer.interim(status, headers))
                return
            self.waits = False
            self._status = status
            if status == 101:
                self._switch(headers)
                if ended:
                    self._finish([])
                return
            head = self._answer.head(status, headers, ended=ended)
            self._is_answered = True
            if self._request.upgrades:  # it was refused, and nothing but the head was asked
                self._link.data(self._stream, b"", end=True)
            self._caller.write(head)
            if ended:
                self._finish([])
        except AnswerBroken as error:
            self._break_off(error)

    def _switch(self, headers: Headers) -> None:
        if not self._request.upgrades:
            raise AnswerBroken("a 101 to a request that asked for no other protocol")
        self._is_answered = True
        self._caller.write(self._answer.switched(headers))
        self.is_switched = True
        self._caller.switched()

    def _origins(self) -> frozenset[bytes]:
        assert self._link is not None and self._link.tunnel.peer is not None
        return self._gateway.origins(self._link.tunnel.peer.target)

    def on_data(self, data: Buffer, *, ended: bool) -> None:
        self.has_moved = True
        try:
            for one in self._answer.data(data):
                self._caller.write(one)
            self._gateway.tally.sent_bytes += len(data)
            if ended:
                self._finish([])
        except AnswerBroken as error:
            self._break_off(error)
        if self._link is None:
            return
        if self._caller.is_full:
            self._owed += len(data)
        else:
            self._link.consumed(self._stream, len(data))

    def on_trailers(self, headers: Headers) -> None:
        try:
            self._finish(heads.of_trailers(headers))
        except AnswerBroken as error:
            self._break_off(error)

    def on_drained(self) -> None:
        self.has_moved = True
        self._caller.resume_reading()

    def on_reset(self, code: int) -> None:
        self._link = None
        if code == Code.REFUSED and not self._came and not self._is_answered:
            # Nothing was done, and nothing of it is missing: the session may be held elsewhere by now.
            self._gateway.ways.forget(self._request.session_id)
            self._caller.pause_reading()
            self._finding = asyncio.create_task(self._find(refused=True))
        else:
            self.fail(ENDINGS.get(code, TargetBroken)())

    # How it ends.

    def _finish(self, trailers: Headers) -> None:
        self._caller.write(self._answer.end(trailers))
        self._over(Code.NOT_NEEDED if not self.has_all else None)
        self._caller.answered(keep_alive=self._answer.keep_alive)

    def _break_off(self, error: AnswerBroken) -> None:
        self.fail(TargetBroken(f"The app of the session sent {error}."))

    def fail(self, error: DrsServiceError) -> None:
        """Tell the caller, if that can still be; what has begun otherwise is broken off."""
        if self.is_over:
            return
        status, body = told(error)
        was_answered = self._is_answered
        if not was_answered:
            self._status = status
        self._over(Code.CANCELLED)
        if was_answered:
            self._caller.abort()
            return
        headers: Headers = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
        ]
        if status in {429, 503}:
            headers.append((b"Retry-After", RETRY_AFTER))
        self._caller.write(self._answer.head(status, headers, ended=False))
        for one in self._answer.data(body):
            self._caller.write(one)
        self._caller.answered(keep_alive=self._answer.keep_alive)

    def _over(self, code: Code | None) -> None:
        """Let go of everything."""
        if not self.is_over:
            self.is_over = True
            tally = self._gateway.tally
            tally.in_flight -= 1
            tally.took(ROUTE, self._request.method.decode("ascii"), self._status, self._gateway.now() - self._began)
        self._early.clear()
        if self._finding is not None and self._finding is not asyncio.current_task():
            self._finding.cancel()
        link, self._link = self._link, None
        if link is not None and code is not None:
            link.reset(self._stream, code)
