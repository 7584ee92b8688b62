"""A place on disk and one in a bucket: copies go both ways, and readers do without the one that is down."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from drs_service.domain.ranges import ByteRange
from drs_service.settings import Secret, Settings
from tests.places.conftest import Parts, is_good, opened
from tests.support.bucket import Bucket
from tests.support.driving import collect
from tests.support.s3 import S3Server
from tests.support.server import running

CONTENT = secrets.token_bytes(9 * 1024**2)  # more than fits in one part


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def settings(settings: Settings, bucket: Bucket) -> Settings:
    access = bucket.access
    options = f"endpoint_url={access.endpoint_url}&access_key_id={quote(access.access_key_id or '')}"
    return replace(
        settings,
        places=(f"mirror={bucket.url}?{options}",),
        place_secrets=Secret(f"mirror={access.secret_access_key}"),
        replicas="mirror",
    )


@pytest.fixture
async def copied(parts: Parts) -> AsyncIterator[Parts]:
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    assert (await parts.copies(digest)).keys() == {"primary", "mirror"}
    yield parts


async def test_copies_go_both_ways(copied: Parts, bucket: Bucket) -> None:
    digest = await copied.keep(CONTENT)
    assert len(bucket.blobs()) == 1
    path = copied.file("primary", digest)
    path.unlink()
    await copied.reading.damaged(digest, copied.store, "the bytes are missing")
    await copied.replicating.replicate(digest, "primary")
    assert is_good(path, digest)
    assert not [key for key in bucket.keys("staging/") if "/owners/" not in key]


async def test_flipped_bytes_in_a_bucket_are_replaced(copied: Parts, bucket: Bucket) -> None:
    digest = await copied.keep(CONTENT)
    [key] = bucket.blobs()
    mirror = copied.places.get("mirror")
    assert mirror is not None
    bucket.server.client.put_object(Bucket=bucket.name, Key=bucket.prefix + key, Body=bytes(len(CONTENT)))
    await copied.reading.damaged(digest, mirror, "the bytes are others")
    await copied.replicating.replicate(digest, "mirror")
    assert await collect(await mirror.open(digest, ByteRange(0, len(CONTENT)))) == CONTENT
    assert (await copied.copies(digest))["mirror"].damage is None


async def test_readers_do_without_a_bucket_that_is_down(
    copied: Parts, settings: Settings, bucket: Bucket, tmp_path: Path
) -> None:
    access = bucket.access
    turned = replace(
        settings,
        storage_name="mirror",
        storage_url=bucket.url,
        s3_endpoint_url=access.endpoint_url,
        s3_access_key_id=access.access_key_id,
        s3_secret_access_key=Secret(access.secret_access_key or ""),
        places=(f"primary={settings.storage_url}",),
        place_secrets=None,
        replicas="",
    )
    async with running(turned) as service, httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        kept = (await client.put("/upload/a.bin", content=CONTENT)).raise_for_status().json()
        bucket.server.go_away()
        try:
            for _ in range(3):
                assert (await client.get(f"/data/{kept['id']}")).content == CONTENT
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["parts"]["storage primary"]) == (503, "ok")
        finally:
            bucket.server.come_back()
        assert (await client.get(f"/data/{kept['id']}")).content == CONTENT
    async with opened(settings, tmp_path) as parts:
        assert {one.damage for one in (await parts.copies(await parts.keep(CONTENT))).values()} == {None}
