"""Uploads that survive anything, to a place that has no files and keeps nobody out."""

import asyncio
import secrets
import signal
import subprocess
import sys
import time

import httpx

from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.traces import query
from tests.clouds.conftest import Nodes, blobs
from tests.support.deadline import PATIENCE
from tests.support.places import CloudPlace
from tests.support.raw_http import connected
from tests.support.server import Service
from tests.support.tus import Tus, patch_head

MIB = 1024**2
CONTENT = secrets.token_bytes(13 * MIB + 17)
DRS = "/ga4gh/drs/v1/objects"


async def test_a_file_comes_and_is_read_again(nodes: Nodes, place: CloudPlace) -> None:
    for content in (b"", b"a", CONTENT):
        answer = (await nodes.a.client.put("/upload/a.bin", content=content)).raise_for_status()
        object_id = answer.json()["id"]
        data = await nodes.b.client.get(f"/data/{object_id}")
        assert data.content == content
    span = await nodes.b.client.get(f"/data/{object_id}", headers={"Range": "bytes=9000000-9000009"})
    assert (span.status_code, span.content) == (206, CONTENT[9_000_000:9_000_010])
    assert len(blobs(place)) == 3


async def test_an_upload_goes_on_at_another_node(nodes: Nodes) -> None:
    path = await nodes.a.begin(len(CONTENT))
    at, ways = 0, [nodes.a, nodes.b]
    for number, size in enumerate((1, 600_000, 6 * MIB, 17, 100_000, len(CONTENT))):
        way = ways[number % 2]
        assert await way.offset(path) == at
        await way.sent(path, at, CONTENT[at : at + size])
        at = min(at + size, len(CONTENT))
    assert await nodes.a.object_of(path) == await nodes.b.object_of(path)
    assert await nodes.b.content_of(path) == CONTENT


async def test_parts_are_joined(nodes: Nodes) -> None:
    half = len(CONTENT) // 2
    parts = [await nodes.a.begin(half, {"Upload-Concat": "partial"}) for _ in range(2)]
    await asyncio.gather(nodes.a.sent(parts[0], 0, CONTENT[:half]), nodes.b.sent(parts[1], 0, CONTENT[half : 2 * half]))
    answer = await nodes.b.join(parts)
    path = answer.headers["location"].removeprefix("https://drs.example.org")
    assert await nodes.a.content_of(path) == CONTENT[: 2 * half]


async def test_a_request_that_hangs_at_one_node_is_ended_from_the_other(nodes: Nodes, settings: Settings) -> None:
    path = await nodes.a.begin(len(CONTENT))
    async with connected(nodes.services[0]) as hanging:
        await hanging.send(patch_head(path, 0, f"Content-Length: {len(CONTENT)}"))
        await hanging.send(CONTENT[: 9 * MIB])
        await until_turn(settings)
        began = time.monotonic()
        offset = await nodes.b.offset(path)
        assert time.monotonic() - began < 5
        assert 0 < offset <= 9 * MIB
        await nodes.b.sent(path, offset, CONTENT[offset:])
        if (answer := await hanging.early_answer()) is not None:
            assert_refused(answer, 423, "upload_busy")
    assert await nodes.b.content_of(path) == CONTENT


NODE = """
import asyncio, os, socket
from drs_service.app import serve
from drs_service.settings import Settings
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
ready = lambda: print(listener.getsockname()[1], flush=True)
asyncio.run(serve(Settings.from_env(os.environ), listener, on_ready=ready))
"""


async def test_what_a_killed_node_had_is_free_at_once(
    nodes: Nodes, settings: Settings, own_environment: dict[str, str]
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NODE], env=own_environment | settings.to_env(), stdout=subprocess.PIPE, text=True
    ) as node:
        try:
            assert node.stdout is not None
            port = int(await asyncio.to_thread(node.stdout.readline))
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                there = Tus(client)
                path = await there.begin(len(CONTENT))
                await there.sent(path, 0, CONTENT[:MIB])
            async with connected(Service("127.0.0.1", port, settings)) as connection:
                await connection.send(patch_head(path, MIB, f"Content-Length: {len(CONTENT) - MIB}"))
                await connection.send(CONTENT[MIB : 9 * MIB])
                await until_turn(settings)
                node.send_signal(signal.SIGKILL)
                await asyncio.to_thread(node.wait)
        finally:
            node.kill()
    began = time.monotonic()
    assert await nodes.a.offset(path) == MIB
    assert time.monotonic() - began < 5
    await nodes.a.sent(path, MIB, CONTENT[MIB:])
    assert await nodes.b.content_of(path) == CONTENT


async def test_a_storage_that_is_away_loses_nothing(nodes: Nodes, place: CloudPlace) -> None:
    path = await nodes.a.begin(len(CONTENT))
    await nodes.a.sent(path, 0, CONTENT[: 6 * MIB])
    place.server.go_away()
    try:
        answer = await nodes.a.patch(path, 6 * MIB, CONTENT[6 * MIB :])
        assert_refused(answer, 503, "storage_unavailable")
        assert answer.headers["retry-after"]
        assert_refused(await nodes.a.client.put("/upload/a", content=CONTENT), 503, "storage_unavailable")
        assert (await nodes.a.client.get("/readyz")).status_code == 503
    finally:
        place.server.come_back()
    assert await nodes.b.offset(path) == 6 * MIB
    await nodes.b.sent(path, 6 * MIB, CONTENT[6 * MIB :])
    assert await nodes.b.content_of(path) == CONTENT
    ready = await nodes.a.client.get("/readyz")
    assert ready.status_code == 200, ready.text


async def until_turn(settings: Settings) -> None:
    """Wait until somebody goes on with an upload."""
    async with asyncio.timeout(PATIENCE):
        while not (await query(settings, "SELECT count(*) FROM uploads WHERE turn IS NOT NULL"))[0]["count"]:
            await asyncio.sleep(0.01)
