"""Objects of others in a real bucket become ours, and stay theirs."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from drs_service.domain.paths import spelled
from drs_service.domain.ranges import ByteRange
from drs_service.errors import BlobCorrupt, StorageUnavailable
from drs_service.jobs.kinds import ReplicateBlob
from drs_service.settings import Secret, Settings
from tests.places.adoption import Adoption
from tests.places.conftest import Parts, opened
from tests.support.bucket import Bucket
from tests.support.driving import collect
from tests.support.moody import moody
from tests.support.queue import taken
from tests.support.s3 import S3Server
from tests.support.server import running

BIG = secrets.token_bytes(9 * 1024**2)


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def settings(settings: Settings, bucket: Bucket) -> Settings:
    access = bucket.access
    options = f"endpoint_url={access.endpoint_url}&access_key_id={quote(access.access_key_id or '')}&external=true"
    return replace(
        settings,
        places=(f"archive={bucket.url}?{options}",),
        place_secrets=Secret(f"archive={access.secret_access_key}"),
        replicas="",
        shown_places=("archive:aws:eu-1",),
        signed_places=("archive",),
    )


@pytest.fixture
async def adoption(parts: Parts, settings: Settings, bucket: Bucket) -> AsyncIterator[Adoption]:
    yield Adoption(parts, settings, bucket.url.rstrip("/"))


def put(bucket: Bucket, name: str, content: bytes) -> None:
    bucket.server.put(bucket.prefix + name, content)


async def test_objects_of_a_bucket_become_ours_in_place_and_copied(adoption: Adoption, bucket: Bucket) -> None:
    names = ["runs/big.bam", "runs/ä b%c.txt", "runs//a\nb", "empty"]
    for name in names:
        put(bucket, name, b"" if name == "empty" else BIG if name.endswith("bam") else name.encode())
    put(bucket, "runs/", b"")
    put(bucket, "runs2/other", b"other")
    assert (await adoption.run("runs")).found == 3
    assert (await adoption.run()).wanted == 2
    made = await adoption.objects()
    assert made.keys() == {*(spelled(name.encode()) for name in names), "runs2/other"}
    one = made["runs/big.bam"]
    assert one.blob is not None and one.places == {"archive"}
    reading = adoption.parts.reading
    assert await collect(await reading.open(one.blob.digest, ByteRange(5, len(BIG)), one.places)) == BIG[5:]
    async with running(adoption.settings) as service, httpx.AsyncClient(timeout=20) as client:
        for name in names:
            stored = made[spelled(name.encode())]
            url = f"{service.url}/ga4gh/drs/v1/objects/{stored.id}"
            methods = (await client.get(url)).json()["access_methods"]
            assert [method["access_id"] for method in methods] == ["https", "copy-archive", "signed-archive"]
            assert methods[1]["access_url"]["url"] == f"{bucket.url}{name}"
            signed = (await client.get(f"{url}/access/signed-archive")).json()["url"]
            assert (await client.get(signed)).content == (bucket.server.get(bucket.prefix + name) or b"")
        put(bucket, "empty", b"not empty")
        assert (await client.get(f"{url}/access/signed-archive")).status_code == 404
    before = bucket.keys()
    await adoption.run("runs", copy=True)
    assert (await adoption.objects())["runs/big.bam"].places == {"archive", "primary"}
    assert bucket.keys() == before


async def test_another_object_under_the_same_name_is_never_read(adoption: Adoption, bucket: Bucket) -> None:
    put(bucket, "one", b"content")
    await adoption.find()
    put(bucket, "one", b"CONTENT")  # since it was found
    await adoption.work()
    blob = (await adoption.objects())["one"].blob
    assert blob is not None
    reading = adoption.parts.reading
    assert await collect(await reading.open(blob.digest, ByteRange(0, 7), {"archive"})) == b"CONTENT"
    put(bucket, "one", b"content")
    with pytest.raises(BlobCorrupt):
        await reading.open(blob.digest, ByteRange(0, 7), {"archive"})
    await reading.close()
    assert (await adoption.parts.copies(blob.digest))["archive"].damage == "the file has changed"
    [job] = await taken(adoption.parts.database, ReplicateBlob)
    await adoption.parts.replicating.replicate(blob.digest, job.place)
    assert (await adoption.parts.copies(blob.digest))["archive"].damage is not None
    assert bucket.keys() == ["one"]


async def test_a_file_that_cannot_be_read_is_held_against_no_other(
    settings: Settings, bucket: Bucket, s3: S3Server, tmp_path: Path
) -> None:
    put(bucket, "one", b"content")
    async with moody(s3) as front:
        archive = settings.places[0].replace(bucket.access.endpoint_url or "", front.url)
        places = (archive, f"cold={(tmp_path / 'cold').as_uri()}")
        async with opened(replace(settings, places=places), tmp_path) as parts:
            adoption = Adoption(parts, parts.settings, bucket.url.rstrip("/"))
            await adoption.run()
            blob = (await adoption.objects())["one"].blob
            assert blob is not None
            for refusal, first in (((403, "AccessDenied"), "archive"), ((503, "SlowDown"), "cold")):
                front.refusal, front.refuses = refusal, lambda request: request.path.endswith("/one")
                with pytest.raises(StorageUnavailable):
                    await parts.reading.open(blob.digest, ByteRange(0, blob.size), ["archive"])
                assert parts.places.in_order(["archive", "cold"])[0].place == first
