"""What only S3 promises, and what only there can go wrong."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from drs_service.blobs.cloud import CloudDriver
from drs_service.blobs.opening import open_driver
from drs_service.blobs.s3 import LEAST_PART, S3Bucket
from drs_service.errors import SettingsInvalid, StorageFull
from tests.support.driving import keys, new_key, put
from tests.support.places import SMALL_PARTS, S3Place
from tests.support.s3 import S3Server

MIB = 1024**2
SOME = secrets.token_bytes(4 * LEAST_PART + 17)


@pytest.fixture
async def bucket(s3: S3Server) -> AsyncIterator[S3Bucket]:
    place = S3Place(s3)
    assert isinstance(place.driver, CloudDriver) and isinstance(place.driver.bucket, S3Bucket)
    yield place.driver.bucket
    await place.driver.close()


@pytest.mark.parametrize("url", ["s3:bucket", "s3:///prefix", "gs:bucket", "az:///prefix", "ftp://bucket"])
def test_a_url_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(SettingsInvalid):
        open_driver(url)


async def test_who_has_the_urls_can_send_the_parts(bucket: S3Bucket) -> None:
    key = new_key()
    multipart = await bucket.begin(key)
    parts = [SOME[:LEAST_PART], SOME[LEAST_PART : LEAST_PART + 10]]
    tags = []
    async with httpx.AsyncClient() as client:
        for number, part in enumerate(parts, 1):
            url = await bucket.presign_part(key, multipart, number, size=len(part), expires_in=timedelta(minutes=5))
            tags.append((await client.put(url, content=part)).raise_for_status().headers["etag"])
    await bucket.complete(key, multipart, tags)
    assert await bucket.size(key) == LEAST_PART + 10


@pytest.mark.parametrize("size", [2 * MIB, len(SOME)])
async def test_a_bucket_that_is_full_is_told(s3: S3Server, size: int) -> None:
    bucket, access = s3.narrow_bucket(MIB)
    driver = CloudDriver(S3Bucket(bucket, "", access), sizes=SMALL_PARTS)
    await put(driver, new_key(), SOME[:1000])
    with pytest.raises(StorageFull):
        await put(driver, new_key(), SOME[:size])
    assert len(await keys(driver)) == 1
    await driver.close()
