"""What is different at Azure, at Google and among files, and what only there can go wrong."""

import asyncio
import gzip
import secrets
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from drs_service.blobs.azure import COPY, AzureBucket, block_id
from drs_service.blobs.bucket import Bucket, Source
from drs_service.blobs.cloud import CloudDriver
from drs_service.blobs.gcs import MOST_COMPOSED, GcsBucket
from drs_service.errors import StorageUnavailable
from tests.support.driving import collect, new_key
from tests.support.gcs import GcsServer
from tests.support.places import FILES, CloudPlace
from tests.support.proxying import Handler, asked, proxying, streamed

MANY = MOST_COMPOSED + 13
PIECES = [b"%d " % number for number in range(MANY)]


@pytest.fixture(params=["azure", "gcs", FILES])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[CloudPlace]:
    place = CloudPlace(request.getfixturevalue(request.param))
    yield place
    assert place.leftovers() == []
    await place.driver.close()


@pytest.fixture
def bucket(place: CloudPlace) -> Bucket:
    assert isinstance(place.driver, CloudDriver)
    return place.driver.bucket


async def names(bucket: Bucket) -> list[str]:
    return [found.name async for found in bucket.objects("")]


async def begun(bucket: Bucket) -> list[tuple[str, str | None]]:
    return [(found.name, found.multipart) async for found in bucket.unfinished("")]


async def test_many_parts_are_one_object(place: CloudPlace, bucket: Bucket) -> None:
    key = new_key()
    multipart = await bucket.begin(key)
    tags = [await bucket.put_part(key, multipart, number, piece) for number, piece in enumerate(PIECES, 1)]
    assert await begun(bucket) == [(key, multipart)]
    assert await names(bucket) == place.raw_keys() == []
    await bucket.complete(key, multipart, tags)
    await bucket.complete(key, multipart, tags)  # as if the answer had been lost
    assert place.raw_get(key) == b"".join(PIECES)
    assert await begun(bucket) == []


async def test_many_objects_are_one(place: CloudPlace, bucket: Bucket) -> None:
    sources = [Source(f"staging/{number:03}", len(piece)) for number, piece in enumerate(PIECES)]
    await asyncio.gather(*[bucket.put(one.name, piece) for one, piece in zip(sources, PIECES, strict=True)])
    assert await names(bucket) == [one.name for one in sources]
    key = new_key()
    await bucket.concatenate(key, sources)
    assert place.raw_get(key) == b"".join(PIECES)
    with pytest.raises(KeyError):
        await bucket.concatenate(new_key(), [*sources, Source("staging/nothing", 5)])
    await asyncio.gather(*[bucket.delete(one.name) for one in sources])
    assert await names(bucket) == [key]


async def test_what_is_aborted_never_takes_an_object_away(place: CloudPlace, bucket: Bucket) -> None:
    key = new_key()
    multipart = await bucket.begin(key)
    await bucket.put_part(key, multipart, 1, b"some")
    await bucket.put(key, b"there")
    await bucket.abort(key, multipart)
    await bucket.abort(key, multipart)
    assert place.raw_get(key) == b"there"
    assert await begun(bucket) == []


async def test_of_several_that_publish_by_copying_all_succeed(place: CloudPlace, bucket: Bucket) -> None:
    content, key = secrets.token_bytes(100_000), new_key()
    await bucket.put("staging/a", content)
    others = [place.another() for _ in range(4)]
    await asyncio.gather(*[one.bucket.concatenate(key, [Source("staging/a", len(content))]) for one in others])
    assert place.raw_get(key) == content
    assert await collect(bucket.read(key, 5, 10)) == content[5:10]
    await bucket.delete("staging/a")
    await asyncio.gather(*[one.close() for one in others])


async def test_a_part_that_changed_after_it_was_counted_is_not_taken(place: CloudPlace, bucket: Bucket) -> None:
    if not isinstance(bucket, GcsBucket):
        pytest.skip("a block has no tag but its name, which nobody else knows")
    key = new_key()
    multipart = await bucket.begin(key)
    counted = await bucket.put_part(key, multipart, 1, b"counted")
    await bucket.put_part(key, multipart, 1, b"changed")
    with pytest.raises(StorageUnavailable):
        await bucket.complete(key, multipart, [counted])
    assert place.raw_get(key) is None
    await bucket.abort(key, multipart)


async def test_what_a_killed_publication_has_copied_is_left_to_azure(place: CloudPlace, bucket: Bucket) -> None:
    """To forget it would make the key readable, with nothing in it, for a moment."""
    if not isinstance(bucket, AzureBucket):
        pytest.skip("elsewhere it can be forgotten")
    key = new_key()
    await bucket.put("staging/a", b"some")
    await bucket.copy_block(key, block_id(COPY, "0" * 16, 1), "staging/a", 0, 4)
    assert await begun(bucket) == []
    assert place.raw_get(key) is None
    await bucket.delete("staging/a")


def decompressing(session: aiohttp.ClientSession, server: GcsServer) -> Handler:
    """As Google does it with `Content-Encoding: gzip`, for whoever takes none: whole, and without a length."""

    async def answer(request: web.Request) -> web.StreamResponse:
        async with asked(session, server.url, request) as (said, headers):
            if request.query.get("alt") != "media" or "gzip" in request.headers["accept-encoding"]:
                return await streamed(request, said, headers)
        async with session.get(server.url + request.path_qs) as whole:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(gzip.decompress(await whole.read()))
            return response

    return answer


async def test_what_somebody_put_among_the_parts_is_passed_over(gcs: GcsServer) -> None:
    prefix, key = f"{secrets.token_hex(8)}/", new_key()
    bucket = GcsBucket(gcs.bucket, prefix, gcs.access().gcs)
    multipart = await bucket.begin(key)
    await bucket.put_part(key, multipart, 1, b"content")
    gcs.put(f"{prefix}staging/multipart/a folder", b"")
    assert await begun(bucket) == [(key, multipart)]
    await bucket.close()


async def test_what_is_stored_compressed_is_read_as_it_is_stored(gcs: GcsServer) -> None:
    key, stored = new_key(), gzip.compress(secrets.token_bytes(2000))
    gcs.put(key, stored)
    async with proxying(lambda session: decompressing(session, gcs)) as url:
        bucket = GcsBucket(gcs.bucket, "", gcs.access(url=url).gcs)
        assert await collect(bucket.read(key, 0, len(stored))) == stored
        assert await collect(bucket.read(key, 900, 918)) == stored[900:918]
        await bucket.delete(key)
        await bucket.close()
