"""Two ends of a tunnel, driven against each other in every order: what is said is heard, and nothing is left."""

import random
from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from drs_service.tunnel.frames import Code, Data, End, Event, Head, Headers, Hello, Kind, Opened, Reset, Trailers
from drs_service.tunnel.protocol import Tunnel
from tests.support.tunnels import frames_of, remains

NOISE = random.Random(6).randbytes(400_000)  # no two pieces of it are the same
SIZES = st.one_of(st.integers(0, 40), st.integers(0, 300_000))
FIELDS: Headers = [(b"A", b"b"), (b"C", b"")]
WHICH = st.integers(0, 1000)


@dataclass
class Way:
    """One direction of a stream."""

    said: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    consumed: int = 0
    ended: str = ""
    """How it was ended: `end` or `trailers`."""
    end_heard: str = ""


@dataclass
class Side:
    """One end, and what it knows."""

    tunnel: Tunnel
    wire: bytearray = field(default_factory=bytearray)
    """Bytes that it sent, on their way."""
    open: set[int] = field(default_factory=set)
    """Streams that it may still speak of or hear of."""
    said: dict[int, Way] = field(default_factory=lambda: defaultdict(Way))
    sent: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    granted: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    answered: set[int] = field(default_factory=set)


class Conversation(RuleBasedStateMachine):
    @initialize(windows=st.tuples(*[st.one_of(st.integers(1, 50), st.integers(1, 200_000))] * 2))
    def greet(self, windows: tuple[int, int]) -> None:
        self.windows = windows
        self.public = Side(Tunnel(End.PUBLIC, Hello(version=1, window=windows[0])))
        self.agent = Side(Tunnel(End.AGENT, Hello(version=1, window=windows[1])))
        self.heads: dict[int, list[int]] = defaultdict(list)
        self.heads_heard: dict[int, list[int]] = defaultdict(list)
        self.opened: set[int] = set()

    def other(self, side: Side) -> Side:
        return self.agent if side is self.public else self.public

    # What parties do.

    @precondition(lambda self: self.public.tunnel.has_room)
    @rule(ended=st.booleans())
    def ask(self, ended: bool) -> None:
        stream = self.public.tunnel.open(b"GET", b"/", FIELDS, end=ended)
        self.public.open.add(stream)
        self.opened.add(stream)
        self.public.said[stream].ended = "end" if ended else ""

    @rule(which=WHICH, status=st.sampled_from([100, 103, 200, 200, 304]), ended=st.booleans())
    def answer(self, which: int, status: int, ended: bool) -> None:
        stream = chosen(self.agent.open - self.agent.answered, which)
        if stream is None or len(self.heads[stream]) > 10:
            return
        ended = ended and status >= 200
        self.agent.tunnel.head(stream, status, FIELDS, end=ended)
        self.heads[stream].append(status)
        if status >= 200:
            self.agent.answered.add(stream)
            self.agent.said[stream].ended = "end" if ended else ""

    @rule(is_public=st.booleans(), which=WHICH, at=st.integers(0, 90_000), size=SIZES, end=st.sampled_from(["", "end"]))
    def say(self, is_public: bool, which: int, at: int, size: int, end: str) -> None:
        side, stream = self.speaker(is_public, which)
        if stream is not None:
            piece = NOISE[at : at + size]
            side.tunnel.data(stream, piece, end=bool(end))
            side.said[stream].said += piece
            side.said[stream].ended = end

    @rule(is_public=st.booleans(), which=WHICH)
    def say_trailers(self, is_public: bool, which: int) -> None:
        side, stream = self.speaker(is_public, which)
        if stream is not None:
            side.tunnel.trailers(stream, FIELDS)
            side.said[stream].ended = "trailers"

    @rule(is_public=st.booleans(), which=WHICH)
    def reset(self, is_public: bool, which: int) -> None:
        side = self.public if is_public else self.agent
        stream = chosen(side.open, which)
        if stream is not None:
            side.tunnel.reset(stream, Code.CANCELLED)
            side.open.discard(stream)

    @rule(is_public=st.booleans(), which=WHICH, share=st.sampled_from([0.1, 0.5, 1.0]))
    def consume(self, is_public: bool, which: int, share: float) -> None:
        side = self.public if is_public else self.agent
        stream = chosen(side.open, which)
        if stream is not None:
            way = self.other(side).said[stream]
            count = int((len(way.heard) - way.consumed) * share)
            way.consumed += count
            side.tunnel.consumed(stream, count)

    @rule(is_public=st.booleans())
    def ping(self, is_public: bool) -> None:
        (self.public if is_public else self.agent).tunnel.ping(3)

    def speaker(self, is_public: bool, which: int) -> tuple[Side, int | None]:
        side = self.public if is_public else self.agent
        may = side.open if is_public else side.open & side.answered
        return side, chosen({stream for stream in may if not side.said[stream].ended}, which)

    # What wires do.

    @rule(is_public=st.booleans())
    def send(self, is_public: bool) -> None:
        side = self.public if is_public else self.agent
        message = b"".join(side.tunnel.data_to_send())
        assert len(message) < 2**19
        for kind, stream, value, _ in frames_of(message):
            if kind & 0x0F == Kind.CREDIT:
                side.granted[stream] += value
            elif kind & 0x0F == Kind.DATA:
                side.sent[stream] += value
                window = self.windows[1] if is_public else self.windows[0]
                assert side.sent[stream] <= window + self.other(side).granted[stream]
        side.wire += message

    @rule(is_public=st.booleans(), size=st.one_of(st.integers(1, 30), st.integers(1, 300_000)))
    def deliver(self, is_public: bool, size: int) -> None:
        side = self.public if is_public else self.agent
        piece = bytes(side.wire[:size])
        del side.wire[:size]
        other = self.other(side)
        for event in other.tunnel.receive(piece):
            self.hear(other, event)
        assert other.tunnel.failure is None
        self.settle()

    def hear(self, side: Side, event: Event) -> None:
        match event:
            case Opened(stream, "http", b"GET", b"/", headers, "", ended):
                assert headers == FIELDS
                side.open.add(stream)
                if ended:
                    self.public.said[stream].end_heard = "end"
            case Head(stream, status, headers, ended):
                assert stream in side.open and headers == FIELDS
                self.heads_heard[stream].append(status)
                assert self.heads_heard[stream] == self.heads[stream][: len(self.heads_heard[stream])]
                if ended:
                    self.agent.said[stream].end_heard = "end"
            case Data(stream, data, ended):
                way = self.other(side).said[stream]
                assert stream in side.open and not way.end_heard
                assert bytes(way.said[len(way.heard) : len(way.heard) + len(data)]) == bytes(data)
                way.heard += data
                way.end_heard = "end" if ended else ""
            case Trailers(stream, headers):
                way = self.other(side).said[stream]
                assert stream in side.open and not way.end_heard and headers == FIELDS
                way.end_heard = "trailers"
            case Reset(stream, code):
                assert stream in side.open and code == Code.CANCELLED
                side.open.discard(stream)
                self.other(side).open.discard(stream)
        for stream in [stream for stream in side.open if self.is_over(stream)]:
            assert bytes(self.public.said[stream].heard) == self.public.said[stream].said
            assert bytes(self.agent.said[stream].heard) == self.agent.said[stream].said
            self.public.open.discard(stream)
            self.agent.open.discard(stream)

    def is_over(self, stream: int) -> bool:
        return all(
            way.end_heard and way.end_heard == way.ended for way in (self.public.said[stream], self.agent.said[stream])
        )

    def settle(self) -> None:
        """What is gone at an end is what has ended there."""
        for side in (self.public, self.agent):
            side.tunnel.drained.clear()
            side.tunnel.gone.clear()

    # The end.

    def teardown(self) -> None:
        if not hasattr(self, "public"):
            return
        self.quiet()
        for stream in sorted(self.agent.open - self.agent.answered):
            self.agent.tunnel.head(stream, 200, FIELDS)
            self.heads[stream].append(200)
            self.agent.answered.add(stream)
        for side in (self.public, self.agent):
            for stream in [stream for stream in side.open if not side.said[stream].ended]:
                side.tunnel.data(stream, b"", end=True)
                side.said[stream].ended = "end"
        self.quiet()
        assert self.public.open == self.agent.open == set()
        for side in (self.public, self.agent):
            assert (side.tunnel.open_streams, remains(side.tunnel)) == (0, [])

    def quiet(self) -> None:
        """Everything arrives, and is read."""
        for _ in range(10_000):
            for is_public, side in ((True, self.public), (False, self.agent)):
                self.send(is_public)
                self.deliver(is_public, len(side.wire))
                for stream in list(side.open):
                    way = self.other(side).said[stream]
                    side.tunnel.consumed(stream, len(way.heard) - way.consumed)
                    way.consumed = len(way.heard)
            if not any(side.tunnel.wants_to_send or side.wire for side in (self.public, self.agent)):
                return
        raise AssertionError("they never come to an end")


def chosen(streams: set[int], which: int) -> int | None:
    return sorted(streams)[which % len(streams)] if streams else None


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
