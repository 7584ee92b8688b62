"""Clients get the bytes from a bucket itself, where the operator lets them, and only what they may see."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from drs_service.blobs.keys import key_for
from drs_service.settings import Secret, Settings
from tests.api.schemas import assert_refused
from tests.api.writing import OBJECTS
from tests.support.bucket import Bucket
from tests.support.rows import digest_of_bytes
from tests.support.s3 import S3Server
from tests.support.server import running

CONTENT = secrets.token_bytes(300_000)


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def settings(settings: Settings, bucket: Bucket) -> Settings:
    access = bucket.access
    return replace(
        settings,
        storage_url=bucket.url,
        s3_endpoint_url=access.endpoint_url,
        s3_access_key_id=access.access_key_id,
        s3_secret_access_key=Secret(access.secret_access_key or ""),
        places=(),
        replicas="",
    )


@pytest.fixture
def letting(settings: Settings) -> Settings:
    return replace(settings, shown_places=("primary:aws:eu-1",), signed_places=("primary",), drs_1_2_prefix="/1.2")


@pytest.fixture
async def reader(letting: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with running(letting) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        yield client


async def put(client: httpx.AsyncClient) -> str:
    answer = await client.put("/upload/a%20b.html", content=CONTENT, headers={"content-type": "text/html"})
    return str(answer.raise_for_status().json()["id"])


async def methods(client: httpx.AsyncClient, object_id: str, mount: str = "") -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await client.get(f"{mount}{OBJECTS}/{object_id}")).json()["access_methods"]
    return found


async def test_nothing_of_the_bucket_is_told_unless_it_is_set(client: httpx.AsyncClient) -> None:
    object_id = await put(client)
    [method] = await methods(client, object_id)
    assert method["access_id"] == "https"
    for access_id in ("copy-primary", "signed-primary"):
        answer = await client.get(f"{OBJECTS}/{object_id}/access/{access_id}")
        assert_refused(answer, 404, "access_method_not_found")


async def test_a_bucket_that_clients_may_read_is_told_with_its_cloud(reader: httpx.AsyncClient, bucket: Bucket) -> None:
    object_id = await put(reader)
    url = f"s3://{bucket.name}/{bucket.prefix}{key_for(digest_of_bytes(CONTENT))}"
    own, copy, signed = await methods(reader, object_id)
    assert own["type"] == "https"
    assert copy == {
        "type": "s3",
        "access_id": "copy-primary",
        "access_url": {"url": url},
        "cloud": "aws",
        "region": "eu-1",
    }
    assert signed == {"type": "https", "access_id": "signed-primary"}
    assert (await reader.get(f"{OBJECTS}/{object_id}/access/copy-primary")).json() == {"url": url}
    assert bucket.server.client.get_object(Bucket=bucket.name, Key=url.split("/", 3)[3])["Body"].read() == CONTENT
    assert "cloud" not in (await methods(reader, object_id, "/1.2"))[1]


async def test_a_signed_url_gives_the_bytes_to_whoever_has_it(reader: httpx.AsyncClient) -> None:
    object_id = await put(reader)
    for answer in (
        await reader.get(f"{OBJECTS}/{object_id}/access/signed-primary"),
        await reader.post(f"{OBJECTS}/{object_id}/access/signed-primary", json={}),
        await reader.get(f"/1.2{OBJECTS}/{object_id}/access/signed-primary"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        async with httpx.AsyncClient(timeout=20) as stranger:
            got = await stranger.get(answer.json()["url"], headers={"range": "bytes=1-9"})
        assert (got.status_code, got.content) == (206, CONTENT[1:10])
        assert got.headers["content-type"] == "text/html"
        assert got.headers["content-disposition"].startswith("attachment")
    ids = [{"bulk_object_id": object_id, "bulk_access_ids": ["signed-primary", "signed-other"]}]
    bulk = (await reader.post(f"{OBJECTS}/access", json={"bulk_object_access_ids": ids})).json()
    assert bulk["summary"] == {"requested": 2, "resolved": 1, "unresolved": 1}
    assert "X-Amz-Signature" in bulk["resolved_drs_object_access_urls"][0]["url"]


async def test_what_was_deleted_is_signed_for_nobody(reader: httpx.AsyncClient) -> None:
    object_id = await put(reader)
    await reader.put(f"{OBJECTS}/{object_id}/delete", json={})
    assert (await reader.get(f"{OBJECTS}/{object_id}/access/signed-primary")).status_code == 410


async def test_readers_of_the_bytes_are_sent_to_the_bucket_if_that_is_set(letting: Settings) -> None:
    sending = replace(letting, signed_downloads=True)
    async with running(sending) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        object_id = await put(client)
        answer = await client.get(f"/data/{object_id}")
        assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-store")
        got = await client.get(f"/data/{object_id}", headers={"range": "bytes=0-4"}, follow_redirects=True)
        assert (got.status_code, got.content) == (206, CONTENT[:5])
        head = await client.head(f"/data/{object_id}")
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))
        not_modified = await client.get(f"/data/{object_id}", headers={"if-none-match": head.headers["etag"]})
        assert not_modified.status_code == 304


async def test_a_place_on_disk_is_signed_by_nobody(settings: Settings) -> None:
    faults = replace(settings, storage_url="file:///srv/store", signed_places=("primary",), shown_places=("nobody",))
    said = "\n".join(faults.faults())
    assert "DRS_SIGNED_PLACES: primary is not a bucket" in said
    assert "DRS_SHOWN_PLACES: there is no place 'nobody'" in said
