"""Two nodes on one database and one store: an upload goes on wherever its client comes back."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest_asyncio

from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.traces import query, staged_files
from tests.support.deadline import until
from tests.support.raw_http import connected
from tests.support.server import Service, running
from tests.support.tus import Tus, patch_head, path_of


class Nodes:
    def __init__(self, settings: Settings, services: list[Service], clients: list[Tus]) -> None:
        self.settings = settings
        self.services = services
        self.a, self.b = clients

    async def objects(self) -> int:
        [row] = await query(self.settings, "SELECT count(*) FROM objects")
        return int(row["count"])


@pytest_asyncio.fixture(loop_scope="session")
async def nodes(settings: Settings) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(running(settings)) for _ in range(2)]
        clients = [httpx.AsyncClient(base_url=service.url, timeout=20) for service in services]
        nodes = Nodes(settings, services, [Tus(await stack.enter_async_context(client)) for client in clients])
        yield nodes
        await nodes.a.give_up_all()
        await nodes.b.give_up_all()
        await until(lambda: not staged_files(settings))


async def test_an_upload_goes_on_at_another_node(nodes: Nodes, some_bytes: bytes) -> None:
    path = await nodes.a.begin(len(some_bytes))
    at, ways = 0, [nodes.a, nodes.b]
    for number, size in enumerate((1, 600_000, 1_000_001, 17, len(some_bytes))):
        way = ways[number % 2]
        assert await way.offset(path) == at
        await way.sent(path, at, some_bytes[at : at + size])
        at = min(at + size, len(some_bytes))
    assert await nodes.a.object_of(path) == await nodes.b.object_of(path)
    assert await nodes.b.content_of(path) == some_bytes


async def test_a_request_that_hangs_at_one_node_is_ended_from_the_other(nodes: Nodes, some_bytes: bytes) -> None:
    path = await nodes.a.begin(len(some_bytes))
    async with connected(nodes.services[0]) as hanging:
        await hanging.send(patch_head(path, 0, f"Content-Length: {len(some_bytes)}"))
        await hanging.send(some_bytes[:1_000_000])
        await until(lambda: any(file.stat().st_size for file in staged_files(nodes.settings)))
        began = time.monotonic()
        offset = await nodes.b.offset(path)
        assert time.monotonic() - began < nodes.settings.upload_idle_seconds / 2, "it waited until the other gave up"
        assert 512 * 1024 <= offset <= 1_000_000
        await nodes.b.sent(path, offset, some_bytes[offset:])
        if (answer := await hanging.early_answer()) is not None:
            assert_refused(answer, 423, "upload_busy")
    assert await nodes.b.content_of(path) == some_bytes


async def test_of_two_that_send_the_same_one_succeeds_at_whatever_nodes(nodes: Nodes) -> None:
    path = await nodes.a.begin(5)
    async with connected(nodes.services[0]) as first:
        await first.send(patch_head(path, 0, "Content-Length: 5", "Expect: 100-continue"))
        assert (await first.head()).status == 100
        await nodes.b.sent(path, 0, b"abcde")
    assert await nodes.a.content_of(path) == b"abcde"


async def test_finishing_at_two_nodes_makes_one_object(nodes: Nodes) -> None:
    for number in range(1, 16):
        content = secrets.token_bytes(10_000 + number)
        path = await nodes.a.begin(len(content))
        await nodes.a.sent(path, 0, content[:100])
        answers = await asyncio.gather(*(node.patch(path, 100, content[100:]) for node in (nodes.a, nodes.b)))
        assert 204 in {answer.status_code for answer in answers} <= {204, 409, 423}
        assert await nodes.a.content_of(path) == content
        assert await nodes.objects() == number


async def test_joining_at_two_nodes_makes_one_object(nodes: Nodes, some_bytes: bytes) -> None:
    parts = []
    for content in (some_bytes[:1_000_000], some_bytes[1_000_000:]):
        parts.append(await nodes.a.begin(len(content), {"Upload-Concat": "partial"}))
        await nodes.b.sent(parts[-1], 0, content)
    answers = await asyncio.gather(*(node.join(parts) for node in (nodes.a, nodes.b, nodes.a)))
    assert [answer.status_code for answer in answers] == [201] * 3, [answer.text for answer in answers]
    assert len({path_of(answer) for answer in answers}) == 1
    assert await nodes.b.content_of(path_of(answers[0])) == some_bytes
    assert await nodes.objects() == 1
