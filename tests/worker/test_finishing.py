"""What takes long once all bytes of an upload have come is a worker's to do; the object has its id before."""

import asyncio
import hashlib
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest

from drs_service.db import uploads
from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.traces import query, staged_files
from tests.support.deadline import until
from tests.support.serve import PATIENCE
from tests.support.server import running
from tests.support.tus import PUBLIC, Tus, metadata
from tests.worker.test_worker import database, worker

CONTENT = secrets.token_bytes(2_000_003)
HALF = len(CONTENT) // 2
DRS = "/ga4gh/drs/v1/objects"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, finish_at_once_bytes=1000)


@pytest.fixture
async def nodes(settings: Settings) -> AsyncIterator[tuple[Tus, Tus]]:
    """Two of them: neither has seen all bytes of what both were sent."""
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(running(settings)) for _ in range(2)]
        a, b = [httpx.AsyncClient(base_url=service.url, timeout=20) for service in services]
        yield Tus(await stack.enter_async_context(a)), Tus(await stack.enter_async_context(b))
        await until(lambda: not staged_files(settings))


async def sent(nodes: tuple[Tus, Tus], headers: dict[str, str] | None = None) -> str:
    """An upload, half of which each of the nodes has seen."""
    path = await nodes[0].begin(len(CONTENT), headers)
    await nodes[0].sent(path, 0, CONTENT[:HALF])
    answer = await nodes[1].sent(path, HALF, CONTENT[HALF:])
    assert answer.headers["retry-after"]
    return path


async def told(node: Tus, path: str) -> dict[str, Any]:
    said: dict[str, Any] = (await node.client.get(path.replace("/tus/", "/uploads/"))).raise_for_status().json()
    return said


async def settled(node: Tus, path: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while (said := await told(node, path))["state"] == "finishing":
            await asyncio.sleep(0.02)
    return said


async def test_an_object_has_its_id_before_a_worker_has_made_it(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    path = await sent(nodes, metadata({"sha-256": hashlib.sha256(CONTENT).hexdigest()}))
    said = await told(nodes[0], path)
    object_id = said["object"]["id"]
    assert (said["state"], said["received"]) == ("finishing", len(CONTENT))
    for node in nodes:
        head = await node.head(path)
        assert head.headers["upload-offset"] == head.headers["upload-length"] == str(len(CONTENT))
        assert head.headers["content-location"] == f"{PUBLIC}{DRS}/{object_id}"
        for asked in (f"{DRS}/{object_id}", f"/data/{object_id}", f"{DRS}/{object_id}/access/https"):
            answer = await node.client.get(asked)
            assert (answer.status_code, answer.content) == (202, b"")
            assert answer.headers["retry-after"]
        # The answer to the last request may have been lost on its way.
        assert (await node.patch(path, len(CONTENT), b"")).status_code == 204
    [row] = await query(settings, "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'finish_upload'")
    assert row["count"] == 1
    with worker(settings, own_environment):
        said = await settled(nodes[0], path)
    assert (said["state"], said["object"]["id"]) == ("complete", object_id)
    for node in nodes:
        assert await node.content_of(path) == CONTENT


async def test_parts_are_joined_by_a_worker(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    parts = [await node.begin(HALF, {"Upload-Concat": "partial"}) for node in nodes]
    for number, (node, part) in enumerate(zip(nodes, parts, strict=True)):
        await node.sent(part, 0, CONTENT[number * HALF : (number + 1) * HALF])
    answers = [await node.join(parts) for node in (*nodes, nodes[0])]
    [location] = {answer.headers["location"] for answer in answers}
    path = location.removeprefix(PUBLIC)
    # tus 1.0.0, Concatenation: a final upload has no offset before it is joined.
    assert "upload-offset" not in (await nodes[0].head(path)).headers
    with worker(settings, own_environment):
        assert (await settled(nodes[0], path))["state"] == "complete"
        for node in nodes:
            assert await node.content_of(path) == CONTENT[: 2 * HALF]
            assert (await node.head(path)).headers["upload-offset"] == str(2 * HALF)
        await until(lambda: not staged_files(settings))
    [row] = await query(settings, "SELECT count(*) FROM objects")
    assert row["count"] == 1


async def test_bytes_that_are_not_what_was_stated_become_nothing(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    path = await sent(nodes, metadata({"sha-256": "00" * 32}))
    object_id = (await told(nodes[0], path))["object"]["id"]
    with worker(settings, own_environment):
        said = await settled(nodes[0], path)
    assert said["state"] == "failed"
    assert hashlib.sha256(CONTENT).hexdigest() in said["reason"]
    for node in nodes:
        assert (await node.head(path)).status_code == 410
        assert_refused(await node.patch(path, len(CONTENT), b""), 410, "upload_failed")
        assert_refused(await node.client.get(f"{DRS}/{object_id}"), 410, "upload_failed")
    assert (await nodes[0].delete(path)).status_code == 204
    assert_refused(await nodes[0].client.get(f"{DRS}/{object_id}"), 404, "object_not_found")


async def test_what_is_given_up_before_a_worker_comes_is_gone(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    path = await sent(nodes)
    object_id = (await told(nodes[0], path))["object"]["id"]
    assert (await nodes[1].delete(path)).status_code == 204
    assert_refused(await nodes[0].client.get(f"{DRS}/{object_id}"), 404, "object_not_found")
    assert not staged_files(settings)
    with worker(settings, own_environment):
        await until_idle(settings)


async def test_another_worker_finishes_what_a_killed_one_began(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    path = await sent(nodes)
    with worker(settings, own_environment) as first:
        await until_taken(settings)
        os.kill(first.pid, signal.SIGKILL)
    await query(settings, "UPDATE pgqueuer SET heartbeat = now() - interval '1 hour'")
    with worker(settings, own_environment):
        assert (await settled(nodes[0], path))["state"] == "complete"
    assert await nodes[1].content_of(path) == CONTENT
    [row] = await query(settings, "SELECT count(*) FROM objects")
    assert row["count"] == 1


async def test_the_draft_says_so_as_well(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    a, b = nodes[0].client, nodes[1].client
    chunk = {"Content-Type": "application/partial-upload"}
    answer = await a.post("/tus", headers={"Upload-Complete": "?0"}, content=CONTENT[:HALF])
    path = answer.headers["location"].removeprefix(PUBLIC)
    said = {**chunk, "Upload-Complete": "?1", "Upload-Offset": str(HALF)}
    answer = await b.patch(path, headers=said, content=CONTENT[HALF:])
    assert (answer.status_code, answer.content) == (202, b"")
    assert (answer.headers["upload-complete"], answer.headers["upload-offset"]) == ("?1", str(len(CONTENT)))
    becomes = answer.headers["content-location"].removeprefix(PUBLIC)
    assert (await a.get(becomes)).status_code == 202
    with worker(settings, own_environment):
        await settled(nodes[0], path)
    assert (await b.get(becomes)).json()["size"] == len(CONTENT)


async def test_what_was_announced_is_registered_once_it_is_verified(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    a = nodes[0].client
    said = {"name": "a.bin", "size": len(CONTENT), "mime_type": "application/octet-stream", "checksums": [
        {"type": "sha-256", "checksum": hashlib.sha256(CONTENT).hexdigest()}
    ]}  # fmt: skip
    answer = (await a.post("/ga4gh/drs/v1/upload-request", json={"requests": [said]})).raise_for_status().json()
    [details] = [
        one["upload_details"] for one in answer["responses"][0]["upload_methods"] if "tus_url" in one["upload_details"]
    ]
    path = details["tus_url"].removeprefix(PUBLIC)
    await nodes[0].sent(path, 0, CONTENT[:HALF])
    await nodes[1].sent(path, HALF, CONTENT[HALF:])
    url = PUBLIC + path.replace("/tus/", "/uploads/")
    candidate = {**said, "access_methods": [{"type": "https", "access_url": {"url": url}}]}
    register = {"candidates": [candidate]}
    assert_refused(await a.post(f"{DRS}/register", json=register), 503, "upload_pending")
    with worker(settings, own_environment):
        await settled(nodes[0], path)
    answer = (await a.post(f"{DRS}/register", json=register)).raise_for_status().json()
    assert answer["objects"][0]["size"] == len(CONTENT)


async def until_idle(settings: Settings) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await query(settings, "SELECT count(*) FROM pgqueuer"))[0]["count"]:
            await asyncio.sleep(0.02)


async def until_taken(settings: Settings) -> None:
    """Wait until a worker is about it, or has just done it."""
    sql = "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'finish_upload' AND status = 'queued'"
    async with asyncio.timeout(PATIENCE):
        while (await query(settings, sql))[0]["count"]:
            await asyncio.sleep(0.001)


async def test_what_is_being_finished_does_not_expire(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    parts = [await node.begin(HALF, {"Upload-Concat": "partial"}) for node in nodes]
    for number, (node, part) in enumerate(zip(nodes, parts, strict=True)):
        await node.sent(part, 0, CONTENT[number * HALF : (number + 1) * HALF])
    joined = (await nodes[0].join(parts)).headers["location"].removeprefix(PUBLIC)
    paths = [await sent(nodes), joined]
    await query(settings, "UPDATE uploads SET expires_at = now() - interval '1 minute' WHERE finishing")
    async with database(settings) as db, db.transaction() as connection:
        assert await uploads.expire(connection, limit=100) == []
    with worker(settings, own_environment):
        for path in paths:
            assert (await settled(nodes[0], path))["state"] == "complete"
        await until(lambda: not staged_files(settings))
        await until(lambda: not staged_files(settings))


async def test_what_is_sent_another_way_changes_no_promise(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    path = await sent(nodes)
    url = path.replace("/tus/", "/uploads/")
    assert_refused(await nodes[0].client.put(url, content=CONTENT), 409, "upload_conflict")
    with worker(settings, own_environment):
        assert (await settled(nodes[0], path))["state"] == "complete"
        await until(lambda: not staged_files(settings))


async def test_a_join_that_no_worker_could_make_is_taken_up_by_whoever_asks(
    settings: Settings, own_environment: dict[str, str], nodes: tuple[Tus, Tus]
) -> None:
    part = await nodes[0].begin(HALF, {"Upload-Concat": "partial"})
    await nodes[0].sent(part, 0, CONTENT[:HALF])
    path = (await nodes[0].join([part])).headers["location"].removeprefix(PUBLIC)
    await query(settings, "DELETE FROM pgqueuer")
    await query(settings, "UPDATE uploads SET finishing = false")
    assert (await nodes[1].head(path)).headers["retry-after"]
    with worker(settings, own_environment):
        assert (await settled(nodes[0], path))["state"] == "complete"
        await until(lambda: not staged_files(settings))
    assert await nodes[1].content_of(path) == CONTENT[:HALF]
