"""What a link makes of streams whose parties end at once."""

from drs_service.tunnel.frames import VERSION, Buffer, Code, End, Headers, Hello, Opened, Reset
from drs_service.tunnel.link import Link, Party
from drs_service.tunnel.protocol import Tunnel
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
