"""Reading at length over connections that break: what came stays read, and the rest is asked for again."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import structlog

from drs_service.blobs.driver import Buffer
from drs_service.errors import StorageUnavailable

RANGE = 256 * 1024**2  # bytes that are asked for at once: no connection has to last for longer
BREAKS = 5  # of the reading of one range; the next one is the reader's trouble
PAUSE = 0.25  # seconds after the first one, and twice as many after each that follows

Read = Callable[[int, int], AsyncGenerator[Buffer, None]]

log = structlog.get_logger()


async def read_on(read: Read, start: int, end: int) -> AsyncGenerator[Buffer, None]:
    """The bytes [start, end) as read gives them, each once, over as many connections as that takes.

    StorageUnavailable if nothing can be read to begin with, or if it breaks too often.
    """
    first = start
    while start < end:
        behind, breaks = min(start + RANGE, end), 0
        while start < behind:
            try:
                async with aclosing(read(start, behind)) as pieces:
                    async for piece in pieces:
                        start += len(piece)
                        yield piece
            except StorageUnavailable as error:
                breaks += 1
                if start == first or breaks > BREAKS:
                    raise
                log.warning("a reading broke, and goes on", at=start, of=end, error=str(error), **error.facts)
                await asyncio.sleep(PAUSE * 2 ** (breaks - 1))
