"""Clients that begin something and do not go on with it."""

import asyncio
import contextlib
import secrets
import socket
from pathlib import Path

import httpx
import pytest

from drs_service.api import server, streaming
from drs_service.gateway import caller
from tests.support.deadline import until
from tests.support.fake_agent import CREDIT, DATA, END, frame, head, joined
from tests.support.places import descriptors
from tests.support.raw_http import connected, request
from tests.support.server import Service
from tests.support.tunnel import Place, Session


async def test_half_a_head_is_not_waited_for_long(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_PATIENCE", 0.2)
    for begun in (b"", b"GET /livez HTTP/1.1\r\nHost: loc"):
        async with connected(service) as connection:
            await connection.send(begun)
            assert await connection.rest() == b""


async def test_empty_lines_keep_no_connection(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_PATIENCE", 0.2)
    for path in ("/livez", "/socket/x/"):
        async with connected(service) as connection:
            await connection.send(request("GET", path))
            await connection.answer()
            await connection.send(b"\r\n")
            assert await connection.rest() == b""


async def test_who_takes_no_answer_of_an_app_is_let_go(own_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the app has said all of it, and only what is written last is not taken."""
    monkeypatch.setattr(caller, "REST_PATIENCE", 0.2)
    loop = asyncio.get_running_loop()
    session = await asyncio.to_thread(Session.created, own_service.url)
    async with joined(Place(own_service.port), session) as agent:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, (own_service.host, own_service.port))
            await loop.sock_sendall(sock, request("GET", f"{session.path}/", session.bearer, "Connection: close"))
            await agent.send(head(stream := await agent.opened(), 200))
            credit = 64 * 1024
            with contextlib.suppress(TimeoutError):
                while True:
                    await agent.send(frame(DATA, stream, bytes(credit)))
                    credit = (await asyncio.wait_for(agent.frame(CREDIT), 0.2)).value
            before = open_files()
            await agent.send(frame(DATA | END, stream))
            await until(lambda: open_files() < before)


async def test_a_reader_that_stops_reading_is_given_up(
    own_service: Service, own_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "STALLED", 0.3)
    made = (await own_client.put("/upload/big.bin", content=secrets.token_bytes(40 * 1024**2))).json()
    before = descriptors()
    async with connected(own_service) as connection:
        await connection.send(f"GET /data/{made['id']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await until(lambda: any("/sha256/" in path for path in descriptors()))
        await until(lambda: descriptors() == before)


def open_files() -> int:
    """And sockets, of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))
