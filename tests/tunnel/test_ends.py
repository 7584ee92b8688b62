"""Connections that end when nobody expects it."""

import asyncio

import pytest

from drs_service.errors import PeerUnreachable
from drs_service.gateway.peers import Cable
from drs_service.tunnel.frames import VERSION, End, Hello
from drs_service.tunnel.link import Link
from tests.support.deadline import until
from worker.connection import Connection


async def test_an_app_that_takes_nothing_more_keeps_no_connection() -> None:
    """It may have answered before all of the request had come."""
    gone = asyncio.Event()

    class Watched(Connection):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            gone.set()

    async def visited(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    async with await asyncio.start_server(visited, "127.0.0.1", 0, limit=1024) as server:
        port = server.sockets[0].getsockname()[1]
        _, connection = await asyncio.get_running_loop().create_connection(Watched, "127.0.0.1", port)
        connection.write(bytes(64 * 1024**2))
        connection.close()
        await until(gone.is_set)


async def test_a_node_that_ends_before_it_is_heard_is_lost() -> None:
    cables: list[Cable] = []
    lost: list[str] = []
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Cable(cables.append), "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await until(lambda: bool(cables))
        writer.transport.abort()
        with pytest.raises(PeerUnreachable):
            await cables[0].line
    cables[0].carry(Link(cables[0], End.PUBLIC, Hello(version=VERSION), on_lost=lost.append))
    await until(lambda: lost == ["the connection ended"])
