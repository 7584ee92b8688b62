"""docs/tunnel.md says what the tunnel says, byte for byte."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from drs_service.tunnel.frames import (
    MAX_HEAD,
    MAX_HELLO,
    MAX_INTERIM,
    MAX_REASON,
    SUBPROTOCOL,
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
)
from drs_service.tunnel.link import PING_EVERY, SILENCE
from drs_service.tunnel.protocol import Tunnel
from tests.support.tunnels import said

TEXT = (Path(__file__).parents[2] / "docs" / "tunnel.md").read_text()


def examples() -> list[tuple[str, bytes]]:
    """(who says it, a frame) of each example."""
    blocks = re.findall(r"^```frames\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [(line[0], bytes.fromhex(line[1:])) for line in lines]


def test_the_examples_are_what_either_end_says_and_hears() -> None:
    public = Tunnel(End.PUBLIC, Hello(version=VERSION, epoch=7))
    agent = Tunnel(End.AGENT, Hello(version=VERSION, target="http://127.0.0.1:8888"))

    def read_a_window() -> None:
        public.data(3, bytes(WINDOW))
        agent.receive(said(public))
        agent.consumed(3, WINDOW)

    story: list[tuple[Callable[[], object], list[Event]]] = [
        (lambda: None, [Greeted(Hello(version=1, target="http://127.0.0.1:8888"))]),
        (lambda: None, [Greeted(Hello(version=1, epoch=7))]),
        (
            lambda: public.open(b"PUT", b"/a?b", [(b"Host", b"x")], session="s"),
            [Opened(1, "http", b"PUT", b"/a?b", [(b"Host", b"x")], "s", False)],
        ),
        (lambda: public.data(1, b"hello"), [Data(1, b"hello", False)]),
        (lambda: public.trailers(1, [(b"T", b"1")]), [Trailers(1, [(b"T", b"1")])]),
        (lambda: agent.head(1, 103, []), [Head(1, 103, [], False)]),
        (lambda: agent.head(1, 200, [(b"A", b"b")]), [Head(1, 200, [(b"A", b"b")], False)]),
        (lambda: agent.data(1, b"hi", end=True), [Data(1, b"hi", True)]),
        (
            lambda: public.open(b"GET", b"/", [], session="s", end=True),
            [Opened(2, "http", b"GET", b"/", [], "s", True)],
        ),
        (lambda: public.reset(2, Code.CANCELLED), [Reset(2, Code.CANCELLED)]),
        (lambda: public.open(b"PUT", b"/c", [], session="s"), [Opened(3, "http", b"PUT", b"/c", [], "s", False)]),
        (read_a_window, []),
        (lambda: agent.ping(running=2), [Pinged(2, False)]),
        (lambda: None, [Pinged(2, True)]),
        (lambda: public.go_away(Leaving.DRAINING, "gone"), [Left(Leaving.DRAINING, "gone")]),
        (lambda: agent.go_away(Leaving.LEFT), [Left(Leaving.LEFT, "")]),
    ]
    for (who, data), (act, heard) in zip(examples(), story, strict=True):
        speaker, hearer = (agent, public) if who == "<" else (public, agent)
        act()
        assert said(speaker) == data
        assert hearer.receive(data) == heard
        assert hearer.failure is None


@pytest.mark.parametrize(("heading", "codes"), [("| kind |", Kind), ("| RESET |", Code), ("| GOAWAY |", Leaving)])
def test_every_kind_and_code_has_its_row(heading: str, codes: type[Kind] | type[Code] | type[Leaving]) -> None:
    [table] = re.findall(rf"^{re.escape(heading)}.*?\n\n", TEXT, re.DOTALL | re.MULTILINE)
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == [str(code.value) for code in codes]


def test_the_figures_are_the_ones_that_are_kept() -> None:
    assert f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\n" in TEXT
    assert f"| `window` | {WINDOW} |" in TEXT
    assert (MAX_HELLO, MAX_HEAD, MAX_REASON) == (4 * 1024, 128 * 1024, 1024)  # "up to 4 KiB", "128 KiB", "1 KiB"
    assert f"(up to {MAX_INTERIM})" in TEXT
    assert f"PING every {PING_EVERY:.0f} s" in TEXT and f"nothing for {SILENCE:.0f} s" in TEXT
