"""A place vanishes under load and comes back: nothing that was acknowledged is lost, and every copy is made."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import httpx
import pytest

from drs_service.jobs.kinds import ReplicateBlob
from drs_service.settings import Settings
from tests.places.conftest import Parts
from tests.support.bucket import Bucket
from tests.support.deadline import more_than, once, until
from tests.support.frozen import SOON, working
from tests.support.passage import Passage, passage
from tests.support.program import free_port
from tests.support.s3 import S3Server
from tests.support.server import Service, running
from tests.support.stubborn import WAYS, Stubborn
from worker.tasks.replicate_blob import replicate_blob

SIZE = 100_000
CLIENTS = 4
LONG = 20.0  # seconds, on a machine that has other things to do
POLL = SOON * 10


@pytest.fixture
async def way(s3: S3Server) -> AsyncIterator[Passage]:
    """To the S3 server."""
    with passage() as way:
        way.port = int(s3.url.rpartition(":")[2])
        yield way


@pytest.fixture
def settings(settings: Settings, s3: S3Server, way: Passage) -> Settings:
    """The primary is a bucket at the end of the way; the mirror is on disk."""
    told = Bucket(s3).settings(replace(settings, places=(settings.places[0],)))
    return replace(told, s3_endpoint_url=way.url)


@pytest.fixture
async def nodes(settings: Settings) -> AsyncIterator[list[Service]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(settings)) for _ in range(2)]


COPIED = """
    SELECT count(*) FROM objects JOIN replicas USING (digest) WHERE place = 'mirror' AND objects.id = ANY($1::text[])
"""


async def all_copied(parts: Parts, paths: Collection[str]) -> None:
    """Wait until all these objects are in the mirror too."""
    ids = [path.rpartition("/")[2] for path in paths]

    async def count() -> int:
        async with parts.database.connection() as connection:
            return int(await connection.fetchval(COPIED, ids))

    await once(lambda count: count == len(ids), count, within=LONG)


async def test_nothing_is_lost_to_a_place_that_vanishes_under_load(
    nodes: list[Service], parts: Parts, way: Passage
) -> None:
    over, kept = asyncio.Event(), dict[str, bytes]()
    task = replace(replicate_blob(parts.replicating), first_delay=SOON, attempts=1000)
    async with (
        httpx.AsyncClient(timeout=20) as client,
        working(parts.database, {ReplicateBlob: task}, poll=POLL),
        asyncio.TaskGroup() as group,
    ):
        one = Stubborn(client, [node.url for node in nodes], random.Random(1))

        async def sending(number: int) -> None:
            while not over.is_set():
                content = one.random.randbytes(one.random.randrange(SIZE))
                kept[await WAYS[number % len(WAYS)](one, content)] = content

        for number in range(CLIENTS):
            group.create_task(sending(number))
        await until(lambda: len(kept) > 2, within=LONG)
        before = dict(kept)
        await all_copied(parts, before)
        there, way.port = way.port, free_port()
        way.cut()
        refused = more_than(2, partial(one.answered.__getitem__, 503))
        await all_there(nodes, before)
        await until(refused, within=LONG)
        way.port = there
        await until(more_than(2, kept.__len__), within=LONG)
        over.set()
    async with working(parts.database, {ReplicateBlob: task}, poll=POLL):
        await all_copied(parts, kept)
        await once(lambda left: left == 0, parts.jobs, within=LONG)
    async with parts.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM replicas WHERE damaged_at IS NOT NULL") == 0
    await all_there(nodes, kept)


async def all_there(nodes: list[Service], kept: Mapping[str, bytes]) -> None:
    """Every node gives out all of them at the first attempt."""
    async with httpx.AsyncClient(timeout=20) as client:
        for path, content in kept.items():
            for node in nodes:
                answer = await client.get(f"{node.url}/data/{path.rpartition('/')[2]}")
                assert (answer.status_code, answer.content == content) == (200, True)
