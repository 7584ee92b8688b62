"""uvicorn's HTTP, where it falls short: what it answers by itself is DRS's `Error`, and no upload loses its body.

Requests for sessions are not its own at all: see `Elsewhere`.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast
from typing import Protocol as Contract

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from drs_service.api.bodies import AnyRequest
from drs_service.api.errors import Error, told
from drs_service.errors import HeadersTooLarge

HEAD_PATIENCE = 30.0  # seconds for a request's head to arrive
MAX_FIELDS = 512 * 1024  # bytes of a request's fields, those behind its body included
LEAVING = "drs_service.leaving"  # an extension of ASGI


def leaving(request: AnyRequest) -> asyncio.Event:
    """Is set when the service stops: answers without an end must end then."""
    return cast(asyncio.Event, cast(dict[str, object], request.scope["extensions"])[LEAVING])


class Taker(Contract):
    """Who has a connection in the meantime. Gives it back by setting its protocol and calling data_received."""

    def data_received(self, data: bytes) -> None: ...

    def shutdown(self) -> None:
        """End the connection as soon as nothing is under way."""


class Elsewhere(Contract):
    """Who answers the requests that do not go to the application."""

    def claims(self, data: bytes) -> bool | None:
        """Whether a request that begins so is one of those; None: too little has come to tell."""

    def take(self, front: "Protocol", transport: asyncio.Transport, *, is_full: bool) -> Taker:
        """Have the connection. is_full: what was written to it has not been taken."""


class Protocol(HttpToolsProtocol):
    _head_timer: asyncio.TimerHandle | None = None
    _taker: Taker | None = None
    _in_message = False
    _undecided = b""
    _fields_size = 0
    _unheard = 0  # bytes that the parser has had since it said anything: it gathers a field, however long that is

    def __init__(self, *args: Any, elsewhere: Elsewhere, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._elsewhere = elsewhere

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._leaving = asyncio.Event()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message = True
        self._fields_size = self._unheard = 0
        self.scope["extensions"] = {LEAVING: self._leaving}  # type: ignore[dict-item]  # values may be anything
        self._await_head()

    def _await_head(self) -> None:
        """Hang up on who does not finish asking: such a connection costs its sender nothing."""
        self._head_came()
        self._head_timer = self.loop.call_later(HEAD_PATIENCE, self.transport.close)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def on_header(self, name: bytes, value: bytes) -> None:
        self._unheard = 0
        self._fields_size += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._unheard = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msgspec.json.encode(Error(msg=msg, status_code=400, code="bad_request")))

    def _refuse(self, status: int, body: bytes) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.abort()  # an answer is under way: nothing may be put between its bytes
            return
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            "content-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    # RFC 9110 7.8: a server may ignore Upgrade. The parser cannot: it takes such a request to have no body, and what
    # `curl --http2` or Java's own client puts, which both ask for h2c, would be stored as 0 bytes. So a request that
    # asks for an upgrade is read once more, without that header.

    def data_received(self, data: bytes) -> None:
        self._taker = None
        cycle: RequestResponseCycle | None = self.cycle
        if not self._in_message and (cycle is None or cycle.response_complete):
            data = self._undecided + data
            claim = self._elsewhere.claims(data)
            self._undecided = data if claim is None else b""
            if claim:
                self._pass_on(data)
            if claim is not False:
                return
        self._parse(data)
        if not self._in_message and self.cycle is cycle and self._head_timer is None:
            self._await_head()  # an empty line may come before a request, but it keeps no connection

    def _pass_on(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._head_came()
        self._taker = self._elsewhere.take(self, self.transport, is_full=self.flow.write_paused)
        self._taker.data_received(data)

    def shutdown(self) -> None:
        self._leaving.set()
        if self._taker is not None:
            self._taker.shutdown()
        else:
            super().shutdown()

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._unheard += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._asks_for_upgrade():
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self._parse(head + data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("The request is not HTTP.")
        else:
            if max(self._unheard, self._fields_size) > MAX_FIELDS:
                self._refuse(*told(HeadersTooLarge()))

    def on_headers_complete(self) -> None:
        self._head_came()
        if not self._asks_for_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._asks_for_upgrade():
            self._in_message = False
            super().on_message_complete()

    def _asks_for_upgrade(self) -> bool:
        # A CONNECT always counts as an upgrade.
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode("ascii")
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
