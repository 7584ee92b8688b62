"""A place that takes what it is asked and never answers keeps nobody from another one."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from drs_service.db import blobs
from drs_service.settings import Settings
from drs_service.usecases.checksumming import Checksumming
from tests.places.conftest import Parts, is_good, opened
from tests.support.bucket import Bucket
from tests.support.passage import Passage, passage
from tests.support.rows import digest_of_bytes
from tests.support.s3 import S3Server
from tests.support.server import running

CONTENT = secrets.token_bytes(300_000)
DIGEST = digest_of_bytes(CONTENT)
READERS = 30  # more than the threads of a place
LONG = 10.0  # seconds: much less than what a driver waits by itself


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, place_seconds=1)


async def test_a_disk_whose_reads_hang_is_asked_last(
    client: httpx.AsyncClient, parts: Parts, settings: Settings
) -> None:
    sent = (await client.put("/upload/a.bin", content=CONTENT)).raise_for_status().json()
    await parts.replicating.replicate(DIGEST, "mirror")
    path = parts.file("primary", DIGEST)
    path.unlink()
    os.mkfifo(path)  # whoever opens it waits for one who writes
    try:
        async with running(settings) as another, httpx.AsyncClient(base_url=another.url, timeout=LONG) as reader:
            began = time.monotonic()
            answers = await asyncio.gather(*(reader.get(f"/data/{sent['id']}") for _ in range(READERS)))
            assert {(one.status_code, one.content == CONTENT) for one in answers} == {(200, True)}
            assert time.monotonic() - began < LONG
            assert (await reader.get(f"/data/{sent['id']}")).elapsed.total_seconds() < settings.place_seconds
            let_go(path)
    finally:
        path.unlink()
    assert (await parts.copies(DIGEST))["primary"].damage is None


def let_go(path: Path) -> None:
    """Have everybody end who waits for a writer."""
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


@pytest.fixture
def way(s3: S3Server) -> Iterator[Passage]:
    """To the S3 server."""
    with passage() as way:
        way.port = int(s3.url.rpartition(":")[2])
        yield way


@pytest.fixture
def distant(settings: Settings, s3: S3Server, way: Passage) -> Settings:
    """The primary is a bucket at the end of the way."""
    bucket = Bucket(s3)
    told = bucket.settings(replace(settings, places=(settings.places[0],)))
    return replace(told, s3_endpoint_url=way.url)


async def test_a_bucket_that_says_nothing_delays_a_read_and_a_start_for_a_moment(
    distant: Settings, way: Passage, tmp_path: Path
) -> None:
    turned = replace(
        distant,
        storage_name="mirror",
        storage_url=distant.places[0].partition("=")[2],
        places=(f"primary={distant.storage_url}",),
        replicas="",
    )
    async with running(distant) as service, httpx.AsyncClient(base_url=service.url, timeout=LONG) as client:
        sent = (await client.put("/upload/a.bin", content=CONTENT)).raise_for_status().json()
        async with opened(distant, tmp_path) as parts:
            await parts.replicating.replicate(DIGEST, "mirror")
    async with running(distant) as service, httpx.AsyncClient(base_url=service.url, timeout=LONG) as client:
        way.down.block_after(0)
        try:
            assert (await client.get(f"/data/{sent['id']}")).content == CONTENT
            assert way.down.blocked.is_set()
            async with asyncio.timeout(LONG):
                async with running(turned) as other, httpx.AsyncClient(base_url=other.url, timeout=20) as beside:
                    assert (await beside.get(f"/data/{sent['id']}")).content == CONTENT
        finally:
            way.down.free()


async def test_work_goes_on_where_a_connection_broke_and_waits_for_no_place_that_it_can_do_without(
    distant: Settings, way: Passage, tmp_path: Path
) -> None:
    content = secrets.token_bytes(4 * 1024**2)
    async with opened(distant, tmp_path) as parts, asyncio.timeout(LONG):
        digest = await parts.keep(content)
        before = way.down.bytes
        way.down.block_after(len(content) // 2)
        copying = asyncio.create_task(parts.replicating.replicate(digest, "mirror"))
        await asyncio.to_thread(way.down.blocked.wait, LONG)
        way.cut()
        way.down.free()
        await copying
        assert is_good(parts.file("mirror", digest), digest)
        assert way.down.bytes - before < 1.5 * len(content)
        way.down.block_after(0)
        try:
            await Checksumming(parts.database, parts.store, ["md5"], parts.reading).work_out(digest)
        finally:
            way.down.free()
        async with parts.database.connection() as connection:
            assert (await blobs.checksums(connection, [digest]))[digest].keys() == {"md5"}
        assert parts.places.in_order(["primary", "mirror"])[0].place == "mirror"
