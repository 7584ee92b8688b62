"""Files of others that their owner has put into an archive stay there, and are told as that."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import httpx
import pytest

from drs_service.domain.digest import Digest
from drs_service.errors import BytesPutAway
from drs_service.jobs.kinds import ThawBlob, VerifyBlob
from drs_service.settings import Secret, Settings
from drs_service.usecases.scrubbing import Scrubbing
from tests.api.schemas import assert_refused
from tests.api.writing import OBJECTS, got
from tests.places.adoption import Adoption
from tests.places.conftest import Parts
from tests.places.test_archived_work import nothing
from tests.support.deadline import once
from tests.support.frozen import Frozen
from tests.support.glacier import SMART, glacier
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
    return replace(
        settings,
        places=(f"archive={frozen.bucket.url}?{options}",),
        place_secrets=secret,
        replicas="",
        signed_places=("archive",),
    )


@pytest.mark.parametrize("archive", [("GLACIER", None), (SMART, "ARCHIVE_ACCESS")])
async def test_a_file_in_an_archive_is_put_away_until_its_owner_brings_it_back(
    parts: Parts,
    settings: Settings,
    frozen: Frozen,
    archive: tuple[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket, behind = frozen.bucket, frozen.glacier
    adoption = Adoption(parts, settings, bucket.url.rstrip("/"))
    behind.server.put(bucket.prefix + "one", b"content")
    await adoption.run()
    object_id = (await adoption.objects())["one"].id
    behind.put_away(bucket.prefix + "one", *archive)
    behind.server.put(bucket.prefix + "two", b"frozen before")
    behind.put_away(bucket.prefix + "two", *archive)
    await adoption.run()
    told = (await adoption.told())["two"]
    assert (told.state, told.problem) == (
        "failed",
        "The file lies in an archive: whoever owns it must bring it back.",
    )
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        signed = f"{OBJECTS}/{object_id}/access/signed-archive"
        behind.read.clear()
        for path in (signed, f"/data/{object_id}", signed, f"/data/{object_id}"):
            answer = await client.get(path)
            assert_refused(answer, 409, "bytes_put_away")
            assert "whoever owns it" in answer.json()["msg"]
        assert behind.read == []
        await once(lambda seen: "available" in seen["access_methods"][1], lambda: got(client, object_id))
        assert await taken(parts.database, ThawBlob) == []
        [copy] = (await parts.copies(Digest(hashlib.sha256(b"content").digest()))).values()
        assert (copy.damage, copy.archived) == (None, True)
        behind.take_out(bucket.prefix + "one")
        monkeypatch.setattr("drs_service.usecases.looking_again.EVERY", 0.0)
        assert (await client.get(f"/data/{object_id}")).content == b"content"
        await once(lambda answer: "X-Amz-Signature" in answer.text, lambda: client.get(signed))


async def test_a_file_in_an_archive_is_verified_once_and_copied_by_nobody(
    parts: Parts, settings: Settings, frozen: Frozen
) -> None:
    bucket, behind = frozen.bucket, frozen.glacier
    adoption = Adoption(parts, settings, bucket.url.rstrip("/"))
    behind.server.put(bucket.prefix + "one", b"content")
    await adoption.run()
    behind.put_away(bucket.prefix + "one")
    digest = Digest(hashlib.sha256(b"content").digest())
    async with parts.database.transaction() as connection:
        await connection.execute("UPDATE replicas SET verified_at = now() - interval '1 year'")
    scrubbing = Scrubbing(parts.database, parts.places, parts.reading, timedelta(days=30), nothing)
    await scrubbing.take_up()
    for job in await taken(parts.database, VerifyBlob):
        await scrubbing.verify(Digest.from_hex(job.digest), job.place)
    await scrubbing.take_up()
    assert await taken(parts.database, VerifyBlob) == []
    with pytest.raises(BytesPutAway, match="whoever owns it"):
        await parts.replicating.bring(digest, "primary")
    behind.take_out(bucket.prefix + "one")
    await parts.replicating.bring(digest, "primary")
    assert (await parts.copies(digest)).keys() == {"archive", "primary"}
