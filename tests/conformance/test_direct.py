"""What a place promises to which parts can be brought past us."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from drs_service.blobs.cloud_direct import DirectCloudDriver
from drs_service.blobs.driver import Direct
from drs_service.blobs.local import LocalDriver
from drs_service.errors import StorageUnavailable, UploadLost
from tests.support.azurite import AzureServer
from tests.support.deadline import until
from tests.support.driving import collect, fetch, new_key
from tests.support.gcs import GcsServer
from tests.support.places import SMALL_PARTS, CloudPlace, LocalPlace, S3Place
from tests.support.s3 import S3Server

PART = SMALL_PARTS.part
SOME = secrets.token_bytes(2 * PART + 17)
PIECES = [SOME[:PART], SOME[PART : 2 * PART], SOME[2 * PART :]]
VALID = timedelta(minutes=5)


@pytest.fixture
async def place(s3: S3Server) -> AsyncIterator[S3Place]:
    place = S3Place(s3, sizes=SMALL_PARTS)
    yield place
    await until(lambda: not place.leftovers())
    await place.driver.close()


@pytest.fixture
async def driver(place: S3Place) -> AsyncIterator[DirectCloudDriver]:
    driver = place.another()
    yield driver
    await driver.close()


@pytest.fixture
async def handle(driver: DirectCloudDriver) -> AsyncIterator[str]:
    handle = await driver.begin()
    yield handle
    await driver.forget(handle)


async def bring(url: str, content: bytes | AsyncIterator[bytes]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.put(url, content=content)


async def brought(driver: DirectCloudDriver, handle: str, parts: str, number: int, content: bytes) -> None:
    url = await driver.presign_part(handle, parts, number, size=len(content), valid=VALID)
    (await bring(url, content)).raise_for_status()


def test_only_some_places_have_the_power(s3: S3Server, gcs: GcsServer, azure: AzureServer, local: LocalPlace) -> None:
    assert isinstance(S3Place(s3).driver, Direct)
    for place in (local, CloudPlace(gcs), CloudPlace(azure)):
        assert not isinstance(place.driver, Direct)
    assert isinstance(local.driver, LocalDriver)


async def test_parts_that_come_in_any_order_are_one_run_of_bytes(
    place: S3Place, driver: DirectCloudDriver, handle: str
) -> None:
    parts = await driver.begin_parts(handle)
    for number in (3, 1, 2):
        assert await driver.joined(handle, parts) is None
        await brought(driver, handle, parts, number, PIECES[number - 1])
    here = await driver.parts(handle, parts)
    assert [(one.number, one.size) for one in here] == [(1, PART), (2, PART), (3, 17)]
    assert place.raw_keys() == []
    mark = await driver.complete_parts(handle, parts, here)
    assert mark == await driver.joined(handle, parts)
    key = new_key()
    waiting = await driver.resume(handle)
    await waiting.go_on(mark)
    assert await collect(waiting.reread(0, mark.offset)) == SOME
    await waiting.publish(key)
    await waiting.discard()
    assert await fetch(driver, key) == SOME


async def test_nothing_can_be_changed_once_it_is_complete(
    place: S3Place, driver: DirectCloudDriver, handle: str
) -> None:
    parts = await driver.begin_parts(handle)
    url = await driver.presign_part(handle, parts, 1, size=PART, valid=VALID)
    (await bring(url, PIECES[0])).raise_for_status()
    mark = await driver.complete_parts(handle, parts, await driver.parts(handle, parts))
    assert (await bring(url, PIECES[1])).status_code == 404
    waiting = await driver.resume(handle)
    await waiting.go_on(mark)
    assert await collect(waiting.reread(0, mark.offset)) == PIECES[0]
    await waiting.leave()
    with pytest.raises(UploadLost):
        await driver.parts(handle, parts)


async def test_a_part_that_changed_after_it_was_counted_is_not_taken(driver: DirectCloudDriver, handle: str) -> None:
    parts = await driver.begin_parts(handle)
    await brought(driver, handle, parts, 1, PIECES[0])
    here = await driver.parts(handle, parts)
    await brought(driver, handle, parts, 1, PIECES[1])
    with pytest.raises(StorageUnavailable):
        await driver.complete_parts(handle, parts, here)
    await driver.complete_parts(handle, parts, await driver.parts(handle, parts))


async def test_what_the_place_has_forgotten_is_lost(driver: DirectCloudDriver, handle: str) -> None:
    parts = await driver.begin_parts(handle)
    await brought(driver, handle, parts, 1, PIECES[0])
    here = await driver.parts(handle, parts)
    await driver.forget_parts(handle, parts)
    for lost in (driver.parts(handle, parts), driver.complete_parts(handle, parts, here)):
        with pytest.raises(UploadLost):
            await lost


async def test_a_url_is_good_for_one_part_alone(driver: DirectCloudDriver, handle: str) -> None:
    parts = await driver.begin_parts(handle)
    url = httpx.URL(await driver.presign_part(handle, parts, 1, size=1, valid=VALID))
    for changed in (
        url.copy_set_param("partNumber", "2"),
        url.copy_set_param("X-Amz-Expires", "86400"),
        url.copy_with(path=url.path + "x"),
    ):
        assert (await bring(str(changed), b"a")).status_code == 403
    assert await driver.parts(handle, parts) == []


async def test_a_url_is_good_for_a_part_of_its_size_alone(driver: DirectCloudDriver, handle: str) -> None:
    async def without_length() -> AsyncIterator[bytes]:
        yield b"12345"

    parts = await driver.begin_parts(handle)
    url = await driver.presign_part(handle, parts, 1, size=5, valid=VALID)
    for content in (b"1234", b"123456", b"", without_length()):
        assert (await bring(url, content)).status_code in {403, 411}
    assert await driver.parts(handle, parts) == []
    assert (await bring(url, b"12345")).status_code == 200


async def test_what_is_forgotten_leaves_nothing(place: S3Place, driver: DirectCloudDriver) -> None:
    handle = await driver.begin()
    for _ in range(2):
        parts = await driver.begin_parts(handle)
        await brought(driver, handle, parts, 1, b"a")
    assert [entry.key async for entry in driver.waiting()] == [handle]
    await driver.forget_parts(handle, parts)
    await driver.forget_parts(handle, parts)
    await driver.forget(handle)
    assert place.leftovers() == []
