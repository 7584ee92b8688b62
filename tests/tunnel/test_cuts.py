"""A connection between agent and node that is cut in the middle of a frame."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.deadline import until
from tests.support.passage import Passage, passage
from tests.support.program import free_port
from tests.support.raw_http import asked, connected, request
from tests.support.stage import OK, Stage, Visit, staged
from tests.support.tunnel import Agent, Cluster, Session
from tests.support.tunnel import connected as all_connected

SIZE = 5 * 1024**2
SOME = 300_003  # bytes: more than a message of the tunnel, and in the middle of another one


@pytest.fixture(scope="module")
def way() -> Iterator[Passage]:
    with passage() as way:
        yield way


@pytest.fixture(scope="module")
def led(cluster: Cluster, way: Passage) -> tuple[Session, Agent, int]:
    """A session whose agent reaches the first node by the way, the agent, and the port of its app."""
    way.port = cluster.nodes[0].port
    session, port = cluster.session(), free_port()
    agent = cluster.agent(session, f"http://127.0.0.1:{port}", service=way.url)
    all_connected([session])
    return session, agent, port


@pytest_asyncio.fixture
async def far(led: tuple[Session, Agent, int]) -> AsyncIterator[Stage]:
    async with staged(led[2]) as stage:
        yield stage


@pytest.mark.parametrize("number", [0, 1], ids=["holder", "other"])
async def test_a_request_that_is_cut_is_told_so(
    number: int, way: Passage, led: tuple[Session, Agent, int], far: Stage, cluster: Cluster
) -> None:
    session, place = led[0], cluster.places[number]
    heard = asyncio.Event()

    async def act(visit: Visit) -> None:
        if (await visit.head()).method == b"PUT":
            heard.set()
            await visit.gone()
        await visit.say(OK)

    far.act = act
    async with connected(place) as connection:
        await connection.send(request("PUT", f"{session.path}/", session.bearer, f"Content-Length: {SIZE}"))
        await heard.wait()
        way.down.block_after(SOME)
        await connection.send(bytes(SIZE // 4))
        await asyncio.to_thread(way.down.blocked.wait, 5)
        way.cut()
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (502, "tunnel_lost")
    await until(lambda: far.visits[0].is_over)
    assert (await asked(place, request("GET", f"{session.path}/", session.bearer))).body == b"ok"


@pytest.mark.parametrize("number", [0, 1], ids=["holder", "other"])
async def test_an_answer_that_is_cut_is_broken_off(
    number: int, way: Passage, led: tuple[Session, Agent, int], far: Stage, cluster: Cluster
) -> None:
    session, place = led[0], cluster.places[number]

    async def act(visit: Visit) -> None:
        if (await visit.request()).target == b"/large":
            way.up.block_after(SOME)
            await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (SIZE, bytes(SIZE)))
        await visit.say(OK)

    far.act = act
    async with connected(place) as connection:
        await connection.send(request("GET", f"{session.path}/large", session.bearer))
        assert (await connection.head()).status == 200
        await asyncio.to_thread(way.up.blocked.wait, 5)
        way.cut()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await connection.read(SIZE)
    assert (await asked(place, request("GET", f"{session.path}/", session.bearer))).body == b"ok"
