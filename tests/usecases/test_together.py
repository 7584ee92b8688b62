"""What costs as much for one as for several is done for all who wait, and each fares as if it had been alone."""

import asyncio
from collections.abc import Sequence

import pytest

from drs_service.errors import DatabaseUnavailable, QuotaExceeded
from drs_service.usecases.together import AT_ONCE, MOST, Together


class Work:
    """Doubles numbers when it is let go on; `bad` ones cannot be done."""

    def __init__(self, bad: Exception | None = None) -> None:
        self.heaps: list[list[int]] = []
        self.alone: list[int] = []
        self.may_go_on = asyncio.Event()
        self.together = Together(self._heap, self._one)
        self._bad = bad

    async def _heap(self, numbers: Sequence[int]) -> list[int] | None:
        self.heaps.append(list(numbers))
        await self.may_go_on.wait()
        if self._bad is not None and 13 in numbers:
            raise self._bad
        return None if 7 in numbers else [2 * number for number in numbers]

    async def _one(self, number: int) -> int:
        self.alone.append(number)
        if self._bad is not None and number == 13:
            raise QuotaExceeded
        return 2 * number

    async def begun(self, count: int) -> list[asyncio.Task[int]]:
        """As many are under way as can be, and the others wait."""
        tasks = [asyncio.create_task(self.together.do(number)) for number in range(count)]
        await asyncio.wait(tasks, timeout=0)
        await asyncio.wait(tasks, timeout=0)
        assert self.heaps == [[number] for number in range(AT_ONCE)]
        return tasks


async def test_those_who_wait_go_together() -> None:
    work = Work()
    tasks = await work.begun(AT_ONCE + MOST + 3)
    work.may_go_on.set()
    assert await asyncio.gather(*tasks) == [2 * number for number in range(len(tasks))]
    assert [len(heap) for heap in work.heaps[AT_ONCE:]] == [MOST, 3]
    assert work.alone == work.heaps[AT_ONCE]  # it was not to be done together


async def test_who_fails_fails_alone() -> None:
    work = Work(bad=QuotaExceeded())
    tasks = await work.begun(16)
    work.may_go_on.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results.pop(13), QuotaExceeded)
    assert results == [2 * number for number in range(16) if number != 13]


async def test_what_may_have_been_done_is_not_done_again() -> None:
    work = Work(bad=DatabaseUnavailable())
    tasks = await work.begun(16)
    work.may_go_on.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in results[AT_ONCE:]] == [DatabaseUnavailable] * 14
    assert work.alone == []


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    work = Work()
    tasks = await work.begun(6)
    tasks[0].cancel()  # under way
    tasks[AT_ONCE].cancel()  # waits
    with pytest.raises(asyncio.CancelledError):
        await tasks[AT_ONCE]
    assert not tasks[0].done()  # something is still done with it
    work.may_go_on.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in results] == [True, False, True, False, False, False]
    assert work.heaps[AT_ONCE:] == [[3, 4, 5]]
