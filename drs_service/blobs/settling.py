"""Threads that have something of ours, which is let go of only once they have let go of it."""

import asyncio
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def settled(job: Future[T]) -> T:
    """The result of job; when cancelled, only once its thread has let go."""
    future = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        # Nobody's thread waits for one that may hang.
        if not job.cancel():
            await asyncio.wait({future})
        raise
