"""Files of others that their owner has put into an archive stay there, and are told as that."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest

from drs_service.domain.digest import Digest
from drs_service.jobs.kinds import ThawBlob
from drs_service.settings import Secret, Settings
from tests.places.adoption import Adoption
from tests.places.conftest import Parts
from tests.support.frozen import Frozen
from tests.support.glacier import glacier
from tests.support.queue import taken
from tests.support.s3 import S3Server
from tests.support.server import running


@pytest.fixture
async def frozen(s3: S3Server) -> AsyncIterator[Frozen]:
    async with glacier(s3) as behind:
        yield Frozen(behind)


@pytest.fixture
def settings(settings: Settings, frozen: Frozen) -> Settings:
    access = frozen.glacier.access.s3
    options = f"endpoint_url={access.endpoint_url}&access_key_id={quote(access.access_key_id or '')}&external=true"
    secret = Secret(f"archive={access.secret_access_key}")
    return replace(settings, places=(f"archive={frozen.bucket.url}?{options}",), place_secrets=secret, replicas="")


async def test_a_file_in_an_archive_is_unavailable_until_its_owner_brings_it_back(
    parts: Parts, settings: Settings, frozen: Frozen
) -> None:
    bucket, behind = frozen.bucket, frozen.glacier
    adoption = Adoption(parts, settings, bucket.url.rstrip("/"))
    behind.server.put(bucket.prefix + "one", b"content")
    await adoption.run()
    object_id = (await adoption.objects())["one"].id
    behind.put_away(bucket.prefix + "one")
    behind.server.put(bucket.prefix + "two", b"frozen before")
    behind.put_away(bucket.prefix + "two")
    await adoption.run()
    told = (await adoption.told())["two"]
    assert (told.state, told.problem) == (
        "failed",
        "The file lies in an archive: whoever owns it must bring it back.",
    )
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url) as client:
        for _ in range(2):
            answer = await client.get(f"/data/{object_id}")
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert "whoever owns it" in answer.json()["msg"]
        assert await taken(parts.database, ThawBlob) == []
        [copy] = (await parts.copies(Digest(hashlib.sha256(b"content").digest()))).values()
        assert (copy.damage, copy.archived) == (None, False)
        behind.take_out(bucket.prefix + "one")
        assert (await client.get(f"/data/{object_id}")).content == b"content"
