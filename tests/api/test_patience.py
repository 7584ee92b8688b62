"""Clients that begin something and do not go on with it."""

import secrets

import httpx
import pytest

from drs_service.api import server, streaming
from tests.support.deadline import until
from tests.support.places import descriptors
from tests.support.raw_http import connected
from tests.support.server import Service


async def test_half_a_head_is_not_waited_for_long(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_PATIENCE", 0.2)
    for begun in (b"", b"GET /livez HTTP/1.1\r\nHost: loc"):
        async with connected(service) as connection:
            await connection.send(begun)
            assert await connection.rest() == b""


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
