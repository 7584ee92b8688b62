"""Websockets go through a tunnel as they are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.support.deadline import at_rest, until
from tests.support.fake_agent import DATA, HELLO, head, joined
from tests.support.raw_http import chunk, connected, request
from tests.support.stage import Stage, Visit
from tests.support.tunnel import Cluster, Place, Session

LARGE = 10 * 1024**2
CHAT = Subprotocol("v2.chat")
HANDSHAKE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

Act = Callable[[ServerConnection], Awaitable[None]]


class Echo:
    """An app that sends back what it gets, unless a test says otherwise."""

    def __init__(self) -> None:
        self.act: Act = echo
        self.ended: list[tuple[int | None, str | None]] = []

    async def visited(self, connection: ServerConnection) -> None:
        try:
            await self.act(connection)
        except ConnectionClosed:
            pass
        finally:
            await connection.wait_closed()
            self.ended.append((connection.close_code, connection.close_reason))


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(HTTPStatus.FORBIDDEN, "not you\n") if request.path == "/refused" else None


@pytest_asyncio.fixture
async def app_of_sockets(session: Session, stage_port: int) -> AsyncIterator[Echo]:
    app = Echo()
    async with serve(
        app.visited, "127.0.0.1", stage_port, subprotocols=[CHAT], process_request=refuse, max_size=2 * LARGE
    ):
        yield app


def dialled(place: Place, session: Session, path: str = "/", **more: object) -> connect:
    return connect(
        f"ws://127.0.0.1:{place.port}{session.path}{path}",
        additional_headers=session.headers,
        subprotocols=[Subprotocol("v1.chat"), CHAT],
        max_size=2 * LARGE,
        **more,  # type: ignore[arg-type]  # whatever connect takes
    )


async def test_messages_go_both_ways(app_of_sockets: Echo, node: Place, session: Session) -> None:
    large = bytes(range(256)) * (LARGE // 256)
    async with dialled(node, session) as client:
        for message in ("text: \N{SNOWMAN}", b"\x00\xff", "", large):
            await client.send(message)
            assert await client.recv() == message
        await client.send(["in ", "three ", "pieces"])
        assert await client.recv() == "in three pieces"


async def test_so_they_do_through_the_proxy(app_of_sockets: Echo, cluster: Cluster, session: Session) -> None:
    """To either node, in turn."""
    proxy = Place(int(cluster.url.rpartition(":")[2]))
    for _ in range(4):
        async with dialled(proxy, session) as client:
            await client.send("hi")
            assert (await client.recv(), client.subprotocol) == ("hi", CHAT)


async def test_a_message_keeps_its_pieces(app_of_sockets: Echo, node: Place, session: Session) -> None:
    got: list[str | bytes] = []

    async def act(connection: ServerConnection) -> None:
        async for piece in connection.recv_streaming():
            got.append(piece)
        await connection.send(["a", "b", "c"])

    app_of_sockets.act = act
    async with dialled(node, session, compression=None) as client:
        await client.send(["x", "y"])
        assert [piece async for piece in client.recv_streaming()] == ["a", "b", "c", ""]
    assert got == ["x", "y", ""]


async def test_pings_are_answered_by_the_far_end(app_of_sockets: Echo, node: Place, session: Session) -> None:
    async def act(connection: ServerConnection) -> None:
        await (await connection.ping(b"from the app"))
        await connection.send("answered")

    app_of_sockets.act = act
    async with asyncio.timeout(10), dialled(node, session) as client:
        await (await client.ping(b"from the client"))
        assert await client.recv() == "answered"


async def test_the_client_closes(app_of_sockets: Echo, node: Place, session: Session) -> None:
    async with dialled(node, session) as client:
        await client.close(4321, "enough \N{SNOWMAN}")
    await until(lambda: app_of_sockets.ended == [(4321, "enough \N{SNOWMAN}")])


async def test_the_app_closes(app_of_sockets: Echo, node: Place, session: Session) -> None:
    async def act(connection: ServerConnection) -> None:
        await connection.close(4123, "go away")

    app_of_sockets.act = act
    async with dialled(node, session) as client:
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (4123, "go away")


async def test_an_app_that_refuses_is_heard(app_of_sockets: Echo, node: Place, session: Session) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with dialled(node, session, "/refused"):
            pass
    assert (refused.value.response.status_code, refused.value.response.body) == (403, b"not you\n")


@pytest.mark.parametrize("leaves", ["client", "app"])
async def test_who_breaks_off_leaves_nobody_waiting(
    leaves: str, app_of_sockets: Echo, node: Place, session: Session
) -> None:
    there: list[ServerConnection] = []

    async def act(connection: ServerConnection) -> None:
        there.append(connection)
        await connection.wait_closed()

    app_of_sockets.act = act
    async with dialled(node, session) as client:
        await until(lambda: bool(there))
        gone: ClientConnection | ServerConnection = client if leaves == "client" else there[0]
        gone.transport.abort()
        async with asyncio.timeout(5):
            await client.wait_closed()
        await until(lambda: app_of_sockets.ended == [(1006, "")])


async def test_what_is_sent_before_the_answer_waits_for_it(app: Stage, node: Place, session: Session) -> None:
    async def act(visit: Visit) -> None:
        assert (await visit.head()).all("upgrade") == ["websocket"]
        await visit.say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst")
        while data := await visit.reader.read(1000):
            await visit.say(data)

    app.act = act
    async with connected(node) as connection:
        await connection.send(request("GET", f"{session.path}/", session.bearer, *HANDSHAKE, KEY) + b"early")
        assert (await connection.head()).status == 101
        assert await connection.read(10) == b"firstearly"
        await connection.send(b"later")
        assert await connection.read(5) == b"later"


async def test_it_waits_for_it_also_where_the_session_is_looked_for_first(node: Place, cluster: Cluster) -> None:
    session = cluster.session()
    async with joined(cluster.places[0], session) as agent, connected(node) as connection:
        await agent.frame(HELLO)
        await connection.send(request("GET", f"{session.path}/", session.bearer, *HANDSHAKE, KEY) + b"early")
        stream = await agent.opened()
        await connection.send(b"later")
        assert (await agent.frame(DATA)).payload == b"early"
        await agent.send(head(stream, 101))
        assert (await connection.head()).status == 101
        assert (await agent.frame(DATA)).payload == b"later"


async def test_a_switch_that_ends_at_once_ends(node: Place, cluster: Cluster) -> None:
    session = cluster.session()
    async with joined(cluster.places[0], session) as agent, connected(node) as connection:
        await connection.send(request("GET", f"{session.path}/", session.bearer, *HANDSHAKE, KEY))
        await agent.send(head(await agent.opened(), 101, end=True))
        assert (await connection.head()).status == 101
        assert await connection.rest() == b""


@pytest.mark.parametrize(
    ("method", "more"), [("POST", []), ("GET", ["Transfer-Encoding: chunked"]), ("GET", ["Content-Length: 28"])]
)
async def test_only_a_get_without_a_body_can_switch(
    method: str, more: list[str], app: Stage, node: Place, session: Session
) -> None:
    """To the app the body would be another request, of which nobody knows here."""
    async with connected(node) as connection:
        head = request(method, f"{session.path}/a", session.bearer, *HANDSHAKE, KEY, *more)
        body = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
        await connection.send(head + (chunk(body) + chunk(b"") if "chunked" in str(more) else body))
        assert (await connection.head()).status == 200
    assert [one.target for one in app.heard] == [b"/a"]
    assert not app.heard[0].all("upgrade")


async def test_a_connection_that_did_not_switch_is_not_used_again(app: Stage, node: Place, session: Session) -> None:
    """What came behind the request is perhaps another one to the app, and its answer would be taken for the next."""

    async def act(visit: Visit) -> None:
        asked = await visit.head()
        await visit.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n")
        if asked.all("upgrade"):
            assert await visit.reader.read() == b"early"  # of what would have been a websocket that is all
            await visit.say(b"no")
            await visit.writer.wait_closed()
        else:
            await visit.say(b"no")

    app.act = act
    async with connected(node) as connection:
        await connection.send(request("GET", f"{session.path}/a", session.bearer, *HANDSHAKE, KEY) + b"early")
        assert (await connection.answer()).status == 400
    async with connected(node) as connection:
        await connection.send(request("GET", f"{session.path}/b", session.bearer))
        assert (await connection.answer()).status == 400
    assert len(app.visits) == 2


async def test_a_slow_websocket_holds_its_app_back(app_of_sockets: Echo, node: Place, session: Session) -> None:
    sent = 0

    async def act(connection: ServerConnection) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send(bytes(100_000))
                sent += 100_000

    app_of_sockets.act = act
    async with dialled(node, session, compression=None, max_queue=1, ping_interval=None) as client:
        await client.recv()
        await at_rest(lambda: sent)
        assert sent < 30_000_000
        client.transport.abort()
