"""Two ends of a tunnel without anything between them."""

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain

from drs_service.tunnel.frames import FRAME, VERSION, Buffer, End, Event, Hello, Kind, encode
from drs_service.tunnel.protocol import Tunnel

HELLO = FRAME.pack(Kind.HELLO, 0, 10) + b"\x81\xa7version\x01"
"""The least that an end may say of itself."""


def frame(kind: int, stream: int, payload: bytes = b"") -> bytes:
    return FRAME.pack(kind, stream, len(payload)) + payload


def valued(kind: int, stream: int, value: int) -> bytes:
    """A frame without a payload."""
    return FRAME.pack(kind, stream, value)


def opening(stream: int = 1, *, target: bytes = b"/", headers: object = (), flags: int = 0) -> bytes:
    return frame(Kind.OPEN | flags, stream, encode(("http", b"GET", target, headers, "")))


def heading(stream: int = 1, status: int = 200, *, headers: object = (), flags: int = 0) -> bytes:
    return frame(Kind.HEAD | flags, stream, encode((status, headers)))


def said(tunnel: Tunnel) -> bytes:
    """Everything that it has to say by now."""
    messages = []
    while tunnel.wants_to_send:
        messages.append(b"".join(tunnel.data_to_send()))
    return b"".join(messages)


def frames_of(data: Buffer) -> Iterator[tuple[int, int, int, bytes]]:
    """(kind and flags, stream, length or value, payload) of each frame."""
    at = 0
    data = bytes(data)
    while at < len(data):
        kind, stream, value = FRAME.unpack_from(data, at)
        at += FRAME.size
        size = 0 if kind & 0x0F in {Kind.CREDIT, Kind.RESET, Kind.PING} else value
        yield kind, stream, value, data[at : at + size]
        at += size


def greeted(end: End, hello: Hello | None = None) -> Tunnel:
    """An end that has heard the least HELLO and said its own."""
    tunnel = Tunnel(end, hello or Hello(version=VERSION))
    tunnel.receive(HELLO)
    said(tunnel)
    return tunnel


class Pair:
    """A public end and an agent's, greeted, and what each has heard."""

    def __init__(self, hello: Hello | None = None) -> None:
        self.public = Tunnel(End.PUBLIC, hello or Hello(version=VERSION))
        self.agent = Tunnel(End.AGENT, hello or Hello(version=VERSION))
        self.at_public: list[Event] = []
        self.at_agent: list[Event] = []
        self.carry()
        self.at_public.clear()
        self.at_agent.clear()

    def carry(self) -> None:
        """Bring everything over, until nobody has more to say."""
        while self.public.wants_to_send or self.agent.wants_to_send:
            self.at_agent += self.agent.receive(b"".join(self.public.data_to_send()))
            self.at_public += self.public.receive(b"".join(self.agent.data_to_send()))
        assert (self.public.failure, self.agent.failure) == (None, None)

    def assert_nothing_is_left(self) -> None:
        for tunnel in (self.public, self.agent):
            assert tunnel.failure is None
            assert tunnel.open_streams == 0
            assert not tunnel.wants_to_send
            assert remains(tunnel) == []


def remains(tunnel: Tunnel) -> list[object]:
    """What is kept in it besides what it knows of the other end."""
    rest, body = tunnel._rest, tunnel._body
    return [*tunnel._streams.values(), *tunnel._urgent, *tunnel._line, *chain(rest), *([body] if body else [])]


def growth(act: Callable[[], object]) -> int:
    """Bytes that are still there after it."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = act()
        after, _ = tracemalloc.get_traced_memory()
        del kept
        return after - before
    finally:
        tracemalloc.stop()
