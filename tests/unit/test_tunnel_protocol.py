"""Both ends of a tunnel: what is said arrives, whatever the messages; what is not allowed ends it, with a reason."""

import itertools
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drs_service.tunnel.frames import (
    ACK,
    BUDGET,
    END,
    ENOUGH,
    MAX_CREDIT,
    MAX_HEAD,
    MAX_INTERIM,
    MAX_RUNNING,
    MESSAGE,
    MIB,
    VERSION,
    WINDOW,
    Code,
    Data,
    End,
    Event,
    Greeted,
    Head,
    Hello,
    Kind,
    Leaving,
    Left,
    Opened,
    Pinged,
    Reset,
    Trailers,
    encode,
    known_names,
)
from drs_service.tunnel.protocol import Tunnel
from tests.support.tunnels import HELLO, Pair, frame, frames_of, greeted, growth, heading, opening, said, valued

FIELDS = [(b"Accept", b"*/*"), (b"X", b"caf\xe9")]


def bytes_of(events: list[Event], stream: int) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Data) and event.stream == stream)


# What is said arrives.


def test_each_end_hears_what_the_other_says_of_itself() -> None:
    tunnel = Tunnel(End.PUBLIC, Hello(version=VERSION))
    hello = Hello(version=VERSION, window=1, max_streams=2, target="http://127.0.0.1:8888", software="an agent")
    assert tunnel.receive(frame(Kind.HELLO, 0, encode(hello))) == [Greeted(hello)]
    assert tunnel.peer == hello


def test_a_request_and_its_answer_arrive_as_they_were_and_leave_nothing() -> None:
    pair = Pair()
    stream = pair.public.open(b"PUT", b"/a?b", FIELDS, session="s")
    pair.public.data(stream, b"body")
    pair.public.trailers(stream, [(b"T", b"1")])
    pair.carry()
    assert pair.at_agent == [
        Opened(stream, "http", b"PUT", b"/a?b", FIELDS, "s", False),
        Data(stream, b"body", False),
        Trailers(stream, [(b"T", b"1")]),
    ]
    pair.agent.head(stream, 103, [(b"Link", b"</x>")])
    pair.agent.head(stream, 200, FIELDS)
    pair.agent.data(stream, b"answer", end=True)
    pair.carry()
    assert pair.at_public == [
        Head(stream, 103, [(b"Link", b"</x>")], False),
        Head(stream, 200, FIELDS, False),
        Data(stream, b"answer", True),
    ]
    assert pair.public.gone == pair.agent.gone == [stream]
    pair.assert_nothing_is_left()


def test_heads_alone_begin_and_end_a_stream() -> None:
    pair = Pair()
    stream = pair.public.open(b"GET", b"/", [], end=True)
    pair.carry()
    pair.agent.head(stream, 204, [], end=True)
    pair.carry()
    assert pair.at_public == [Head(stream, 204, [], True)]
    pair.assert_nothing_is_left()


@pytest.mark.parametrize("first", ["public", "agent"])
def test_each_direction_ends_by_itself(first: str) -> None:
    pair = Pair()
    stream = pair.public.open(b"GET", b"/", [], protocol="websocket")
    pair.carry()
    pair.agent.head(stream, 101, [])
    pair.carry()
    ending, other = (pair.public, pair.agent) if first == "public" else (pair.agent, pair.public)
    ending.data(stream, b"last", end=True)
    pair.carry()
    other.data(stream, b"and still some")
    pair.carry()
    assert ending.open_streams == other.open_streams == 1
    other.data(stream, b"", end=True)
    pair.carry()
    assert {bytes_of(pair.at_public, stream), bytes_of(pair.at_agent, stream)} == {b"last", b"and still some"}
    pair.assert_nothing_is_left()


def test_a_reset_ends_both_directions_and_drops_what_waits_and_what_is_on_its_way() -> None:
    pair = Pair()
    stream = pair.public.open(b"PUT", b"/", [])
    pair.carry()
    pair.public.data(stream, bytes(10 * WINDOW))
    on_its_way = said(pair.public)
    pair.agent.reset(stream, Code.BROKEN)
    assert pair.agent.receive(on_its_way) == []
    pair.carry()
    assert pair.at_public == [Reset(stream, Code.BROKEN)]
    pair.public.data(stream, b"more")
    pair.public.trailers(stream, [])
    pair.public.consumed(stream, 1)
    pair.public.reset(stream, 0)
    pair.agent.head(stream, 200, [])
    pair.assert_nothing_is_left()


def test_nothing_follows_a_reset() -> None:
    pair = Pair()
    stream = pair.public.open(b"PUT", b"/", [])
    pair.carry()
    pair.public.data(stream, bytes(WINDOW))
    pair.public.trailers(stream, [])
    pair.public.reset(stream, Code.CANCELLED)
    assert said(pair.public) == valued(Kind.RESET, stream, Code.CANCELLED)


def test_a_reset_inside_a_body_leaves_the_frames_behind_it_whole() -> None:
    pair = Pair()
    stream = pair.public.open(b"PUT", b"/", [])
    pair.carry()
    pair.public.data(stream, b"x" * 1000)
    data = said(pair.public)
    pair.agent.receive(data[:500])
    pair.agent.reset(stream, Code.CANCELLED)
    assert pair.agent.receive(data[500:] + valued(Kind.PING, 0, 3)) == [Pinged(3, False)]
    pair.carry()
    pair.assert_nothing_is_left()


def test_a_ping_is_answered_with_its_value() -> None:
    pair = Pair()
    pair.agent.ping(running=7)
    pair.carry()
    assert pair.at_public == [Pinged(7, False)]
    assert pair.at_agent == [Pinged(7, True)]


def test_why_a_connection_is_to_end_is_told_even_if_it_is_long() -> None:
    pair = Pair()
    pair.public.go_away(Leaving.STOPPED, "ü" * 1000)
    pair.carry()
    [left] = pair.at_agent
    assert isinstance(left, Left) and left.code == Leaving.STOPPED and left.reason == "ü" * 512


CONVERSATION = (
    HELLO
    + opening(1, headers=FIELDS)
    + b"".join(
        (
            frame(Kind.DATA, 1, b"first"),
            valued(Kind.CREDIT, 1, 5),
            opening(2, flags=END),
            frame(Kind.DATA, 1),
            frame(Kind.DATA | END, 1, b"second"),
            valued(Kind.PING, 0, 1),
            opening(7, target=b"*"),
            frame(Kind.HEAD | END, 7, encode((0, [(b"T", b"v")]))),
            valued(Kind.RESET, 2, 1),
            frame(Kind.GOAWAY, 3, b"bye"),
        )
    )
)


def told(events: list[Event]) -> list[Event]:
    """The same, whichever pieces bodies came in."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, Data) and found and isinstance(last := found[-1], Data) and last.stream == event.stream:
            found[-1] = Data(event.stream, bytes(last.data) + bytes(event.data), event.ended)
        else:
            found.append(event)
    return found


def test_where_messages_begin_and_end_says_nothing() -> None:
    whole = told(Tunnel(End.AGENT, Hello(version=VERSION)).receive(CONVERSATION))
    assert len(whole) == 10
    size = len(CONVERSATION)
    for a, b in itertools.product(range(size + 1), range(0, size + 1, 16)):
        tunnel = Tunnel(End.AGENT, Hello(version=VERSION))
        pieces = (CONVERSATION[: min(a, b)], CONVERSATION[min(a, b) : max(a, b)], CONVERSATION[max(a, b) :])
        assert told([event for piece in pieces for event in tunnel.receive(piece)]) == whole
        assert tunnel.failure is None
    byte_by_byte = Tunnel(End.AGENT, Hello(version=VERSION))
    assert told([e for one in range(size) for e in byte_by_byte.receive(CONVERSATION[one : one + 1])]) == whole


# Credit.


def test_nothing_is_sent_beyond_the_credit_and_what_is_read_lets_the_window_grow() -> None:
    pair = Pair()
    stream = pair.public.open(b"PUT", b"/", [])
    body = os.urandom(4 * MIB)
    pair.public.data(stream, body, end=True)
    pair.carry()
    assert bytes_of(pair.at_agent, stream) == body[:WINDOW]
    most, read = WINDOW, 0
    while read < len(body):
        came = len(bytes_of(pair.at_agent, stream)) - read
        most = max(most, came)
        assert 0 < came <= MIB
        pair.agent.consumed(stream, came)
        read += came
        pair.carry()
    assert bytes_of(pair.at_agent, stream) == body
    assert most == MIB
    pair.agent.head(stream, 200, [], end=True)
    pair.carry()
    pair.assert_nothing_is_left()


def test_a_reader_that_reads_little_by_little_never_stalls_its_sender() -> None:
    pair = Pair(Hello(version=VERSION, window=1))
    stream = pair.public.open(b"PUT", b"/", [])
    pair.public.data(stream, bytes(1000), end=True)
    came = 0
    for _ in range(1000):
        pair.carry()
        came = len(bytes_of(pair.at_agent, stream))
        pair.agent.consumed(stream, 1)
    pair.carry()
    assert len(bytes_of(pair.at_agent, stream)) == 1000 >= came


def test_credit_is_not_given_byte_by_byte() -> None:
    tunnel = greeted(End.AGENT)
    tunnel.receive(opening() + frame(Kind.DATA, 1, bytes(WINDOW)))
    tunnel.consumed(1, WINDOW // 4 - 1)
    assert not tunnel.wants_to_send
    tunnel.consumed(1, 1)
    assert said(tunnel) == valued(Kind.CREDIT, 1, MIB - WINDOW * 3 // 4)


def test_what_came_and_was_not_read_counts() -> None:
    pair = Pair()
    stream = pair.public.open(b"PUT", b"/", [])
    pair.public.data(stream, bytes(4 * MIB))
    pair.carry()
    pair.agent.consumed(stream, WINDOW // 4)
    pair.carry()
    assert len(bytes_of(pair.at_agent, stream)) == MIB + WINDOW // 4


def test_many_streams_share_what_is_held_for_all() -> None:
    pair = Pair()
    streams = [pair.public.open(b"PUT", b"/", []) for _ in range(256)]
    pair.carry()
    for stream in streams:
        pair.public.data(stream, bytes(WINDOW))
    pair.carry()
    for stream in streams:
        pair.agent.consumed(stream, WINDOW)
        pair.public.data(stream, bytes(2 * MIB))
    pair.at_agent.clear()
    pair.carry()
    assert sum(len(event.data) for event in pair.at_agent if isinstance(event, Data)) == BUDGET


def test_a_producer_hears_when_to_go_on() -> None:
    pair = Pair(Hello(version=VERSION, window=ENOUGH))
    stream = pair.public.open(b"PUT", b"/", [])
    pair.carry()
    pair.public.data(stream, bytes(ENOUGH))
    assert not pair.public.is_full(stream)
    pair.public.data(stream, b"x")
    assert pair.public.is_full(stream)
    pair.carry()
    assert pair.public.drained == [stream]


def test_what_was_said_before_credit_came_goes_out_with_it_and_a_credit_after_the_end_says_nothing() -> None:
    tunnel = greeted(End.PUBLIC, Hello(version=VERSION))
    stream = tunnel.open(b"PUT", b"/", [])
    tunnel.data(stream, bytes(WINDOW + 10), end=True)
    assert sum(size for kind, _, size, _ in frames_of(said(tunnel)) if kind == Kind.DATA) == WINDOW
    tunnel.receive(valued(Kind.CREDIT, stream, 4))
    assert said(tunnel) == frame(Kind.DATA, stream, bytes(4))
    tunnel.receive(valued(Kind.CREDIT, stream, 6))
    assert said(tunnel) == frame(Kind.DATA | END, stream, bytes(6))
    tunnel.receive(valued(Kind.CREDIT, stream, 6))
    assert said(tunnel) == b""


def test_an_end_needs_no_credit() -> None:
    pair = Pair(Hello(version=VERSION, window=3))
    ended = pair.public.open(b"PUT", b"/", [])
    trailed = pair.public.open(b"PUT", b"/", [])
    for stream in (ended, trailed):
        pair.public.data(stream, b"abc")
    pair.carry()
    pair.public.data(ended, b"", end=True)
    pair.public.trailers(trailed, [])
    pair.carry()
    assert pair.at_agent[-2:] == [Data(ended, b"", True), Trailers(trailed, [])]


# Turns.


def test_a_small_answer_does_not_wait_for_a_big_one() -> None:
    pair = Pair(Hello(version=VERSION, window=8 * MIB))
    big, small = (pair.public.open(b"GET", b"/", [], end=True) for _ in range(2))
    pair.carry()
    for stream in (big, small):
        pair.agent.head(stream, 200, [])
    pair.agent.data(big, bytes(8 * MIB), end=True)
    pair.agent.data_to_send()
    pair.agent.data(small, b"small", end=True)
    frames = list(frames_of(said(pair.agent)))
    before = itertools.takewhile(lambda one: one[1] != small, frames)
    assert sum(size for _, _, size, _ in before) <= MESSAGE


def test_all_streams_that_can_send_have_their_turns() -> None:
    pair = Pair(Hello(version=VERSION, window=MIB))
    streams = [pair.public.open(b"PUT", b"/", []) for _ in range(20)]
    pair.carry()
    for stream in streams:
        pair.public.data(stream, bytes(MIB))
    turns = [stream for _ in range(10) for _, stream, _, _ in frames_of(b"".join(pair.public.data_to_send()))]
    counts = [turns.count(stream) for stream in streams]
    assert max(counts) - min(counts) <= 1 and min(counts) > 1


def test_control_goes_before_bodies() -> None:
    pair = Pair(Hello(version=VERSION, window=8 * MIB))
    big = pair.public.open(b"PUT", b"/", [])
    pair.carry()
    pair.public.data(big, bytes(8 * MIB))
    pair.public.data_to_send()
    pair.public.ping()
    pair.public.open(b"GET", b"/", [], end=True)
    kinds = [kind & 0x0F for kind, *_ in frames_of(b"".join(pair.public.data_to_send()))]
    assert kinds[:2] == [Kind.PING, Kind.OPEN] and set(kinds[2:]) == {Kind.DATA}


def test_no_message_is_too_long_whatever_it_is_made_of() -> None:
    pair = Pair()
    long = [(b"X", bytes(MAX_HEAD - 100).replace(b"\0", b"x"))]
    for _ in range(20):
        stream = pair.public.open(b"PUT", b"/", long)
        pair.public.data(stream, bytes(WINDOW))
        pair.public.trailers(stream, long)
    while pair.public.wants_to_send:
        message = b"".join(pair.public.data_to_send())
        assert len(message) < MIB // 2
        pair.at_agent += pair.agent.receive(message)
    assert pair.agent.failure is None
    assert sum(isinstance(event, Trailers) for event in pair.at_agent) == 20


# What is not to be said is refused where it would be.


def test_what_the_other_end_would_not_take_is_not_sent() -> None:
    pair = Pair()
    long = [(b"X", b"x" * MAX_HEAD)]
    with pytest.raises(ValueError, match="too long"):
        pair.public.open(b"GET", b"/", long)
    stream = pair.public.open(b"GET", b"/", [])
    with pytest.raises(ValueError, match="too long"):
        pair.public.trailers(stream, long)
    pair.carry()
    with pytest.raises(ValueError, match="too long"):
        pair.agent.head(stream, 200, long)
    for status in (0, 99, 1000):
        with pytest.raises(ValueError, match="status"):
            pair.agent.head(stream, status, [])
    for _ in range(10 * MAX_INTERIM):
        pair.agent.head(stream, 102, [])
    pair.agent.head(stream, 200, [])
    pair.carry()
    assert [event.status for event in pair.at_public if isinstance(event, Head)] == [102] * MAX_INTERIM + [200]


def test_there_is_no_room_beyond_what_the_other_end_takes() -> None:
    pair = Pair(Hello(version=VERSION, max_streams=2))
    streams = [pair.public.open(b"GET", b"/", [], end=True) for _ in range(2)]
    assert not pair.public.has_room
    pair.carry()
    pair.agent.reset(streams[0], Code.REFUSED)
    pair.carry()
    assert pair.public.has_room


def test_there_is_no_room_while_heads_are_not_taken() -> None:
    tunnel = greeted(End.PUBLIC)
    for _ in range(1000):
        if not tunnel.has_room:
            break
        stream = tunnel.open(b"GET", b"/", [(b"X", b"x" * 64 * 1024)], end=True)
        tunnel.receive(valued(Kind.RESET, stream, Code.REFUSED))
    assert not tunnel.has_room and stream < 200


def test_there_is_no_room_when_all_numbers_of_streams_are_used_up() -> None:
    tunnel = greeted(End.PUBLIC)
    tunnel._highest = 2**32 - 2
    assert tunnel.open(b"GET", b"/", [], end=True) == 2**32 - 1
    assert tunnel.is_used_up and not tunnel.has_room


# Lies.

NAMED = [(b"a b", b""), (b"", b""), (b"a:", b""), (b"a\r\nb", b""), (b"\xfc", b""), (b"a\0", b"")]
VALUED = [(b"A", b"x\r\nSet-Cookie: y"), (b"A", b"x\ny"), (b"A", b"x\ry"), (b"A", b"\0")]
TARGETS = [b"", b"a", b"/ HTTP/1.1", b"/\r\nX: y", b"/\0", b"/\x7f", b"/\t", b"http://x/", b"**"]
OPEN_1 = opening(1)

TO_AGENT: dict[str, bytes] = {
    "a second HELLO": HELLO + HELLO,
    "an unknown kind": HELLO + valued(0x0F, 0, 0),
    "a flag of another kind": HELLO + valued(Kind.PING | END, 0, 0),
    "a flag that does not exist": HELLO + valued(Kind.PING | 0x20, 0, 0),
    "a PING of too much": HELLO + valued(Kind.PING, 0, MAX_RUNNING + 1),
    "a HEAD that is too long": HELLO + OPEN_1 + valued(Kind.HEAD, 1, MAX_HEAD + 1),
    "an OPEN that is too long": HELLO + valued(Kind.OPEN, 1, MAX_HEAD + 1),
    "a HELLO that is too long": valued(Kind.HELLO, 0, 4097),
    "a GOAWAY that is too long": HELLO + valued(Kind.GOAWAY, 0, 1025),
    "stream 0": HELLO + opening(0),
    "a stream twice": HELLO + OPEN_1 + OPEN_1,
    "numbers that go down": HELLO + opening(9) + opening(8),
    "credit for no stream": HELLO + valued(Kind.CREDIT, 1, 1),
    "a reset of no stream": HELLO + valued(Kind.RESET, 1, 1),
    "a body of no stream": HELLO + frame(Kind.DATA, 1, b"x"),
    "no credit": HELLO + OPEN_1 + valued(Kind.CREDIT, 1, 0),
    "too much credit": HELLO + OPEN_1 + valued(Kind.CREDIT, 1, MAX_CREDIT),
    "too much credit by and by": HELLO
    + OPEN_1
    + valued(Kind.CREDIT, 1, MAX_CREDIT - WINDOW)
    + valued(Kind.CREDIT, 1, 1),
    "more than the window": HELLO + OPEN_1 + valued(Kind.DATA, 1, WINDOW + 1),
    "more than is left of it": HELLO + OPEN_1 + frame(Kind.DATA, 1, bytes(WINDOW)) + frame(Kind.DATA, 1, b"x"),
    "a body after the end": HELLO + opening(1, flags=END) + frame(Kind.DATA, 1, b""),
    "an end after the end": HELLO + OPEN_1 + frame(Kind.DATA | END, 1) + frame(Kind.DATA | END, 1),
    "trailers after the end": HELLO + opening(1, flags=END) + heading(1, 0, flags=END),
    "an answer by the public end": HELLO + OPEN_1 + heading(1, 200),
    "trailers that do not end": HELLO + OPEN_1 + heading(1, 0),
    "an unknown protocol": HELLO + frame(Kind.OPEN, 1, encode(("gopher", b"GET", b"/", [], ""))),
    "a method that is none": HELLO + frame(Kind.OPEN, 1, encode(("http", b"G T", b"/", [], ""))),
    "an OPEN without a session": HELLO + frame(Kind.OPEN, 1, encode(("http", b"GET", b"/", []))),
    "an OPEN that is no msgpack": HELLO + frame(Kind.OPEN, 1, b"\xc1"),
    "an OPEN with more fields than bytes": HELLO
    + frame(Kind.OPEN, 1, b"\x95\xa4http\xc4\0\xc4\1/\xdd\xff\xff\xff\xff"),
    "an empty OPEN": HELLO + frame(Kind.OPEN, 1),
    "another version": frame(Kind.HELLO, 0, encode(Hello(version=VERSION + 1))),
    "no version": frame(Kind.HELLO, 0, encode({})),
    "a HELLO without a window": frame(Kind.HELLO, 0, encode({"version": 1, "window": 0})),
    "a HELLO without an end": frame(Kind.HELLO, 0, encode({"version": 1, "window": 2**64 - 1})),
    "a HELLO without streams": frame(Kind.HELLO, 0, encode({"version": 1, "max_streams": 0})),
    "a HELLO in Latin-1": frame(Kind.HELLO, 0, b"\x82\xa7version\x01\xa6target\xa1\xff"),
    "a HELLO that is deep": frame(Kind.HELLO, 0, b"\x82\xa7version\x01\xa1x" + b"\x91" * 4000 + b"\x01"),
    **{f"target {one!r}": HELLO + opening(1, target=one) for one in TARGETS},
    **{f"field {one!r}": HELLO + opening(1, headers=[one]) for one in NAMED + VALUED},
    **{f"trailer {one!r}": HELLO + OPEN_1 + heading(1, 0, headers=[one], flags=END) for one in NAMED + VALUED},
    **{f"kind {kind} before a HELLO": valued(kind, 1, 0) for kind in Kind if kind != Kind.HELLO},
}
TO_PUBLIC: dict[str, bytes] = {
    "an agent that opens": opening(2),
    "a body before its head": frame(Kind.DATA, 1, b"x"),
    "a body after an interim head": heading(1, 100) + frame(Kind.DATA, 1, b"x"),
    "trailers before the head": heading(1, 0, flags=END),
    "two heads": heading(1) + heading(1),
    "an interim head after the final one": heading(1) + heading(1, 100),
    "an interim head that ends": heading(1, 103, flags=END),
    "something after a switch": heading(1, 101) + heading(1, 200),
    "too many interim heads": heading(1, 102) * (MAX_INTERIM + 1),
    "a status below": heading(1, 99),
    "a status above": heading(1, 1000),
    "a status far above": heading(1, 2**64 - 1),
    "a negative status": heading(1, -200),
    "a status that is none": frame(Kind.HEAD, 1, encode(("200", []))),
    "more than the window": heading(1) + valued(Kind.DATA, 1, WINDOW + 1),
    "a body after the end": heading(1, flags=END) + frame(Kind.DATA, 1, b"x"),
    "a stream that was not opened": heading(2),
    **{f"field {one!r}": heading(1, headers=[one]) for one in NAMED + VALUED},
    **{f"field {one!r} of a stream that is gone": valued(5, 1, 0) + heading(1, headers=[one]) for one in VALUED},
}


def assert_fails(tunnel: Tunnel, lie: bytes) -> None:
    tunnel.receive(lie)
    assert tunnel.failure
    assert tunnel.open_streams == 0 and not tunnel.has_room
    assert tunnel.receive(HELLO + OPEN_1) == []
    [*_, (kind, code, _, reason)] = frames_of(said(tunnel))
    assert (kind, code, reason.decode()) == (Kind.GOAWAY, Leaving.FAILED, tunnel.failure)


@pytest.mark.parametrize("lie", TO_AGENT)
@pytest.mark.parametrize("cut", [0, 12, 20])
def test_what_an_agent_is_not_to_hear_ends_the_tunnel(lie: str, cut: int) -> None:
    tunnel = Tunnel(End.AGENT, Hello(version=VERSION))
    tunnel.receive(TO_AGENT[lie][:cut])
    assert_fails(tunnel, TO_AGENT[lie][cut:])


@pytest.mark.parametrize("lie", TO_PUBLIC)
def test_what_a_public_end_is_not_to_hear_ends_the_tunnel(lie: str) -> None:
    tunnel = greeted(End.PUBLIC)
    tunnel.open(b"PUT", b"/", [])
    tunnel.data(1, bytes(2 * WINDOW))
    assert_fails(tunnel, TO_PUBLIC[lie])


def test_who_offers_no_room_for_more_streams_is_held_to_it() -> None:
    tunnel = greeted(End.AGENT, Hello(version=VERSION, max_streams=2))
    assert_fails(tunnel, opening(1) + opening(2) + opening(3))


def test_a_failure_is_told_behind_the_hello_even_if_that_has_not_gone_out() -> None:
    tunnel = Tunnel(End.AGENT, Hello(version=VERSION))
    tunnel.receive(valued(Kind.PING, 0, 0))
    other = Tunnel(End.PUBLIC, Hello(version=VERSION))
    assert other.receive(said(tunnel))[1:] == [Left(Leaving.FAILED, "a HELLO comes first")]
    assert other.failure is None


def test_what_was_heard_before_a_lie_is_heard() -> None:
    tunnel = greeted(End.AGENT)
    [opened, data] = tunnel.receive(opening(1) + frame(Kind.DATA, 1, b"x") + valued(Kind.CREDIT, 1, 0))
    assert isinstance(opened, Opened) and data == Data(1, b"x", False)
    assert tunnel.failure


RUBBISH = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(
            frame,
            st.integers(0, 255),
            st.integers(0, 4),
            st.one_of(st.binary(max_size=40), st.sampled_from([HELLO[9:], OPEN_1[9:], heading(1)[9:]])),
        ),
        st.builds(valued, st.integers(0, 255), st.integers(0, 4), st.integers(0, 2**32 - 1)),
        st.sampled_from([HELLO, OPEN_1, opening(2), heading(1), heading(0, 0, flags=END), frame(Kind.DATA, 1, b"x")]),
    ),
    max_size=12,
)


@settings(max_examples=120, deadline=None)
@given(RUBBISH, st.sampled_from(End), st.booleans())
def test_rubbish_never_raises(rubbish: list[bytes], end: End, is_greeted: bool) -> None:
    tunnel = greeted(end) if is_greeted else Tunnel(end, Hello(version=VERSION))
    if is_greeted and end is End.PUBLIC:
        tunnel.open(b"PUT", b"/", [])
    for one in rubbish:
        for event in tunnel.receive(one):
            if isinstance(event, Data):
                tunnel.consumed(event.stream, len(event.data))
    said(tunnel)
    assert not tunnel.failure or tunnel.open_streams == 0


# Nothing grows.


def test_pings_whose_answers_are_not_read_do_not_gather() -> None:
    tunnel = greeted(End.PUBLIC)
    pings = valued(Kind.PING, 0, 1) * 1000

    def flood() -> None:
        for _ in range(20):
            tunnel.receive(pings)

    assert growth(flood) < 10_000
    assert said(tunnel) == valued(Kind.PING | ACK, 0, 1)


def test_names_of_fields_that_are_made_up_are_not_all_kept() -> None:
    tunnel = greeted(End.PUBLIC)
    tunnel.open(b"GET", b"/", [])
    tunnel.receive(valued(Kind.RESET, 1, 0))
    for begin in range(0, 4000, 1000):
        tunnel.receive(heading(1, headers=[(b"X-%d" % number, b"") for number in range(begin, begin + 1000)]))
    assert tunnel.failure is None
    assert len(known_names) <= 1000


def test_what_is_sent_to_streams_that_are_gone_does_not_gather() -> None:
    tunnel = greeted(End.AGENT)
    tunnel.receive(opening(1) + valued(Kind.RESET, 1, 0))
    body = frame(Kind.DATA, 1, bytes(100_000)) + heading(1) + valued(Kind.CREDIT, 1, 2**31) + valued(Kind.RESET, 1, 0)
    assert growth(lambda: [tunnel.receive(body) for _ in range(100)]) < 20_000
    assert tunnel.failure is None


def test_who_takes_nothing_of_what_he_is_sent_is_let_go() -> None:
    """An agent's answers are in no window: who asks on and on, and does not read them, would fill its memory."""
    tunnel = greeted(End.AGENT)
    answer = [(b"X", b"x" * 100_000)]
    for number in range(1, 2000):
        tunnel.receive(opening(number, flags=END))
        if tunnel.failure:
            break
        tunnel.head(number, 200, answer, end=True)
    assert tunnel.failure and number * 100_000 < 2 * BUDGET
    assert tunnel.open_streams == 0 and len(said(tunnel)) < 1000


def test_a_small_part_of_a_message_does_not_keep_it_alive() -> None:
    tunnel = greeted(End.PUBLIC)
    tunnel.open(b"GET", b"/", [])
    tunnel.open(b"GET", b"/", [])
    tunnel.receive(heading(1) + valued(Kind.RESET, 2, 0))
    message = frame(Kind.DATA, 1, b"x") + frame(Kind.DATA, 2, bytes(MIB))
    assert growth(lambda: [tunnel.receive(bytes(bytearray(message))) for _ in range(20)]) < 100_000


def test_a_head_that_comes_byte_by_byte_costs_what_it_is_long() -> None:
    head = opening(1, headers=[(b"X", b"x" * (MAX_HEAD - 100))])
    tunnel = greeted(End.AGENT)

    def seconds(begin: int, size: int) -> float:
        began = time.perf_counter()
        for at in range(begin, begin + size):
            assert tunnel.receive(head[at : at + 1]) == []
        return time.perf_counter() - began

    early = min(seconds(at, 100) for at in range(0, 2000, 100))
    tunnel.receive(head[2000:-2001])
    late = min(seconds(at, 100) for at in range(len(head) - 2001, len(head) - 1, 100))
    assert late < 3 * early
    assert isinstance(tunnel.receive(head[-1:])[0], Opened)
