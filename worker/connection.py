"""A connection to the app, which carries one request after the other."""

import asyncio
from typing import Protocol, cast

import httptools

from drs_service.tunnel.frames import Buffer, Headers

MAX_FIELDS = 64 * 1024  # bytes of all fields of an answer


class Carried(Protocol):
    """What a connection carries: it writes its request, and hears the answer."""

    def took(self) -> None:
        """The app has room for more."""

    def answered(self, status: int, headers: Headers, *, ended: bool) -> None:
        """ended: nothing follows but `complete`."""

    def body(self, data: Buffer) -> bool:
        """Whether more may come at once."""

    def complete(self, trailers: Headers, *, reusable: bool) -> None:
        """The answer is whole. reusable: the connection may carry the next one."""

    def broken(self, reason: str) -> None:
        """The connection ended before the answer did."""


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.is_full = False
        """What is written is not taken: `Carried.took` says when it is."""
        self._errand: Carried | None = None
        self._transport: asyncio.Transport
        self._is_paused = False
        self._keeps = False
        self._for_head = False
        self._is_raw = False  # what comes is no HTTP any more
        self._parser = httptools.HttpResponseParser(self)
        self._forget_answer()

    def _forget_answer(self) -> None:
        self._headers: Headers = []
        self._trailers: Headers | None = None  # once the head is complete
        self._size = 0
        self._length: int | None = None  # bytes of the body that have not come, if that is known
        self._is_plain = False  # what comes is the rest of that
        self._is_done = False  # the answer has no body, whatever the parser waits for

    # The errand's calls.

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def carry(self, errand: Carried, *, for_head: bool) -> None:
        self._errand = errand
        self._for_head = for_head

    def write(self, data: Buffer) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def write_eof(self) -> None:
        if not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def resume_reading(self) -> None:
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        self._errand = None
        if self.is_full:  # an app that takes nothing more, and has answered, would keep it open for ever
            self._transport.abort()
        else:
            self._transport.close()

    def abort(self) -> None:
        self._errand = None
        self._transport.abort()

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none in name

    def data_received(self, data: bytes) -> None:
        if self._errand is None:
            self._transport.abort()  # nobody asked
        elif self._is_raw:
            self._body(data)
        elif self._is_plain:
            self._feed_plain(data)
        else:
            try:
                self._parser.feed_data(data)
                self._is_plain = bool(self._length) and not self._is_done
            except httptools.HttpParserUpgrade as upgrade:
                self._is_raw = True
                if rest := data[upgrade.args[0] :]:
                    self._body(rest)
            except httptools.HttpParserError as error:
                if not self._is_done:
                    self._break(str(error))

    def _feed_plain(self, data: bytes) -> None:
        """What is left of a body whose length is known needs no parser."""
        assert self._length
        piece: Buffer = data if len(data) <= self._length else memoryview(data)[: self._length]
        self._length -= len(piece)
        self._body(piece)
        if self._length == 0:
            self._complete(keeps=self._keeps and len(piece) == len(data))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        errand, self._errand = self._errand, None
        if errand is None:
            return
        if exc is None and (self._is_raw or self._ends_with_connection()):
            errand.complete([], reusable=False)
        else:
            errand.broken(str(exc or "it closed the connection"))

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        if self._errand is not None:
            self._errand.took()

    # The parser's calls.

    def on_message_begin(self) -> None:
        if self._errand is None:
            self._transport.abort()  # nobody asked: the next request would get what follows

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value)
        if self._size <= MAX_FIELDS:
            (self._headers if self._trailers is None else self._trailers).append((name, value))

    def on_headers_complete(self) -> None:
        errand = self._errand
        if errand is None or self._is_done:
            return
        if self._size > MAX_FIELDS:
            self._break("its fields are too large")
            return
        status = self._parser.get_status_code()
        if status < 200 and status != 101:
            errand.answered(status, self._headers, ended=False)
            return
        self._trailers = []
        empty = self._for_head or status in {204, 304}
        if not empty:
            self._keeps = self._parser.should_keep_alive()
            self._length = next(
                (int(value) for name, value in self._headers if name.lower() == b"content-length"), None
            )
        errand.answered(status, self._headers, ended=empty)
        if empty:
            self._complete(keeps=self._parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        if not self._is_done:
            if self._length:
                self._length -= len(body)
            self._body(body)

    def on_message_complete(self) -> None:
        if self._is_done:
            return
        if self._trailers is None:  # that was an interim one
            self._headers, self._size = [], 0
        elif self._parser.get_status_code() != 101:
            self._complete(keeps=self._parser.should_keep_alive())

    # ──

    def _body(self, data: Buffer) -> None:
        if self._errand is None:
            self._transport.abort()
        elif not self._errand.body(data) and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _complete(self, *, keeps: bool) -> None:
        """keeps: whether the app leaves the connection open."""
        errand, self._errand = self._errand, None
        if errand is None:
            return
        self.resume_reading()
        reusable = keeps and not self.is_full
        trailers = self._trailers or []
        self._is_done = True
        if reusable:
            if self._for_head or self._is_plain:
                # The parser still waits for the body that the fields of an answer to HEAD speak of, or for the rest.
                self._parser = httptools.HttpResponseParser(self)
            self._forget_answer()
        errand.complete(trailers, reusable=reusable)

    def _break(self, reason: str) -> None:
        errand, self._errand = self._errand, None
        self._transport.abort()
        if errand is not None:
            errand.broken(reason)

    def _ends_with_connection(self) -> bool:
        """RFC 9112 6.3: whether an answer has begun whose end is that of the connection."""
        if self._trailers is None:
            return False
        names = {name.lower() for name, _ in self._headers}
        return not names & {b"content-length", b"transfer-encoding"}
