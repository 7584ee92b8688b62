"""What those places promise whose requests can be signed beforehand."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from drs_service.blobs.bucket import Overrides
from drs_service.blobs.cloud import CloudDriver
from drs_service.errors import StorageUnavailable
from tests.support.driving import new_key, put
from tests.support.gcs import GcsServer
from tests.support.places import CloudPlace

SOME = secrets.token_bytes(1000)
VALID = timedelta(minutes=5)
SAID = Overrides(content_type="text/x-said", content_disposition='attachment; filename="said it.bin"')


@pytest.fixture(params=["s3", "azure"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[CloudPlace]:
    place = CloudPlace(request.getfixturevalue(request.param))
    yield place
    await place.driver.close()


async def test_a_presigned_url_gives_ranges_under_the_name_that_was_said(place: CloudPlace) -> None:
    key = new_key()
    assert isinstance(place.driver, CloudDriver)
    await put(place.driver, key, SOME)
    url = await place.driver.bucket.presign_read(key, expires_in=VALID, overrides=SAID)
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.get(url, headers={"Range": "bytes=10-19"})
        assert (answer.status_code, answer.content) == (206, SOME[10:20])
        assert answer.headers["content-type"] == "text/x-said"
        assert answer.headers["content-disposition"] == 'attachment; filename="said it.bin"'
        for changed in (url.replace(key, key[:-1] + "z"), url.replace("text", "tex")):
            assert (await client.get(changed)).status_code == 403
        assert (await client.put(url, content=b"other", headers={"x-ms-blob-type": "BlockBlob"})).status_code == 403
    assert place.raw_get(key) == SOME


async def test_nothing_is_signed_by_nobody(gcs: GcsServer) -> None:
    place = CloudPlace(gcs)
    assert isinstance(place.driver, CloudDriver)
    with pytest.raises(StorageUnavailable):
        await place.driver.bucket.presign_read(new_key(), expires_in=VALID, overrides=SAID)
    await place.driver.close()
