"""deploy/nginx.conf on nodes of our making, which show what reaches them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.support.containers import missing
from tests.support.nginx import nginx, proxy_conf
from tests.support.program import free_port

HANDSHAKE = (
    "GET /sessions/1/tunnel HTTP/1.1\r\nHost: localhost:8000\r\nConnection: keep-alive, Upgrade\r\n"
    "Upgrade: {}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Proxy:
    def __init__(self) -> None:
        self.port = free_port()
        self.heads: list[bytes] = []
        self.url = f"http://127.0.0.1:{self.port}"

    async def switch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A node that switches protocols where it is asked to, and then sends back what comes."""
        self.heads.append(head := (await reader.readuntil(b"\r\n\r\n")).lower())
        if b"upgrade: websocket" in head:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            while data := await reader.read(1000):
                writer.write(data)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async def die(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A node that takes a request and is gone."""
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.transport.abort()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            yield reader, writer
            writer.close()


@pytest_asyncio.fixture
async def proxy(roomy: Path, request: pytest.FixtureRequest) -> AsyncIterator[Proxy]:
    """nginx in front of two nodes that do what the parameter says; of none without one."""
    if reason := missing():
        pytest.skip(reason)
    proxy = Proxy()
    does = getattr(proxy, request.param or "die")
    visits: list[asyncio.Task[None] | None] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(asyncio.current_task())
        await does(reader, writer)
        with suppress(ConnectionError):
            await writer.wait_closed()

    nodes = [await asyncio.start_server(visited, "127.0.0.1", 0) for _ in "ab"] if request.param else []
    ports = [node.sockets[0].getsockname()[1] for node in nodes] or [free_port(), free_port()]
    (directory := roomy / f"proxy-{proxy.port}").mkdir()
    with nginx(directory, proxy_conf(directory, proxy.port, ports)):
        yield proxy
    for node in nodes:
        node.close()
    await asyncio.gather(*filter(None, visits), return_exceptions=True)  # a proxy that ends may break off a request


@pytest.mark.parametrize("proxy", ["switch"], indirect=True)
async def test_a_websocket_goes_through(proxy: Proxy) -> None:
    async with proxy.connected() as (reader, writer):
        writer.write(HANDSHAKE.format("WebSocket").encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        for frame in (b"\x81\x02hi", b"\x82\x01\x00"):
            writer.write(frame)
            assert await reader.readexactly(len(frame)) == frame
    [head] = proxy.heads
    assert b"\r\nconnection: upgrade\r\n" in head and b"\r\nhost: localhost:8000\r\n" in head


@pytest.mark.parametrize("proxy", ["switch"], indirect=True)
async def test_no_other_upgrade_does(proxy: Proxy) -> None:
    async with proxy.connected() as (reader, writer):
        writer.write(HANDSHAKE.format("h2c").encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert b"upgrade:" not in proxy.heads[0] and b"connection:" not in proxy.heads[0]


@pytest.mark.parametrize("proxy", ["die"], indirect=True)
@pytest.mark.parametrize(
    ("method", "content", "asked"),
    [("GET", None, 2), ("PUT", b"a", 1), ("PUT", b"", 1), ("DELETE", None, 1), ("POST", None, 1), ("PATCH", b"a", 1)],
)
async def test_another_node_is_asked_only_for_what_may_be_repeated(
    proxy: Proxy, method: str, content: bytes | None, asked: int
) -> None:
    async with httpx.AsyncClient(base_url=proxy.url, timeout=20) as client:
        assert_away(await client.request(method, "/upload/a%2Fb?x=%20", content=content))
    assert len(proxy.heads) == asked
    assert all(head.startswith(f"{method} /upload/a%2Fb?x=%20 HTTP/1.1\r\n".encode()) for head in proxy.heads)


@pytest.mark.parametrize("proxy", [None], indirect=True)
async def test_nodes_that_are_away_are_told_as_the_service_would(proxy: Proxy) -> None:
    async with httpx.AsyncClient(base_url=proxy.url, timeout=20) as client:
        for method in ("GET", "PUT"):
            assert_away(await client.request(method, "/upload/a", content=b"a" if method == "PUT" else None))


def assert_away(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["status_code"], answer.json()["code"]) == (503, "unavailable")
