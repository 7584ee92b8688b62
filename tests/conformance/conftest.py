"""Every driver and every wrapper goes through the same suite. What it leaves behind is a failure of the test."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from drs_service.blobs.store import BlobStore
from tests.support.deadline import until
from tests.support.places import CLOUDS, FILES, PLACES, SMALL_PARTS, CloudPlace, LocalPlace, Place, descriptors

MAX_BYTES = 1024**3


@pytest.fixture(params=[*PLACES, *CLOUDS, FILES])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Place]:
    if request.param in PLACES:
        return partial(PLACES[request.param], tmp_path / "store")
    return partial(CloudPlace, request.getfixturevalue(request.param), sizes=SMALL_PARTS)


@pytest.fixture
async def unclosed_place(opening: Callable[[], Place]) -> AsyncIterator[Place]:
    """A place that whoever asks for it closes."""
    before = descriptors()
    place = opening()
    yield place
    assert descriptors() == before


@pytest.fixture
async def place(unclosed_place: Place) -> AsyncIterator[Place]:
    yield unclosed_place
    await until(lambda: not unclosed_place.leftovers())
    await unclosed_place.driver.close()


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalPlace]:
    """Bytes in files, for what only files promise."""
    before = descriptors()
    place = LocalPlace(tmp_path / "store")
    yield place
    await until(lambda: not place.leftovers())
    await place.driver.close()
    assert descriptors() == before


@pytest.fixture
async def store(unclosed_place: Place) -> AsyncIterator[BlobStore]:
    """The one door in front of each place."""
    store = BlobStore(unclosed_place.driver, place="primary", max_bytes=MAX_BYTES)
    yield store
    await until(lambda: not unclosed_place.leftovers())
    await store.close()
