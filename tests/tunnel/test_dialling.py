"""How an agent dials, and what it makes of what is there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.utils import accept_key

from drs_service.errors import SettingsInvalid, TunnelAbsent
from drs_service.tunnel.frames import VERSION, End, Hello
from drs_service.tunnel.link import Link
from tests.support.deadline import until
from worker.dialling import dial, tunnel_url


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Something that listens on a port and answers each head so; and the heads."""
    heard: list[bytes] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(visited, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], heard


async def test_what_opens_a_session_is_said_to_nobody_to_whom_the_service_leads() -> None:
    async with answering(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") as (elsewhere, heard):
        there = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
        async with answering(there.encode()) as (port, asked):
            with pytest.raises(TunnelAbsent, match="302"):
                await dial(tunnel_url(f"http://127.0.0.1:{port}"), "x" * 43, "join")
            assert b"join" in asked[0]
        assert not heard


@pytest.mark.parametrize(
    "url", ["http://a..b", f"http://{'a' * 80}.example", "http://[::1", "http://localhost:99999", "http://h?q", "h"]
)
async def test_an_address_that_is_none_is_not_dialled_again_and_again(url: str) -> None:
    with pytest.raises(SettingsInvalid):
        await dial(tunnel_url(url), "x" * 43, None)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "nothing://127.0.0.1:1"])
async def test_nor_is_one_behind_a_proxy_that_is_none(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(SettingsInvalid):
        await dial(tunnel_url("http://drs.example.org"), "x" * 43, None)


async def test_a_connection_that_ends_before_it_is_used_is_lost() -> None:
    """Else nobody would ever dial another one."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line[19:] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
        writer.write(switch + b"Sec-WebSocket-Accept: %s\r\n" % accept_key(key.decode()).encode())
        writer.write(b"Sec-WebSocket-Protocol: drs-tunnel.1\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(visited, "127.0.0.1", 0) as server:
        wire = await dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/tunnel", "x" * 43, None)
        await wire.wait_closed()
    lost: list[str] = []
    wire.carry(lambda wire: Link(wire, End.AGENT, Hello(version=VERSION), on_lost=lost.append))
    await until(lambda: lost == ["the connection ended"])
