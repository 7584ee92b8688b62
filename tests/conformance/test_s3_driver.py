"""What only S3 promises, and what only there can go wrong."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
import structlog
from aiohttp import ClientSession, web

from drs_service.blobs.cloud import CloudDriver
from drs_service.blobs.opening import open_driver
from drs_service.blobs.s3 import LEAST_PART, S3Bucket
from drs_service.blobs.s3_short import FAILURES, Address
from drs_service.errors import SettingsInvalid, StorageFull, StorageUnavailable
from tests.support.driving import collect, keys, new_key, put
from tests.support.places import SMALL_PARTS, S3Place
from tests.support.proxying import Handler, asked, proxying, refused, streamed
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
    async with httpx.AsyncClient(timeout=20) as client:
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


@asynccontextmanager
async def behind(s3: S3Server, answer: Callable[[web.Request], web.Response | None]) -> AsyncIterator[S3Bucket]:
    """The bucket behind something that answers in its place, unless that is None."""

    def answering(session: ClientSession) -> Handler:
        async def passed_on(request: web.Request) -> web.StreamResponse:
            if (instead := answer(request)) is not None:
                await request.read()
                return instead
            async with asked(session, s3.url, request) as (said, headers):
                return await streamed(request, said, headers)

        return passed_on

    async with proxying(answering) as url:
        bucket = S3Bucket(s3.bucket, "", replace(s3.access().s3, endpoint_url=url))
        yield bucket
        await bucket.close()


async def test_only_the_store_says_that_something_is_not_there(s3: S3Server) -> None:
    key = new_key()
    async with behind(s3, lambda _: web.Response(status=404, text="404 page not found")) as bucket:
        for asking in (bucket.put(key, b"a"), bucket.put(key, b"a", absent_only=True), collect(bucket.read(key, 0, 1))):
            with pytest.raises(StorageUnavailable):
                await asking
        with pytest.raises(StorageUnavailable):
            await bucket.put_part(key, "some", 1, b"a")
        with pytest.raises(KeyError):
            await bucket.size(key)  # an answer to HEAD has no body to say more in
    async with behind(s3, lambda _: refused(404, "NoSuchKey", "")) as bucket:
        with pytest.raises(KeyError):
            await collect(bucket.read(key, 0, 1))
        with pytest.raises(StorageUnavailable):
            await bucket.put(key, b"a")


async def test_whoever_writes_what_another_writes_at_once_has_written_it(s3: S3Server) -> None:
    key, conflicts = new_key(), iter(range(4))

    def conflict(request: web.Request) -> web.Response | None:
        if "if-none-match" not in request.headers or next(conflicts, None) is None:
            return None
        return refused(409, "ConditionalRequestConflict", "")

    async with behind(s3, conflict) as bucket:
        await bucket.put(key, b"content", absent_only=True)
        assert next(conflicts, None) is None
        assert await collect(bucket.read(key, 0, 7)) == b"content"
    async with behind(s3, lambda _: refused(409, "ConditionalRequestConflict", "")) as bucket:
        with pytest.raises(StorageUnavailable):
            await bucket.put(key, b"content", absent_only=True)


@pytest.mark.parametrize("start", [0, 5])
async def test_a_store_that_gives_other_bytes_than_those_asked_for_is_told(s3: S3Server, start: int) -> None:
    async with behind(s3, lambda _: web.Response(body=b"0123456789", headers={"ETag": "a"})) as bucket:
        assert await collect(bucket.read("a", 0, 10)) == b"0123456789"
        with pytest.raises(StorageUnavailable):
            await collect(bucket.read("a", start, start + 3))


def is_short(request: web.Request) -> bool:
    return "boto" not in request.headers["user-agent"].lower()


async def test_the_short_way_is_left_for_a_while_where_it_fails(s3: S3Server) -> None:
    short = 0

    def refuse_short(request: web.Request) -> web.Response | None:
        nonlocal short
        short += is_short(request)
        return refused(403, "AccessDenied", "") if is_short(request) else None

    async with behind(s3, refuse_short) as bucket:
        with structlog.testing.capture_logs() as logs:
            for number in range(FAILURES + 3):
                await bucket.put(key := new_key(), b"%d" % number)
                await bucket.delete(key)
    assert short == FAILURES
    assert len(logs) == 1


async def test_a_proxy_is_not_gone_past(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = 0

    def answer(request: web.Request) -> None:
        nonlocal straight
        straight += 1

    async def in_between(_: web.Request) -> web.Response:
        return web.Response(headers={"ETag": "a", "Content-Length": "7"})

    async with behind(s3, answer) as bucket, proxying(lambda _: in_between) as proxy:
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("http_proxy", proxy)
        assert await bucket.size("a") == 7
    assert straight == 0


def test_only_what_is_signed_for_s3_itself_goes_the_short_way() -> None:
    url = "https://b.example/name?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=id/20260101/r/{}/aws4_request"
    assert Address.found_in(url.format("s3"), "name") == Address("https://b.example/", "r")
    assert Address.found_in(url.format("s3express"), "name") is None
