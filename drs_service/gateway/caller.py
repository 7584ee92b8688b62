"""A connection of HTTP/1 whose requests are for sessions. No request has a task of its own, nor is any body held.

It is uvicorn's until a request for a session begins, and again when another one does: see `claims`.
"""

import asyncio
import math
import re
import socket
import struct
from typing import TYPE_CHECKING

import httptools
import structlog

from drs_service.api.errors import told
from drs_service.errors import DrsServiceError, HeadersTooLarge, Rejected, RequestLineTooLong, SessionNotFound
from drs_service.gateway.answering import last
from drs_service.gateway.exchange import Exchange, Fields, Request
from drs_service.tunnel import heads
from drs_service.tunnel.frames import Buffer, Headers

if TYPE_CHECKING:
    from drs_service.gateway.gateway import Gateway

log = structlog.get_logger()

CLAIM = re.compile(rb"(?!CONNECT )[A-Z-]{1,20} /(?:socket/|tunnel[ ?])")  # a CONNECT is for no path at all
METHOD = re.compile(rb"[A-Z-]{1,20}")
SOCKET = re.compile(rb"/socket/([0-9a-z]{1,64})(?:[/?].*)?", re.DOTALL)

MAX_TARGET = 64 * 1024  # bytes of a request line
MAX_FIELDS = 64 * 1024  # bytes of all fields
TOGETHER = 16 * 1024  # bytes that are copied, so that they are written at once
HEAD_PATIENCE = 30.0  # seconds for a request's head to arrive
KEEP_ALIVE = 75.0  # seconds that an idle connection is kept: beyond the 60 s for which proxies commonly keep theirs
MAX_UNHEARD = MAX_TARGET + MAX_FIELDS  # bytes that the parser may gather of one field
NOT_HTTP = "The request is not HTTP."
REST_PATIENCE = 30.0  # seconds, and
REST_MOST = 64 * 1024**2  # bytes of a body that are read to no purpose, so that the answer is


def claims(data: bytes) -> bool | None:
    """Whether the request that begins so is for a session or comes from an agent; None: too little has come."""
    if CLAIM.match(data):
        return True
    method, _, path = data.partition(b" ")
    might = b"/socket/".startswith(path) or b"/tunnel".startswith(path)
    return None if might and METHOD.fullmatch(method) else False


class Caller(asyncio.Protocol):
    def __init__(self, gateway: "Gateway", front: asyncio.Protocol, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self.is_full = False
        """What is written is not taken: nobody should write more until `Exchange.took`."""
        self._gateway = gateway
        self._front = front
        self._transport = transport
        self._exchange: Exchange | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._undecided = b""
        self._since = gateway.now()  # of what it does now
        self._in_message = False
        self._is_claimed = False  # the request that begins next is known to be ours
        self._is_leaving = False  # nothing more is read
        self._is_given_up = False
        self._is_plain = False  # what comes is the rest of a body
        self._is_paused = False
        self._keeps = False  # another request may come when this one is over
        self._rest: int | None = None  # bytes of the request that came after its answer, once that is whole
        self._url = b""
        self._headers: Headers = []
        self._fields = fields_of([])  # of the last request whose head is complete
        self._trailers: Headers | None = None  # once the head is complete
        self._size = 0
        self._unheard = 0  # bytes that the parser has had since it said anything
        self._length = 0  # bytes of the body that have not come, if that is known
        self._out: list[Buffer] = []  # to be written, together
        self._unsent = math.inf  # bytes that were not taken when it was looked last, once the connection is to end

    # The transport's calls.

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.is_switched:
            exchange.sent(data)
            return
        if self._is_leaving:
            return
        if self._is_plain:
            self._feed_plain(data)
            return
        if exchange is None and not self._in_message:
            data = self._undecided + data
            claim = claims(data)
            self._undecided = data if claim is None else b""
            if claim is None:
                return
            if claim is False:
                self._give_back(data)
                return
            if self._gateway.dials_in(data):
                self._give_up().dialled(self._transport, self._front, data)
                return
            self._is_claimed = True
        self._feed(data)

    def eof_received(self) -> bool:
        """Who has sent everything has left."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._gateway.callers.discard(self)
        self._is_leaving = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not exchange.is_over:
            exchange.cancel()
        self._front.connection_lost(exc)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        if self._exchange is not None:
            self._exchange.took()
        else:
            self.resume_reading()

    # For the exchange.

    def write(self, data: Buffer) -> None:
        """Small pieces, such as a head and a body behind it, go out together."""
        if not data:
            return
        if not self._out:
            self._gateway.soon(self._write_out)
        self._out.append(data)

    def _write_out(self) -> None:
        out, self._out = self._out, []
        if out and not self._transport.is_closing():
            if len(out) > 1 and sum(map(len, out)) <= TOGETHER:
                self._transport.write(b"".join(out))
            else:
                self._transport.writelines(out)

    def pause_reading(self) -> None:
        if not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def switched(self) -> None:
        """What came behind the request is of the other protocol."""
        self.resume_reading()

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is whole. The next request can come once this one is; how long that is waited for is bounded."""
        self._write_out()
        switched = self._exchange is not None and self._exchange.is_switched
        self._since = self._gateway.now()
        self._keeps = keep_alive and not switched
        if self._in_message and not self._is_leaving:
            self._rest = 0  # closing with bytes unread would reset the connection, and the answer with it
            self.resume_reading()
        else:
            self._end_exchange()

    def _end_exchange(self) -> None:
        """Nothing more comes of the request."""
        self._rest = None
        if self._keeps and not self._is_leaving:
            self._next()
        else:
            self._close()

    def abort(self) -> None:
        """Reset the connection: to HTTP/1.0 the end of one is the end of an answer."""
        self._is_leaving = True
        self._write_out()
        if not self._transport.is_closing():
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # For the gateway.

    def tick(self, now: float) -> None:
        """Time has passed."""
        exchange = self._exchange
        if self._transport.is_closing():
            left = self._transport.get_write_buffer_size()
            if left < self._unsent:
                self._unsent, self._since = left, now
            elif now - self._since > REST_PATIENCE:  # it takes nothing of what was written, and would be kept for ever
                self._transport.abort()
        elif exchange is not None and not exchange.is_over:
            self._gateway.look_at(exchange, now)
        elif self._rest is not None:
            if now - self._since > REST_PATIENCE:
                self._transport.close()
        elif now - self._since > (HEAD_PATIENCE if self._in_message or self._undecided else KEEP_ALIVE):
            self._transport.close()

    @property
    def is_idle(self) -> bool:
        return self._exchange is None or self._exchange.is_over

    def shutdown(self) -> None:
        """Close as soon as nothing is under way. An agent's connection goes on until its link is closed."""
        if not self._is_given_up and self.is_idle and self._rest is None:
            self._transport.close()

    # The parser's calls.

    def _feed(self, data: bytes) -> None:
        self._unheard += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            log.exception("a request was not heard")
            self.abort()
        except httptools.HttpParserError:
            self._refuse(Rejected(NOT_HTTP))
        else:
            self._is_plain = self._in_message and self._length > 0
            if self._unheard > MAX_UNHEARD:
                self._refuse(HeadersTooLarge())

    def _feed_plain(self, data: bytes) -> None:
        """What is left of a body whose length is known needs no parser."""
        piece: Buffer = data if len(data) <= self._length else memoryview(data)[: self._length]
        self.on_body(piece)
        if self._length == 0:
            self._is_plain = False
            self._parser = httptools.HttpRequestParser(self)
            self.on_message_complete()
            if len(piece) < len(data) and not self._is_leaving:
                self.data_received(data[len(piece) :])

    def on_message_begin(self) -> None:
        self._in_message = True
        self._since = self._gateway.now()
        self._url, self._headers, self._trailers, self._size, self._unheard = b"", [], None, 0, 0
        # RFC 9112 9.3.2: who sends the next request before it has the answer must be ready to send it again.
        if self._exchange is not None:
            self._is_leaving = True
        elif not self._is_claimed:
            self._close()
        self._is_claimed = False

    def on_url(self, url: bytes) -> None:
        self._unheard = 0
        if not self._is_leaving and len(self._url) <= MAX_TARGET:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._unheard = 0
        if self._is_leaving:
            return
        self._size += len(name) + len(value) + 4
        if self._size <= MAX_FIELDS:
            (self._headers if self._trailers is None else self._trailers).append((name, value))

    def on_headers_complete(self) -> None:
        if self._is_leaving:
            return
        self._trailers = []
        if self._headers != self._fields.headers:
            self._fields = fields_of(self._headers)
        if self._is_other_upgrade():
            return
        if self._fields.is_coded:
            self._refuse(Rejected(NOT_HTTP))
            return
        request, fault = self._asked()
        self._exchange = exchange = Exchange(self._gateway, self, request)
        if fault is not None:
            exchange.fail(fault)
        else:
            exchange.begin()

    def on_body(self, body: Buffer) -> None:
        self._unheard = 0
        if self._length:
            self._length -= len(body)
        if self._is_leaving:
            return
        if self._rest is not None:
            self._rest += len(body)
            if self._rest > REST_MOST:
                self._close()
        elif self._exchange is not None:
            self._exchange.sent(body)

    def on_message_complete(self) -> None:
        if self._is_leaving or self._is_other_upgrade():
            return
        exchange = self._exchange
        if exchange is not None and self._parser.should_upgrade():
            return
        self._in_message = False
        if self._rest is not None:
            self._end_exchange()
        elif exchange is not None and not exchange.has_all:
            exchange.sent_all(self._trailers or [])

    # ──

    def _asked(self) -> tuple[Request, DrsServiceError | None]:
        """The request, and what is wrong with it."""
        fields, parser = self._fields, self._parser
        found = SOCKET.fullmatch(self._url)
        session_id = found[1].decode() if found else ""
        rest = self._url[found.end(1) :] if found else b""
        secrets = heads.cookie_of(fields.cookies, heads.COOKIE + session_id.encode()) if fields.cookies else []
        if fields.bearer and len(fields.bearer) <= heads.MAX_SECRET:
            secrets.append(fields.bearer)
        self._length = fields.length
        request = Request(
            method=parser.get_method(),
            session_id=session_id,
            target=rest if rest.startswith(b"/") else b"/" + rest,
            fields=fields,
            secrets=secrets,
            upgrades=parser.should_upgrade(),
            http_1_1=parser.get_http_version() == "1.1",
            keep_alive=parser.should_keep_alive(),
        )
        return request, self._fault(request)

    def _fault(self, request: Request) -> DrsServiceError | None:
        if len(self._url) > MAX_TARGET:
            return RequestLineTooLong()
        if self._size > MAX_FIELDS:
            return HeadersTooLarge()
        fields = request.fields
        refusal = self._gateway.refusal(request.method, fields.hosts, fields.origins, upgrades=request.upgrades)
        if refusal is not None:
            return refusal
        return SessionNotFound() if not request.session_id else None

    def _is_other_upgrade(self) -> bool:
        """RFC 9110 7.8: a server may ignore Upgrade. The parser does not: see `_upgraded`."""
        if not self._parser.should_upgrade():
            return False
        return not (self._fields.asks_for_websocket and self._parser.get_method() == b"GET")

    def _upgraded(self, behind: bytes) -> None:
        """The parser leaves the rest to another protocol."""
        if self._is_leaving:
            return
        if self._is_other_upgrade():
            if self._size > MAX_FIELDS or len(self._url) > MAX_TARGET:
                # Not all of them were kept: without its length a body would be taken for a request.
                self._refuse(HeadersTooLarge())
                return
            # Read once more without that field: a body may follow, which the parser takes for the other protocol.
            version = self._parser.get_http_version().encode("ascii")
            lines = [self._parser.get_method() + b" " + self._url + b" HTTP/" + version]
            lines += [name + b": " + value for name, value in self._headers if name.lower() != b"upgrade"]
            self._parser = httptools.HttpRequestParser(self)
            self._is_claimed = True
            self._feed(b"\r\n".join([*lines, b"", b""]) + behind)
        elif (exchange := self._exchange) is not None:
            self._in_message = False
            if exchange.is_over:
                self._close()
                return
            exchange.has_all = True
            if behind:
                exchange.sent(behind)
            if not exchange.is_switched:
                self.pause_reading()  # until the app has said what it makes of it

    def _refuse(self, error: DrsServiceError) -> None:
        """Of what comes nothing more can be made out."""
        exchange = self._exchange
        if exchange is not None and not exchange.is_over:
            self._is_leaving = True
            exchange.fail(error)
            return
        if exchange is None and not self._is_leaving:
            self.write(last(*told(error)))
        self._close()

    def _close(self) -> None:
        self._is_leaving = True
        self._write_out()
        self._transport.close()

    def _next(self) -> None:
        self._exchange = None
        self._since = self._gateway.now()
        if self.is_full:
            self.pause_reading()  # who does not take answers asks nothing more
        else:
            self.resume_reading()

    def _give_up(self) -> "Gateway":
        self._is_given_up = True
        self.resume_reading()
        self._gateway.callers.discard(self)
        return self._gateway

    def _give_back(self, data: bytes) -> None:
        """The connection is uvicorn's again."""
        self._give_up()
        self._write_out()
        self._transport.set_protocol(self._front)
        if not self.is_full:
            self._front.resume_writing()
        self._front.data_received(data)


def fields_of(headers: Headers) -> Fields:
    """What they say to us. The parser has held a Content-Length to be a number."""
    telling: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        telling.setdefault(name.lower(), []).append(value)
    length = int(telling.get(b"content-length", [b"0"])[0])
    has_body = length > 0 or b"transfer-encoding" in telling
    return Fields(
        headers=headers,
        hosts=telling.get(b"host", []),
        origins=telling.get(b"origin", []),
        cookies=telling.get(b"cookie", []),
        bearer=heads.bearer(telling[b"authorization"][0]) if b"authorization" in telling else None,
        length=length,
        has_body=has_body,
        came_through=b"x-forwarded-for" in telling or b"via" in telling,
        is_coded=telling.get(b"transfer-encoding", [b"chunked"])[0].strip().lower() != b"chunked",
        # RFC 6455 4.1: it is a GET without a body.
        asks_for_websocket=not has_body
        and any(value.strip().lower() == b"websocket" for value in telling.get(b"upgrade", ())),
    )
