"""Frames and streams over one connection, without I/O: fed with what came, asked for what to send.

docs/tunnel.md writes the format down for whoever builds another end. In short, every frame starts with nine bytes:

    kind and flags (1)   stream (4)   length or value (4)      all unsigned, big-endian

    HELLO    length       the first frame of either end: a msgpack map, see `Hello`
    OPEN     length       a request: msgpack [protocol, method, target, [[name, value], …], session]
    HEAD     length       an answer: msgpack [status, [[name, value], …]]; with status 0 and END, trailers
    DATA     length       bytes of a body, or of what was upgraded to
    CREDIT   value        as many bytes more may be sent
    RESET    value        the stream ends here, both ways; the value says why, see `Code`
    PING     value        the work under way at its sender; ACK: the answer to one
    GOAWAY   length       why this connection is to end, in `stream`; a text for people

END on OPEN, HEAD or DATA ends one direction of the stream. Only the public end opens streams, numbered upwards.

    idle ─ OPEN ─▶ open ─ END of one ─▶ half ─ END of the other ─▶ gone
                     └───────────── RESET ─────────────────────────▶ gone

Nothing is sent beyond the credit that a stream has; it begins with the `window` of the other end's HELLO. What comes
for a stream that is gone is dropped, for it may have been on its way. Whatever else is not allowed where it comes
ends the connection: `failure` says why. There is no guess.
"""

from collections import deque

import msgspec

from drs_service.tunnel.frames import (
    ACK,
    BUDGET,
    END,
    ENOUGH,
    FRAME,
    HEADER_SIZE,
    KIND,
    KINDS,
    MAX_CREDIT,
    MAX_HEAD,
    MAX_INTERIM,
    MAX_NUMBER,
    MAX_REASON,
    MAX_RUNNING,
    MAX_STREAMS,
    MAX_WAITING,
    MESSAGE,
    MOST,
    MOST_WINDOW,
    PROTOCOLS,
    TARGET,
    TOKEN,
    TURN,
    WITHOUT_PAYLOAD,
    Buffer,
    Data,
    End,
    Event,
    Greeted,
    Head,
    Headers,
    Hello,
    Kind,
    Leaving,
    Left,
    Opened,
    Pinged,
    Reset,
    Trailers,
    Violation,
    check_headers,
    checked,
    decode_head,
    decode_hello,
    decode_open,
    encode,
    is_final,
)
from drs_service.tunnel.streams import Stream, forget, take


class Tunnel:
    """One end of a connection. Not for two threads."""

    def __init__(self, end: End, hello: Hello) -> None:
        self.end = end
        self.failure: str | None = None
        """Why nothing is received any more; `data_to_send` says so to the other end."""
        self.peer: Hello | None = None
        self.drained: list[int] = []
        """Streams of which so much was sent that their producers may go on. Whoever reads this clears it."""
        self.gone: list[int] = []
        """Streams that have ended both ways. Whoever reads this clears it."""
        self._streams: dict[int, Stream] = {}
        self._highest = 0
        self._urgent: deque[bytes] = deque()  # frames that need no credit
        self._waiting = 0  # bytes in them
        self._line: deque[Stream] = deque()
        self._rest = bytearray()  # of a frame that has not come whole
        self._missing = 0  # bytes without which that is not looked at again
        self._pong: int | None = None  # the answer to the last PING
        self._body: tuple[Stream | None, int, bool] | None = None  # of a DATA that has not come whole
        self._own = hello
        self._frame(Kind.HELLO, 0, encode(hello))

    # What both ends ask.

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def is_full(self, stream: int) -> bool:
        """Whether more than ENOUGH waits to be sent. Whoever finds so hears through `drained` when it is less."""
        found = self._streams.get(stream)
        if found is None or found.queued <= ENOUGH:
            return False
        found.paused = True
        return True

    @property
    def room(self) -> int:
        """How many more streams the other end takes at once."""
        return min(self.peer.max_streams, MAX_STREAMS) - len(self._streams) if self.peer is not None else 0

    @property
    def has_room(self) -> bool:
        """Whether the other end would take another stream."""
        return self.room > 0 and not self.failure and self._waiting < MAX_WAITING and not self.is_used_up

    @property
    def is_used_up(self) -> bool:
        """Whether there are no more numbers for streams: it takes another connection."""
        return self._highest >= MAX_NUMBER

    def _new_stream(self, number: int) -> Stream:
        assert self.peer is not None
        return Stream(number, credit=self.peer.window, window=self._own.window)

    # What is sent.

    def open(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        *,
        protocol: str = "http",
        session: str = "",
        end: bool = False,
    ) -> int:
        """Begin a stream, where `has_room`. ValueError for a head that is too long."""
        assert self.peer is not None and self.end is End.PUBLIC
        payload = encode((protocol, method, target, headers, session))
        if len(payload) > MAX_HEAD:
            raise ValueError("the head of the request is too long")
        self._highest += 1
        stream = self._streams[self._highest] = self._new_stream(self._highest)
        stream.ends = stream.ended = end
        self._frame(Kind.OPEN | (END if end else 0), stream.number, payload)
        return stream.number

    def head(self, number: int, status: int, headers: Headers, *, end: bool = False) -> None:
        """Begin to answer. Interim heads beyond MAX_INTERIM go nowhere. ValueError for one that is not to be sent."""
        if not 100 <= status <= 999:
            raise ValueError(f"{status} is no status")
        payload = encode((status, headers))
        if len(payload) > MAX_HEAD:
            raise ValueError("the head of the answer is too long")
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.answered = is_final(status)
        stream.interim += not stream.answered
        if not stream.answered and stream.interim > MAX_INTERIM:
            return
        self._frame(Kind.HEAD | (END if end else 0), number, payload)
        if end:
            stream.ends = stream.ended = True
            self._part(stream)

    def data(self, number: int, data: Buffer, *, end: bool = False) -> None:
        """Send bytes when there is credit for them. What is for a stream that is gone is dropped."""
        stream = self._streams.get(number)
        if stream is None or stream.ends:
            return
        if data:
            stream.pieces.append(data)
            stream.queued += len(data)
        if end:
            stream.ends = True
        self._line_up(stream)

    def trailers(self, number: int, headers: Headers) -> None:
        """End a direction, with fields that follow what was sent. ValueError if they are too long."""
        payload = encode((0, headers))
        if len(payload) > MAX_HEAD:
            raise ValueError("the trailers are too long")
        stream = self._streams.get(number)
        if stream is None or stream.ends:
            return
        stream.trailers = payload
        stream.ends = True
        self._line_up(stream)

    def consumed(self, number: int, count: int) -> None:
        """So many bytes of a stream were read: as many more may come."""
        stream = self._streams.get(number)
        if stream is None or stream.remote_ended:
            return
        stream.held -= count
        stream.since += count
        if stream.since * 4 < stream.window:
            return
        # What is read grows, as far as there is room for all.
        stream.window = max(self._own.window, min(MOST_WINDOW, BUDGET // len(self._streams)))
        more = stream.window - stream.allowed - stream.held
        if more > 0:
            stream.since = 0
            stream.allowed += more
            self._say(FRAME.pack(Kind.CREDIT, number, more))

    def reset(self, number: int, code: int) -> None:
        """End a stream both ways; what was to be sent is not."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            forget(stream)
            self.gone.append(number)
            self._say(FRAME.pack(Kind.RESET, number, code))

    def ping(self, running: int = 0) -> None:
        self._say(FRAME.pack(Kind.PING, 0, min(running, MAX_RUNNING)))

    def go_away(self, code: int, reason: str = "") -> None:
        self._frame(Kind.GOAWAY, code, reason.encode()[:MAX_REASON])

    @property
    def wants_to_send(self) -> bool:
        return bool(self._urgent or self._line or self._pong is not None)

    def data_to_send(self) -> list[Buffer]:
        """The buffers of a message, in which each ready stream has its turn; nothing if there is nothing to send."""
        message: list[Buffer] = []
        size = 0
        if self._pong is not None:
            self._say(FRAME.pack(Kind.PING | ACK, 0, self._pong))
            self._pong = None
        while self._urgent and size < MESSAGE:
            frame = self._urgent.popleft()
            message.append(frame)
            size += len(frame)
        self._waiting -= size
        line = self._line
        while line and size < MESSAGE:
            stream = line.popleft()
            if not stream.ready:
                continue
            turn = MESSAGE - size if not line else TURN
            size += self._send(stream, turn, message)
            if (stream.queued and stream.credit) or (stream.ends and not stream.queued and not stream.ended):
                line.append(stream)
            else:
                stream.ready = False
        return message

    def _send(self, stream: Stream, turn: int, message: list[Buffer]) -> int:
        """Add up to turn bytes of a stream to a message. How many it is longer by."""
        size = min(stream.queued, stream.credit, turn)
        longer = 0
        ends = stream.ends and size == stream.queued
        if size or stream.trailers is None:
            last = ends and stream.trailers is None
            message.append(FRAME.pack(Kind.DATA | (END if last else 0), stream.number, size))
            take(stream.pieces, size, message)
            stream.queued -= size
            stream.credit -= size
            longer = HEADER_SIZE + size
        if ends:
            if stream.trailers is not None:
                message += (FRAME.pack(Kind.HEAD | END, stream.number, len(stream.trailers)), stream.trailers)
                longer += HEADER_SIZE + len(stream.trailers)
            stream.ended = True
            self._part(stream)
        elif stream.paused and stream.queued * 2 <= ENOUGH:
            stream.paused = False
            self.drained.append(stream.number)
        return longer

    def _line_up(self, stream: Stream) -> None:
        if stream.ready or stream.ended:
            return
        if (stream.queued and stream.credit) or (stream.ends and not stream.queued):
            stream.ready = True
            self._line.append(stream)

    def _frame(self, kind: int, stream: int, payload: bytes) -> None:
        self._say(FRAME.pack(kind, stream, len(payload)) + payload)

    def _say(self, frame: bytes) -> None:
        self._urgent.append(frame)
        self._waiting += len(frame)

    def _part(self, stream: Stream) -> None:
        """Forget a stream that has ended both ways."""
        if stream.ended and stream.remote_ended and stream.number in self._streams:
            del self._streams[stream.number]
            self.gone.append(stream.number)

    # What is received.

    def receive(self, data: Buffer) -> list[Event]:
        """What has come with these bytes. Never raises: see `failure`, after which nothing is received."""
        events: list[Event] = []
        if self.failure is None:
            try:
                self._read(data, events)
                if self._waiting > BUDGET:
                    raise Violation("the other end does not take what is sent")
            except (Violation, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                self.fail(str(error))
        return events

    def fail(self, reason: str) -> None:
        """Take nothing more from the other end, and tell it why."""
        if self.failure is None:
            self.failure = reason
            for stream in self._streams.values():
                forget(stream)
            self._streams.clear()
            self._line.clear()
            # A HELLO comes first, whatever comes then.
            self._urgent = deque(frame for frame in self._urgent if frame[0] == Kind.HELLO)
            self._waiting = sum(map(len, self._urgent))
            self._pong = None
            self.go_away(Leaving.FAILED, reason)

    def _read(self, data: Buffer, events: list[Event]) -> None:
        if self._rest:
            self._rest += data
            self._missing -= len(data)
            if self._missing > 0:
                return
            data, self._rest = bytes(self._rest), bytearray()
        view = memoryview(data)
        at, size = 0, len(view)
        while at < size:
            if self._body is not None:
                at += self._read_body(view, at, events)
                continue
            if size - at < HEADER_SIZE:
                self._missing = HEADER_SIZE - (size - at)
                break
            kind, stream, length = FRAME.unpack_from(view, at)
            if kind not in KINDS:
                raise Violation(f"there is no frame that begins with {kind:#04x}")
            if kind & KIND == Kind.DATA:
                self._begin_body(kind, stream, length, events)
                at += HEADER_SIZE
                continue
            if kind & KIND in WITHOUT_PAYLOAD:
                self._short(kind, stream, length, events)
                at += HEADER_SIZE
                continue
            if length > MOST[kind & KIND]:
                raise Violation(f"a frame of kind {kind & KIND} with {length} bytes")
            if size - at - HEADER_SIZE < length:
                self._missing = HEADER_SIZE + length - (size - at)
                break
            self._long(kind, stream, view[at + HEADER_SIZE : at + HEADER_SIZE + length], events)
            at += HEADER_SIZE + length
        self._rest += view[at:]

    def _begin_body(self, kind: int, number: int, length: int, events: list[Event]) -> None:
        stream = self._found(number)
        ended = bool(kind & END)
        if stream is not None:
            self._check_may_send(stream)
            if length > stream.allowed:
                raise Violation(f"stream {number} was sent {length} bytes with a credit of {stream.allowed}")
            stream.allowed -= length
            stream.held += length
        if length:
            self._body = (stream, length, ended)
        elif stream is not None and ended:
            self._deliver(stream, b"", events, ended=True)

    def _read_body(self, view: memoryview, at: int, events: list[Event]) -> int:
        """As much of a DATA as is there. How much that is."""
        assert self._body is not None
        stream, left, ended = self._body
        here = min(left, len(view) - at)
        whole = here == left
        self._body = None if whole else (stream, left - here, ended)
        # Since its beginning came it may have been reset.
        if stream is not None and self._streams.get(stream.number) is stream:
            part = view[at : at + here]
            # Whoever holds a part holds all that came with it: one that is small does not.
            small = here * 4 < len(view)
            self._deliver(stream, bytes(part) if small else part, events, ended=whole and ended)
        return here

    def _deliver(self, stream: Stream, data: Buffer, events: list[Event], *, ended: bool) -> None:
        events.append(Data(stream.number, data, ended))
        if ended:
            stream.remote_ended = True
            self._part(stream)

    def _short(self, kind: int, number: int, value: int, events: list[Event]) -> None:
        match kind & KIND:
            case Kind.PING:
                self._check_greeted()
                if value > MAX_RUNNING:
                    raise Violation(f"a PING with {value} running")
                ack = bool(kind & ACK)
                if not ack:
                    self._pong = value  # only the last: they may come faster than answers are taken
                events.append(Pinged(value, ack))
            case Kind.CREDIT:
                stream = self._found(number)
                if stream is not None:
                    if not 0 < value <= MAX_CREDIT - stream.credit:
                        raise Violation(f"stream {number} was given a credit of {value}")
                    stream.credit += value
                    self._line_up(stream)
            case _:
                stream = self._found(number)
                if stream is not None:
                    forget(stream)
                    del self._streams[number]
                    events.append(Reset(number, value))

    def _long(self, kind: int, number: int, payload: memoryview, events: list[Event]) -> None:
        match kind & KIND:
            case Kind.HELLO:
                if self.peer is not None:
                    raise Violation("a second HELLO")
                self.peer = checked(decode_hello(payload))
                events.append(Greeted(self.peer))
            case Kind.OPEN:
                events.append(self._opened(kind, number, payload))
            case Kind.HEAD:
                stream = self._found(number)
                status, headers = decode_head(payload)
                check_headers(headers)
                if stream is not None:
                    self._headed(stream, status, headers, events, ended=bool(kind & END))
            case _:
                self._check_greeted()
                events.append(Left(number, bytes(payload).decode(errors="replace")))

    def _opened(self, kind: int, number: int, payload: memoryview) -> Opened:
        self._check_greeted()
        if self.end is not End.AGENT:
            raise Violation("only the public end opens streams")
        if number <= self._highest:
            raise Violation(f"stream {number} is opened after {self._highest}")
        if len(self._streams) >= self._own.max_streams:
            raise Violation(f"more than {self._own.max_streams} streams are open")
        protocol, method, target, headers, session = decode_open(payload)
        if protocol not in PROTOCOLS:
            raise Violation(f"the protocol {protocol[:40]!r} is not known")
        if not TOKEN.fullmatch(method) or not TARGET.fullmatch(target):
            raise Violation("the request line is none of HTTP")
        check_headers(headers)
        assert self.peer is not None
        self._highest = number
        stream = self._streams[number] = self._new_stream(number)
        stream.remote_ended = bool(kind & END)
        return Opened(number, protocol, method, target, headers, session, stream.remote_ended)

    def _headed(self, stream: Stream, status: int, headers: Headers, events: list[Event], *, ended: bool) -> None:
        self._check_may_send(stream, head=True)
        if status == 0 and ended and (stream.answered or self.end is End.AGENT):
            stream.remote_ended = True
            events.append(Trailers(stream.number, headers))
        elif (
            self.end is End.PUBLIC and not stream.answered and 100 <= status <= 999 and (is_final(status) or not ended)
        ):
            stream.answered = is_final(status)
            stream.interim += not stream.answered
            if stream.interim > MAX_INTERIM:
                raise Violation(f"stream {stream.number} has too many interim heads")
            stream.remote_ended = ended
            events.append(Head(stream.number, status, headers, ended))
        else:
            raise Violation(f"stream {stream.number} has a head of status {status} where none is allowed")
        self._part(stream)

    def _found(self, number: int) -> Stream | None:
        """The stream; None if it is gone."""
        self._check_greeted()
        stream = self._streams.get(number)
        if stream is None and not 0 < number <= self._highest:
            raise Violation(f"stream {number} was never opened")
        return stream

    def _check_greeted(self) -> None:
        if self.peer is None:
            raise Violation("a HELLO comes first")

    def _check_may_send(self, stream: Stream, *, head: bool = False) -> None:
        if stream.remote_ended:
            raise Violation(f"stream {stream.number} goes on after its end")
        if self.end is End.PUBLIC and not stream.answered and not head:
            raise Violation(f"stream {stream.number} has a body and no head")
