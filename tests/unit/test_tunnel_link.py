"""What a link makes of streams whose parties end at once, and of many streams."""

from itertools import chain

import pytest

from drs_service.tunnel.frames import VERSION, Buffer, Code, End, Headers, Hello, Opened, Reset
from drs_service.tunnel.link import Link, Party
from drs_service.tunnel.protocol import Tunnel
from drs_service.tunnel.shares import Shares
from tests.support.wires import Wire

HELLO = Hello(version=VERSION)


class Deaf:
    """A party that must not be asked anything."""

    def on_head(self, status: int, headers: Headers, *, ended: bool) -> None:
        raise AssertionError

    def on_data(self, data: Buffer, *, ended: bool) -> None:
        raise AssertionError

    def on_trailers(self, headers: Headers) -> None:
        raise AssertionError

    def on_reset(self, code: int) -> None:
        raise AssertionError

    def on_drained(self) -> None:
        raise AssertionError


class Ear(Deaf):
    """A party that hears how its stream ends, and makes nothing of it."""

    def on_head(self, status: int, headers: Headers, *, ended: bool) -> None:
        pass

    def on_reset(self, code: int) -> None:
        pass


async def test_a_party_that_ends_its_stream_at_once_hears_nothing_of_what_came_with_it() -> None:
    wire, public = Wire(), Tunnel(End.PUBLIC, HELLO)

    def refused(link: Link, opened: Opened) -> Party:
        link.reset(opened.stream, Code.REFUSED)
        return Deaf()

    link = Link(wire, End.AGENT, HELLO, on_open=refused, on_lost=lambda _: None)
    public.receive(b"".join(wire.written))
    wire.written.clear()
    stream = public.open(b"POST", b"/", [])
    public.data(stream, b"body", end=True)
    link.received(b"".join(public.data_to_send()))  # both in one message
    assert link.is_idle
    assert public.receive(b"".join(wire.written)) == [Reset(stream, Code.REFUSED)]
    link.lost("the end")


@pytest.mark.parametrize("end", ["by us", "by the other end", "whole"])
async def test_no_session_takes_the_room_of_another_on_a_link_that_they_share(end: str) -> None:
    wire, agent = Wire(), Tunnel(End.AGENT, Hello(version=VERSION, max_streams=16))
    link = Link(wire, End.PUBLIC, HELLO, on_lost=lambda _: None, shares=Shares())

    def carry() -> None:
        link.flush()
        agent.receive(b"".join(wire.written))
        wire.written.clear()
        link.received(b"".join(agent.data_to_send()))

    def begin(session: str) -> list[int]:
        """As many streams as there is room for."""
        begun = []
        while link.has_room(session):
            begun.append(link.open(Ear(), b"GET", b"/", [], session=session, end=True))
        return begun

    carry()
    for _ in range(3):
        begun = {session: begin(session) for session in "abcd"}
        assert {session: len(streams) for session, streams in begun.items()} == {"a": 8, "b": 4, "c": 2, "d": 1}
        carry()
        for one in chain(*begun.values()):
            match end:
                case "by us":
                    link.reset(one, Code.CANCELLED)
                case "by the other end":
                    agent.reset(one, Code.BROKEN)
                case _:
                    agent.head(one, 204, [], end=True)
        carry()
        assert link.is_idle and agent.open_streams == 0
    link.lost("the end")


async def test_a_link_of_one_session_is_its_own() -> None:
    link = Link(Wire(), End.PUBLIC, HELLO, on_lost=lambda _: None)
    link.received(b"".join(Tunnel(End.AGENT, Hello(version=VERSION, max_streams=3)).data_to_send()))
    for _ in range(3):
        assert link.has_room("a")
        link.open(Ear(), b"GET", b"/", [], session="a")
    assert not link.has_room("a")
