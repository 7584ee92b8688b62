"""`drs-service put --direct`: files that go past a service whose bytes are in S3."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from drs_service.settings import Secret, Settings
from tests.client.conftest import Client, ended
from tests.support.bucket import Bucket
from tests.support.deadline import PATIENCE
from tests.support.places import CloudServer
from tests.support.s3 import S3Server
from tests.support.server import Service, running

MB = 1_000_000


@pytest.fixture
def server(s3: S3Server) -> CloudServer:
    return s3


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def settings(settings: Settings, bucket: Bucket) -> Settings:
    return bucket.settings(settings)


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    # No worker runs here, so the service verifies what comes by itself.
    alone = replace(settings, public_url=None, max_upload_bytes=1000 * MB, finish_at_once_bytes=1000 * MB)
    async with running(alone) as service:
        yield service


@pytest.fixture
def client(service: Service, tmp_path: Path, own_environment: dict[str, str]) -> Client:
    return Client(tmp_path, {**own_environment, "DRS_URL": service.url, "XDG_STATE_HOME": str(tmp_path / "state")})


async def test_files_go_past_the_service(client: Client, bucket: Bucket) -> None:
    files = [client.file(name, size) for name, size in (("empty", 0), ("one", 1), ("big", 40 * MB))]
    made = (await asyncio.to_thread(client.well, "put", "--direct", "--json", *files)).objects
    assert {one["sha256"] for one in made} == {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    async with httpx.AsyncClient(timeout=30) as asking:
        for one, path in zip(sorted(made, key=lambda one: int(one["size"])), files, strict=True):
            data = await asking.get(one["url"].replace("/ga4gh/drs/v1/objects/", "/data/"))
            assert data.content == path.read_bytes()
    assert not bucket.waiting()
    assert client.remembered == []


async def test_a_killed_put_sends_no_part_again(client: Client, bucket: Bucket) -> None:
    path = client.directory / "big"
    with path.open("wb") as file:
        file.truncate(400 * MB)
    process = client.begin("put", "--direct", path)
    try:
        async with asyncio.timeout(PATIENCE):
            while not (come := await asyncio.to_thread(bucket.parts)):
                await asyncio.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(ended, process)
    assert len(come) < 20
    done = await asyncio.to_thread(client.well, "put", "--direct", "--json", path)
    assert done.objects[0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(bucket.blobs()) == 1


async def test_a_service_that_takes_nothing_past_itself_says_so(
    own_environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    local = Settings(database_url=Secret(database_url), storage_url=(tmp_path / "store").as_uri())
    async with running(local) as service:
        state = {"DRS_URL": service.url, "XDG_STATE_HOME": str(tmp_path / "state")}
        client = Client(tmp_path, own_environment | state)
        done = await asyncio.to_thread(client.run, "put", "--direct", client.file("some", 4))
        left = await asyncio.to_thread(httpx.get, f"{service.url}/uploads")
    assert left.json()["uploads"] == []
    assert done.code == 1
    assert "--direct" in done.err
