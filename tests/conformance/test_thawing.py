"""What those places promise that may put keys into an archive: Amazon's way in front of Ceph, and Azurite's own."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from drs_service.blobs.driver import BlobDriver, Frost, Thaws
from drs_service.domain.thawing import Thaw, Tier
from drs_service.errors import BytesArchived
from tests.support.azurite import AzureServer
from tests.support.driving import collect, new_key, put
from tests.support.glacier import SMART, Glacier, Restore, glacier
from tests.support.places import CloudPlace
from tests.support.s3 import S3Server

SOME = secrets.token_bytes(1000)


@dataclass(frozen=True, slots=True)
class Archive:
    place: CloudPlace
    driver: BlobDriver
    put_away: Callable[[str], None]
    give_back: Callable[[], None]


@asynccontextmanager
async def frozen_in(s3: S3Server) -> AsyncIterator[tuple[Glacier, CloudPlace, BlobDriver]]:
    async with glacier(s3) as behind:
        place = CloudPlace(s3)
        driver = place.another(url=behind.url)
        yield behind, place, driver
        await driver.close()
        await place.driver.close()


@pytest.fixture
async def frozen(s3: S3Server) -> AsyncIterator[tuple[Glacier, CloudPlace, BlobDriver]]:
    async with frozen_in(s3) as frozen:
        yield frozen


@pytest.fixture(params=["s3", "azure"])
async def archive(request: pytest.FixtureRequest) -> AsyncIterator[Archive]:
    async with AsyncExitStack() as stack:
        if request.param == "azure":
            server: AzureServer = request.getfixturevalue("azure")
            place = CloudPlace(server)
            stack.push_async_callback(place.driver.close)
            # Azurite gives back at once, as soon as it is asked.
            yield Archive(place, place.driver, lambda key: server.put_away(place.prefix + key), lambda: None)
        else:
            behind, place, driver = await stack.enter_async_context(frozen_in(request.getfixturevalue("s3")))
            yield Archive(place, driver, lambda key: behind.put_away(place.prefix + key), behind.give_back)


async def read(driver: BlobDriver, key: str) -> bytes:
    return await collect(driver.read(key, 0, len(SOME)))


async def test_what_is_archived_is_read_once_it_was_brought_back(archive: Archive) -> None:
    driver, key = archive.driver, new_key()
    assert isinstance(driver, Thaws)
    await put(driver, key, SOME)
    assert (await driver.condition(key)).frost is Frost.NONE
    archive.put_away(key)
    with pytest.raises(BytesArchived):
        await read(driver, key)
    assert (await driver.condition(key)).frost is Frost.ARCHIVED
    assert await driver.size(key) == len(SOME)
    assert [(one.key, one.archived) async for one in driver.keys(key)] == [(key, True)]
    await driver.thaw(key, Thaw())
    archive.give_back()
    assert (await driver.condition(key)).frost is Frost.NONE
    assert await read(driver, key) == SOME


async def test_what_is_archived_can_be_deleted_and_published_again(archive: Archive) -> None:
    driver, key = archive.driver, new_key()
    await put(driver, key, SOME)
    archive.put_away(key)
    await put(driver, key, SOME)  # it is there: it stays as it is
    with pytest.raises(BytesArchived):
        await read(driver, key)
    await driver.delete(key)
    await put(driver, key, SOME)
    assert await read(driver, key) == SOME


async def test_what_is_not_there_is_no_archive(archive: Archive) -> None:
    assert isinstance(archive.driver, Thaws)
    with pytest.raises(KeyError):
        await archive.driver.condition(new_key())
    with pytest.raises(KeyError):
        await archive.driver.thaw(new_key(), Thaw())


@pytest.mark.parametrize(
    ("storage_class", "status", "tier", "asked", "days"),
    [
        ("GLACIER", None, Tier.EXPEDITED, "Expedited", 3),
        ("DEEP_ARCHIVE", None, Tier.EXPEDITED, "Standard", 3),
        ("DEEP_ARCHIVE", None, Tier.BULK, "Bulk", 3),
        (SMART, "ARCHIVE_ACCESS", Tier.STANDARD, "Standard", None),
        (SMART, "DEEP_ARCHIVE_ACCESS", Tier.EXPEDITED, "Standard", None),
    ],
)
async def test_each_archive_of_s3_is_asked_for_what_it_has(
    frozen: tuple[Glacier, CloudPlace, BlobDriver],
    storage_class: str,
    status: str | None,
    tier: Tier,
    asked: str,
    days: int | None,
) -> None:
    behind, place, driver = frozen
    key = new_key()
    assert isinstance(driver, Thaws)
    await put(driver, key, SOME)
    behind.put_away(place.prefix + key, storage_class, status)
    for _ in range(2):  # what is on its way may be asked for again
        await driver.thaw(key, Thaw(tier=tier, days=3))
    assert (await driver.condition(key)).frost is Frost.THAWING
    assert behind.restores == [Restore(place.prefix + key, asked, days)]
    behind.give_back(valid=timedelta(days=3))
    condition = await driver.condition(key)
    assert condition.frost is Frost.NONE
    if days is None:
        assert condition.until is None
    else:
        assert condition.until is not None
        assert timedelta(days=2) < condition.until - datetime.now(UTC) < timedelta(days=4)


async def test_what_cannot_be_had_in_minutes_is_had_in_hours(frozen: tuple[Glacier, CloudPlace, BlobDriver]) -> None:
    behind, place, driver = frozen
    key = new_key()
    assert isinstance(driver, Thaws)
    await put(driver, key, SOME)
    behind.put_away(place.prefix + key)
    behind.is_busy = True
    await driver.thaw(key, Thaw(tier=Tier.EXPEDITED))
    assert [one.tier for one in behind.restores] == ["Standard"]
