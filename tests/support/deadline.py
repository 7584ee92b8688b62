"""Waiting for a fact instead of for time to pass."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 10.0  # seconds: far more than anything here takes on a busy machine
POLL = 0.002


async def until(fact: Callable[[], bool], *, within: float = PATIENCE) -> None:
    """Return as soon as fact is true. AssertionError if it never is."""
    deadline = time.monotonic() + within
    while not fact():
        assert time.monotonic() < deadline, f"not so within {within:g} seconds"
        await asyncio.sleep(POLL)


def more_than(more: int, count: Callable[[], int]) -> Callable[[], bool]:
    """The fact that count has grown by more since now."""
    enough = count() + more
    return lambda: count() > enough
