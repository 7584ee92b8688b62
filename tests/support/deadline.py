"""Waiting for a fact instead of for time to pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 10.0  # seconds: far more than anything here takes on a busy machine
POLL = 0.002
WHILE = 0.2


async def until(fact: Callable[[], bool], *, within: float = PATIENCE) -> None:
    """Return as soon as fact is true. AssertionError if it never is."""
    deadline = time.monotonic() + within
    while not fact():
        assert time.monotonic() < deadline, f"not so within {within:g} seconds"
        await asyncio.sleep(POLL)


async def once(is_so: Callable[[T], bool], ask: Callable[[], Awaitable[T]], *, within: float = PATIENCE) -> T:
    """What ask answers, as soon as that is so. TimeoutError if it never is."""
    async with asyncio.timeout(within):
        while not is_so(answer := await ask()):
            await asyncio.sleep(POLL)
        return answer


async def at_rest(count: Callable[[], int]) -> None:
    """Return once count does not grow, though it has had the time to."""
    before = -1
    while count() > before:
        before = count()
        await asyncio.sleep(WHILE)


def more_than(more: int, count: Callable[[], int]) -> Callable[[], bool]:
    """The fact that count has grown by more since now."""
    enough = count() + more
    return lambda: count() > enough
