"""Reading at length, over connections that break where they are told to."""

from collections.abc import AsyncGenerator

import pytest

from drs_service.blobs import reading_on
from drs_service.blobs.driver import Buffer
from drs_service.blobs.reading_on import BREAKS, read_on
from drs_service.errors import StorageUnavailable
from tests.support.driving import collect

WHOLE = bytes(range(200))


class Fragile:
    """Gives a piece of ten bytes, and breaks before the next one for so often."""

    def __init__(self, breaks: int, *, first: int = 10) -> None:
        self.asked: list[tuple[int, int]] = []
        self._breaks = breaks
        self._first = first

    async def read(self, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        self.asked.append((start, end))
        if self._breaks:
            self._breaks -= 1
            yield WHOLE[start : start + self._first]
            raise StorageUnavailable
        yield WHOLE[start:end]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_on, "RANGE", 100)
    monkeypatch.setattr(reading_on, "PAUSE", 0)


async def test_a_range_goes_on_where_it_broke() -> None:
    place = Fragile(2)
    assert await collect(read_on(place.read, 5, 190)) == WHOLE[5:190]
    assert place.asked == [(5, 105), (15, 105), (25, 105), (105, 190)]


async def test_what_breaks_too_often_is_given_up() -> None:
    place = Fragile(BREAKS + 1, first=1)
    with pytest.raises(StorageUnavailable):
        await collect(read_on(place.read, 0, 200))
    assert len(place.asked) == BREAKS + 1


async def test_a_place_that_gives_nothing_is_asked_once() -> None:
    """It has tried to begin by itself."""
    place = Fragile(1, first=0)
    with pytest.raises(StorageUnavailable):
        await collect(read_on(place.read, 0, 200))
    assert len(place.asked) == 1
