"""An agent that does what is not allowed loses its connection with a reason, and nobody else anything."""

import asyncio

import msgspec
import pytest

from tests.support.fake_agent import (
    CREDIT,
    DATA,
    END,
    FAILED,
    GOAWAY,
    HEAD,
    OPEN,
    RESET,
    FakeAgent,
    frame,
    head,
    hello,
    joined,
)
from tests.support.raw_http import Connection, asked, connected, request
from tests.support.tunnel import Cluster, Place, Session

WINDOW = 64 * 1024


@pytest.fixture
def liar(cluster: Cluster) -> Session:
    """A session whose agent has not come."""
    return cluster.session()


async def test_it_is_a_tunnel_if_nobody_lies(cluster: Cluster, node: Place, liar: Session) -> None:
    async with joined(cluster.places[0], liar) as agent:
        await agent.frame(0)
        asking = asyncio.create_task(asked(node, request("POST", f"{liar.path}/a", liar.bearer, "Content-Length: 0")))
        opened = await agent.frame(OPEN)
        protocol, method, target, headers, _ = msgspec.msgpack.decode(opened.payload)
        assert (protocol, method, target) == ("http", b"POST", b"/a")
        assert [b"X-Forwarded-Prefix", liar.path.encode()] in headers
        stream = opened.stream
        await agent.send(head(stream, 200, (b"Content-Length", b"2")), frame(DATA | END, stream, b"ok"))
        assert (await asking).body == b"ok"


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        pytest.param([head(1, 200), frame(DATA, 1, b"x" * (WINDOW + 1))], "credit", id="beyond-its-credit"),
        pytest.param([head(1, 200), frame(DATA, 1, length=WINDOW + 1)], "credit", id="says-so-before-it-is"),
        pytest.param([frame(CREDIT, 1, length=2**31 - 1)], "credit", id="credit-without-measure"),
        pytest.param([frame(CREDIT, 1, length=0)], "credit", id="credit-of-nothing"),
        pytest.param([frame(DATA, 1, b"x")], "no head", id="a-body-and-no-head"),
        pytest.param([head(1, 200), head(1, 200)], "head", id="two-heads"),
        pytest.param([head(1, 99)], "head", id="a-status-that-is-none"),
        pytest.param([head(1, 0, end=True)], "head", id="trailers-first"),
        pytest.param([frame(DATA | END, 1)], "no head", id="an-end-and-no-head"),
        pytest.param([head(1, 103) * 30], "too many", id="hints-without-end"),
        pytest.param([head(2, 200)], "never opened", id="another-stream"),
        pytest.param([frame(OPEN, 3, msgspec.msgpack.encode(("http", b"GET", b"/", [], "")))], "", id="opens"),
        pytest.param([frame(HEAD, 1, b"\xc1" * 9)], "", id="no-msgpack"),
        pytest.param([frame(HEAD, 1, length=2**31)], "bytes", id="a-huge-head"),
        pytest.param([frame(GOAWAY, 1, length=2**31)], "bytes", id="a-huge-reason"),
        pytest.param([frame(15, 1, b"")], "", id="no-kind"),
        pytest.param([hello()], "second", id="hello-again"),
        pytest.param([head(1, 200, (b"X", b"a\r\nSet-Cookie: evil=1"))], "line break", id="a-value-with-a-line-break"),
        pytest.param([head(1, 200, (b"X\r\nSet-Cookie: evil", b"1"))], "no name", id="a-name-with-a-line-break"),
        pytest.param([head(1, 200, (b"X", b"a\0b"))], "line break", id="a-value-with-a-nul"),
        pytest.param([head(1, 200, (b"", b"1"))], "no name", id="no-name"),
        pytest.param([b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10], "", id="http"),
    ],
)
async def test_a_liar_is_shown_the_door(
    frames: list[bytes], reason: str, cluster: Cluster, node: Place, liar: Session
) -> None:
    async with joined(cluster.places[0], liar) as agent, connected(node) as connection:
        await connection.send(request("GET", f"{liar.path}/", liar.bearer, "Connection: close"))
        assert await agent.opened() == 1
        await agent.send(*frames)
        assert await failed(agent, reason)
        await assert_lost(connection)
    assert (await asked(node, request("GET", "/livez"))).status == 200


async def failed(agent: FakeAgent, reason: str) -> bool:
    code, said = await agent.told_to_leave()
    await agent.closed()
    return code == FAILED and reason in said and said != ""


async def assert_lost(connection: Connection) -> None:
    """502, or reset where the answer had begun."""
    try:
        said = await connection.rest()
    except ConnectionResetError:
        return
    assert b"HTTP/1.1 502 " in said and b'"tunnel_lost"' in said


async def test_an_app_whose_origin_is_none_has_none(cluster: Cluster, node: Place, liar: Session) -> None:
    async with joined(cluster.places[0], liar, said=hello(target="http://[")) as agent:
        asking = asyncio.create_task(asked(node, request("GET", f"{liar.path}/", liar.bearer)))
        await agent.send(head(await agent.opened(), 204, (b"Location", b"http://[/"), end=True))
        assert (await asking).status == 204


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(hello(version=2), id="another-version"),
        pytest.param(hello(window=0), id="no-window"),
        pytest.param(hello(window=2**31), id="a-window-without-measure"),
        pytest.param(hello(max_streams=0), id="no-streams"),
        pytest.param(hello(version="1"), id="no-number"),
        pytest.param(frame(0, 0, b"x" * 5000), id="a-huge-hello"),
        pytest.param(frame(6, 0), id="a-ping-first"),
    ],
)
async def test_who_begins_with_a_lie_gets_no_further(said: bytes, cluster: Cluster, liar: Session) -> None:
    async with joined(cluster.places[0], liar, said=said) as agent:
        assert await failed(agent, "")


async def test_what_is_no_frame_is_refused(cluster: Cluster, liar: Session) -> None:
    async with joined(cluster.places[0], liar) as agent:
        await agent.say("a text")
        await agent.closed()
        assert agent.close_code == 1003


async def test_a_message_without_end_is_refused(cluster: Cluster, liar: Session) -> None:
    async with joined(cluster.places[0], liar) as agent:
        await agent.send(bytes(2 * 1024**2))
        await agent.closed()


async def test_frames_come_in_any_pieces(cluster: Cluster, node: Place, liar: Session) -> None:
    async with joined(cluster.places[0], liar, said=b"") as agent:
        for at in range(len(hello())):
            await agent.send(hello()[at : at + 1])
        asking = asyncio.create_task(asked(node, request("GET", f"{liar.path}/", liar.bearer)))
        stream = await agent.opened()
        said = head(stream, 200, (b"Content-Length", b"2")) + frame(DATA | END, stream, b"ok")
        for at in range(len(said)):
            await agent.send(said[at : at + 1])
        assert (await asking).body == b"ok"


async def test_an_agent_has_as_many_streams_as_it_said(cluster: Cluster, liar: Session) -> None:
    """Those that are one too many are told to come back. Through the other node there are as many."""
    async with joined(cluster.places[0], liar, said=hello(max_streams=3)) as agent:
        asking = request("GET", f"{liar.path}/", liar.bearer)
        waiting = [asyncio.create_task(asked(cluster.places[one], asking)) for one in (0, 1, 0)]
        streams = [await agent.opened() for _ in waiting]
        for place in cluster.places:
            answer = await asked(place, asking)
            assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (
                429,
                "too_many_streams",
                "2",
            )
        await agent.send(*(head(one, 204, end=True) for one in streams))
        assert [(await one).status for one in waiting] == [204] * 3


async def test_what_the_agent_resets_is_told_as_it_is(cluster: Cluster, node: Place, liar: Session) -> None:
    async with joined(cluster.places[0], liar) as agent:
        for code, told in ((2, (502, "target_unreachable")), (3, (502, "target_broken")), (4, (504, "target_timeout"))):
            asking = asyncio.create_task(asked(node, request("GET", f"{liar.path}/", liar.bearer)))
            await agent.send(frame(RESET, await agent.opened(), length=code))
            answer = await asking
            assert (answer.status, answer.json()["code"]) == told


@pytest.mark.parametrize("length", ["1", "3"])
async def test_a_body_that_is_not_as_long_as_it_said_breaks_the_connection(
    length: str, cluster: Cluster, node: Place, liar: Session
) -> None:
    async with joined(cluster.places[0], liar) as agent, connected(node) as connection:
        await connection.send(request("GET", f"{liar.path}/", liar.bearer))
        stream = await agent.opened()
        await agent.send(head(stream, 200, (b"Content-Length", length.encode())), frame(DATA | END, stream, b"ok"))
        with pytest.raises(ConnectionResetError):
            await connection.rest()


@pytest.mark.parametrize("lengths", [[b"2", b"3"], [b"-1"], [b"2, 2"], [b"0x2"], [b""]])
async def test_a_length_that_is_none_is_told(
    lengths: list[bytes], cluster: Cluster, node: Place, liar: Session
) -> None:
    async with joined(cluster.places[0], liar) as agent:
        asking = asyncio.create_task(asked(node, request("GET", f"{liar.path}/", liar.bearer)))
        stream = await agent.opened()
        await agent.send(head(stream, 200, *((b"Content-Length", one) for one in lengths)), frame(DATA, stream, b"ok"))
        answer = await asking
        assert (answer.status, answer.json()["code"]) == (502, "target_broken")


async def test_an_agent_that_never_answers_and_never_reads_costs_little(
    cluster: Cluster, node: Place, liar: Session
) -> None:
    """Its credit is all that it is sent."""
    async with joined(cluster.places[0], liar, said=hello(window=1000)) as agent, connected(node) as connection:
        await connection.send(request("PUT", f"{liar.path}/", liar.bearer, f"Content-Length: {2**30}"))
        stream = await agent.opened()
        await connection.send(bytes(100_000))
        assert len((await agent.frame(DATA)).payload) == 1000
        await agent.send(frame(CREDIT, stream, length=5))
        assert len((await agent.frame(DATA)).payload) == 5
        connection.hang_up()
        reset = await agent.frame(DATA, RESET)
        assert (reset.kind, reset.stream, reset.value) == (RESET, stream, 1)
