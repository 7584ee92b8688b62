"""Uploads that survive anything, to a place that has no files and keeps nobody out."""

import asyncio
import hashlib
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import httpx
import pytest

from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.traces import query
from tests.s3.conftest import Bucket
from tests.support.deadline import PATIENCE, until
from tests.support.raw_http import connected
from tests.support.server import Service, running
from tests.support.tus import Tus, metadata, patch_head
from tests.worker.test_worker import worker

MIB = 1024**2
CONTENT = secrets.token_bytes(13 * MIB + 17)
DRS = "/ga4gh/drs/v1/objects"


class Nodes:
    def __init__(self, services: list[Service], clients: list[Tus]) -> None:
        self.services = services
        self.a, self.b = clients


@pytest.fixture
async def nodes(settings: Settings, bucket: Bucket) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(running(settings)) for _ in range(2)]
        clients = [httpx.AsyncClient(base_url=service.url, timeout=30) for service in services]
        nodes = Nodes(services, [Tus(await stack.enter_async_context(client)) for client in clients])
        yield nodes
        await nodes.a.give_up_all()
        await nodes.b.give_up_all()
        await until(lambda: not bucket.waiting())


async def test_a_file_comes_and_is_read_again(nodes: Nodes, bucket: Bucket) -> None:
    for content in (b"", b"a", CONTENT):
        answer = (await nodes.a.client.put("/upload/a.bin", content=content)).raise_for_status()
        object_id = answer.json()["id"]
        data = await nodes.b.client.get(f"/data/{object_id}")
        assert data.content == content
    span = await nodes.b.client.get(f"/data/{object_id}", headers={"Range": "bytes=9000000-9000009"})
    assert (span.status_code, span.content) == (206, CONTENT[9_000_000:9_000_010])
    assert len(bucket.blobs()) == 3


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


async def test_a_storage_that_is_away_loses_nothing(nodes: Nodes, bucket: Bucket) -> None:
    path = await nodes.a.begin(len(CONTENT))
    await nodes.a.sent(path, 0, CONTENT[: 6 * MIB])
    bucket.server.go_away()
    try:
        answer = await nodes.a.patch(path, 6 * MIB, CONTENT[6 * MIB :])
        assert_refused(answer, 503, "storage_unavailable")
        assert answer.headers["retry-after"]
        assert_refused(await nodes.a.client.put("/upload/a", content=CONTENT), 503, "storage_unavailable")
        assert (await nodes.a.client.get("/readyz")).status_code == 503
    finally:
        bucket.server.come_back()
    assert await nodes.b.offset(path) == 6 * MIB
    await nodes.b.sent(path, 6 * MIB, CONTENT[6 * MIB :])
    assert await nodes.b.content_of(path) == CONTENT
    assert (await nodes.a.client.get("/readyz")).status_code == 200


async def until_turn(settings: Settings) -> None:
    """Wait until somebody goes on with an upload."""
    async with asyncio.timeout(PATIENCE):
        while not (await query(settings, "SELECT count(*) FROM uploads WHERE turn IS NOT NULL"))[0]["count"]:
            await asyncio.sleep(0.01)


# Past the service


@pytest.fixture
async def directed(nodes: Nodes) -> str:
    """An upload whose parts are to be brought to S3."""
    return (await nodes.a.begin(len(LONG), metadata({"sha-256": hashlib.sha256(LONG).hexdigest()}))).replace(
        "/tus/", "/uploads/"
    )


LONG = secrets.token_bytes(33 * MIB + 5)
PART = 16 * MIB
PIECES = [LONG[start : start + PART] for start in range(0, len(LONG), PART)]


async def bring(client: httpx.AsyncClient, path: str, *numbers: int) -> None:
    given = (await client.post(f"{path}/parts", json={"numbers": numbers})).raise_for_status().json()
    assert (given["part_size"], given["count"]) == (PART, 3)
    async with httpx.AsyncClient(timeout=30) as past:
        for part in given["parts"]:
            piece = PIECES[part["number"] - 1]
            assert part["size"] == len(piece)
            (await past.put(part["url"], content=piece)).raise_for_status()


async def test_parts_go_past_the_service(nodes: Nodes, directed: str, bucket: Bucket) -> None:
    a, b = nodes.a.client, nodes.b.client
    said = (await a.get(directed)).json()
    assert said["parts_url"].endswith(f"{directed}/parts")
    await bring(a, directed, 3)
    await bring(b, directed, 1)
    here = (await a.get(f"{directed}/parts")).json()
    assert here["parts"] == [{"number": 1, "size": PART}, {"number": 3, "size": len(PIECES[2])}]
    refused = await a.post(f"{directed}/complete")
    assert_refused(refused, 409, "parts_missing")
    assert "2" in refused.json()["msg"]
    await bring(b, directed, 2)
    answers = await asyncio.gather(*(client.post(f"{directed}/complete") for client in (a, b)))
    [object_id] = {answer.raise_for_status().json()["object"]["id"] for answer in answers}
    assert (await b.get(f"/data/{object_id}")).content == LONG
    assert_refused(await a.post(f"{directed}/parts", json={"numbers": [1]}), 409, "upload_done")
    assert len(bucket.blobs()) == 1


async def test_a_worker_verifies_what_went_past(
    settings: Settings, own_environment: dict[str, str], bucket: Bucket
) -> None:
    settings = replace(settings, finish_at_once_bytes=1000)
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        tus = Tus(client)
        digest = hashlib.sha256(LONG).hexdigest()
        right, wrong = [
            (await tus.begin(len(LONG), metadata({"sha-256": stated}))).replace("/tus/", "/uploads/")
            for stated in (digest, "00" * 32)
        ]
        ids = {}
        for path in (right, wrong):
            await bring(client, path, 1, 2, 3)
            answer = await client.post(f"{path}/complete")
            assert answer.status_code == 202
            ids[path] = answer.json()["object"]["id"]
            assert (await client.get(f"{DRS}/{ids[path]}")).status_code == 202
        assert bucket.blobs() == []
        with worker(settings, own_environment):
            for path in (right, wrong):
                async with asyncio.timeout(PATIENCE):
                    while (await client.get(path)).json()["state"] == "finishing":
                        await asyncio.sleep(0.05)
        assert (await client.get(f"/data/{ids[right]}")).content == LONG
        assert_refused(await client.get(f"{DRS}/{ids[wrong]}"), 410, "upload_failed")
        assert (await client.delete(wrong.replace("/uploads/", "/tus/"), headers={"Tus-Resumable": "1.0.0"})).is_success
    await until(lambda: not bucket.waiting())


async def test_bytes_go_one_way_or_the_other(nodes: Nodes, directed: str) -> None:
    a, tus_path = nodes.a.client, directed.replace("/uploads/", "/tus/")
    await nodes.a.sent(tus_path, 0, LONG[:10])
    assert "parts_url" not in (await a.get(directed)).json()
    assert_refused(await a.post(f"{directed}/parts", json={"numbers": [1]}), 409, "direct_impossible")
    deferred = (await nodes.a.begin(None, {"Upload-Defer-Length": "1"})).replace("/tus/", "/uploads/")
    assert_refused(await a.post(f"{deferred}/parts", json={"numbers": [1]}), 409, "direct_impossible")
    assert_refused(await a.post("/uploads/nothing/parts", json={"numbers": [1]}), 404, "upload_not_found")


@pytest.mark.parametrize("numbers", [[], [0], [4], [10_001], ["a"], None])
async def test_parts_that_cannot_be_are_refused(nodes: Nodes, directed: str, numbers: object) -> None:
    answer = await nodes.a.client.post(f"{directed}/parts", json={"numbers": numbers})
    assert answer.status_code in {400, 409}
    assert answer.json()["msg"]


async def test_a_part_of_another_size_is_not_taken(nodes: Nodes, directed: str) -> None:
    a = nodes.a.client
    await bring(a, directed, 1, 2, 3)
    given = (await a.post(f"{directed}/parts", json={"numbers": [3]})).json()
    async with httpx.AsyncClient() as past:
        (await past.put(given["parts"][0]["url"], content=b"short")).raise_for_status()
    assert_refused(await a.post(f"{directed}/complete"), 409, "parts_missing")
    await bring(a, directed, 3)
    (await a.post(f"{directed}/complete")).raise_for_status()


async def test_what_is_given_up_leaves_nothing_in_the_bucket(nodes: Nodes, directed: str, bucket: Bucket) -> None:
    await bring(nodes.a.client, directed, 1)
    assert bucket.waiting()
    assert (await nodes.a.delete(directed.replace("/uploads/", "/tus/"))).status_code == 204
    assert not bucket.waiting()
