"""A tunnel's end at work: whatever carries its bytes on one side, and the parties of its streams on the other.

Everything here is called on one event loop and returns at once: nothing waits, and no stream has a task of its own.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from drs_service.tunnel.frames import (
    Buffer,
    Code,
    Data,
    End,
    Event,
    Greeted,
    Head,
    Headers,
    Hello,
    Leaving,
    Left,
    Opened,
    Pinged,
    Reset,
    Trailers,
)
from drs_service.tunnel.protocol import Tunnel
from drs_service.tunnel.shares import Shares

log = structlog.get_logger()

PING_EVERY = 15.0  # seconds: proxies commonly close what was silent for 60
SILENCE = 50.0  # seconds after which the other end is taken to be gone


class Party(Protocol):
    """Who a stream belongs to at this end. After `ended`, trailers or a reset it hears nothing more of the other end.

    A reset ends the stream both ways; nothing more is heard at all.
    """

    def on_head(self, status: int, headers: Headers, *, ended: bool) -> None: ...

    def on_data(self, data: Buffer, *, ended: bool) -> None:
        """The party says `Link.consumed` when it has room again for as much."""

    def on_trailers(self, headers: Headers) -> None: ...

    def on_reset(self, code: int) -> None: ...

    def on_drained(self) -> None:
        """Less waits to be sent, after `Link.is_full` was found."""


class Wire(Protocol):
    """What carries the bytes of a link, in order and whole. It calls `received`, `flush` and `lost`."""

    @property
    def is_writable(self) -> bool:
        """False while it holds more than it can pass on; then it calls `flush` when it has."""

    def write(self, message: list[Buffer]) -> None: ...

    def close(self) -> None:
        """End once what was written has gone. `lost` follows."""


class Link:
    """on_open makes the party of a stream that the other end opens; on_left hears that the other end is to go.

    on_lost is called once, when nothing can be sent or heard any more and all streams have ended. shares: where the
    streams are of several sessions, of which none is to take the room of the others.
    """

    def __init__(
        self,
        wire: Wire,
        end: End,
        hello: Hello,
        *,
        on_open: Callable[["Link", Opened], Party] | None = None,
        on_greeted: Callable[[Hello], None] | None = None,
        on_left: Callable[[Left], None] | None = None,
        on_lost: Callable[[str], None],
        running: Callable[[], int] = lambda: 0,
        shares: Shares | None = None,
    ) -> None:
        self.tunnel = Tunnel(end, hello)
        self.running = 0
        """Work that the other end has under way, as it said last."""
        self.moved = True
        """Whether anything but pings went through since somebody set this to False."""
        self.is_lost = False
        self._loop = asyncio.get_running_loop()
        self._wire = wire
        self._parties: dict[int, Party] = {}
        self._on_open = on_open
        self._on_greeted = on_greeted
        self._on_left = on_left
        self._on_lost = on_lost
        self._running = running
        self._shares = shares
        self._heard = self._loop.time()
        self._is_flush_due = False
        self._timer = self._loop.call_later(PING_EVERY, self._keep_alive)
        self.flush()

    # For parties, and for whoever makes them.

    @property
    def is_idle(self) -> bool:
        return not self._parties

    @property
    def is_up(self) -> bool:
        """Whether the other end has greeted, and is still there."""
        return not self.is_lost and self.tunnel.peer is not None

    def has_room(self, session: str) -> bool:
        """Whether another stream of the session can begin."""
        return (
            not self.is_lost
            and self.tunnel.has_room
            and (self._shares is None or self._shares.may_begin(session, room=self.tunnel.room))
        )

    def open(
        self,
        party: Party,
        method: bytes,
        target: bytes,
        headers: Headers,
        *,
        protocol: str = "http",
        session: str = "",
        end: bool = False,
    ) -> int:
        """Begin a stream of party's, where `has_room`. ValueError for a head that is too long."""
        stream = self.tunnel.open(method, target, headers, protocol=protocol, session=session, end=end)
        self._parties[stream] = party
        if self._shares is not None:
            self._shares.begun(stream, session)
        self.moved = True
        self._flush_soon()
        return stream

    def head(self, stream: int, status: int, headers: Headers, *, end: bool = False) -> None:
        """ValueError for a head that is too long."""
        self.tunnel.head(stream, status, headers, end=end)
        self._flush_soon()

    def data(self, stream: int, data: Buffer, *, end: bool = False) -> None:
        self.tunnel.data(stream, data, end=end)
        self._flush_soon()

    def trailers(self, stream: int, headers: Headers) -> None:
        """ValueError if they are too long."""
        self.tunnel.trailers(stream, headers)
        self._flush_soon()

    def is_full(self, stream: int) -> bool:
        """Whether so much waits to be sent that the party should wait until it is drained."""
        return self.tunnel.is_full(stream)

    def consumed(self, stream: int, count: int) -> None:
        self.tunnel.consumed(stream, count)
        if self.tunnel.wants_to_send:
            self._flush_soon()

    def reset(self, stream: int, code: int) -> None:
        """End a stream; its party hears nothing more. Does nothing for one that has ended."""
        self._parties.pop(stream, None)
        self.tunnel.reset(stream, code)
        self._flush_soon()

    def go_away(self, code: Leaving, reason: str = "") -> None:
        """Say that this connection is to end. It goes on until it is closed."""
        if not self.is_lost:
            self.tunnel.go_away(code, reason)
            self.flush()

    def ping(self) -> None:
        """Say that this end lives, and how much work it has under way."""
        if not self.is_lost:
            self.tunnel.ping(self._running())
            self.flush()

    def close(self) -> None:
        self._wire.close()

    # For the wire.

    def received(self, data: Buffer) -> None:
        self._heard = self._loop.time()
        for event in self.tunnel.receive(data):
            try:
                self._hear(event)
            except Exception:  # of one stream: the others are not to suffer
                log.exception("a stream of a tunnel was not heard")
                if isinstance(event, Opened | Head | Data | Trailers):
                    self._break(event.stream)
        self._forget_gone()
        self.flush()
        if self.tunnel.failure is not None:
            log.warning("a tunnel fails", reason=self.tunnel.failure)
            self._wire.close()

    def flush(self) -> None:
        """Send as much as there is and the wire takes."""
        self._is_flush_due = False
        if self.is_lost:
            return
        tunnel = self.tunnel
        while tunnel.wants_to_send and self._wire.is_writable:
            message = tunnel.data_to_send()
            if message:
                self._wire.write(message)
        if tunnel.drained:
            drained, tunnel.drained = tunnel.drained, []
            for stream in drained:
                if party := self._parties.get(stream):
                    party.on_drained()
        self._forget_gone()

    def lost(self, reason: str) -> None:
        """The wire has ended."""
        if self.is_lost:
            return
        self.is_lost = True
        self._timer.cancel()
        parties, self._parties = self._parties, {}
        for party in parties.values():
            party.on_reset(Code.LOST)
        self._on_lost(self.tunnel.failure or reason)

    # ──

    def _forget_gone(self) -> None:
        gone = self.tunnel.gone
        while gone:
            self._end(gone.pop())

    def _end(self, stream: int) -> Party | None:
        """Whose it was, if he is to hear of that."""
        if self._shares is not None:
            self._shares.ended(stream)
        return self._parties.pop(stream, None)

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self.flush)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Data):
            self.moved = True
            if party := self._parties.get(event.stream):
                party.on_data(event.data, ended=event.ended)
        elif isinstance(event, Head):
            self.moved = True
            if party := self._parties.get(event.stream):
                party.on_head(event.status, event.headers, ended=event.ended)
        elif isinstance(event, Opened):
            self.moved = True
            assert self._on_open is not None
            party = self._on_open(self, event)
            if event.stream not in self.tunnel.gone:  # making it may have ended it
                self._parties[event.stream] = party
        else:
            self._hear_rarer(event)

    def _hear_rarer(self, event: Event) -> None:
        match event:
            case Trailers(stream, headers):
                if party := self._parties.get(stream):
                    party.on_trailers(headers)
            case Reset(stream, code):
                if party := self._end(stream):
                    party.on_reset(code)
            case Pinged(running, ack):
                if not ack:
                    self.running = running
            case Greeted(hello):
                if self._on_greeted is not None:
                    self._on_greeted(hello)
            case Left():
                if self._on_left is not None:
                    self._on_left(event)

    def _break(self, stream: int) -> None:
        party = self._parties.get(stream)
        self.reset(stream, Code.INTERNAL)
        if party is not None:
            party.on_reset(Code.INTERNAL)

    def _keep_alive(self) -> None:
        if self._loop.time() - self._heard > SILENCE:
            log.warning("a tunnel is silent")
            self._wire.close()
            self.lost("silence")
            return
        if self.tunnel.is_used_up:
            log.info("a tunnel has had as many streams as there can be")
            self._wire.close()
            return
        self.ping()
        self._timer = self._loop.call_later(PING_EVERY, self._keep_alive)
