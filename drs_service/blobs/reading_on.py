"""Reading at length: over connections that break, at somebody's pace, and begun before the first piece is wanted."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing

import structlog

from drs_service.blobs.driver import Buffer
from drs_service.errors import BlobCorrupt, StorageUnavailable

RANGE = 256 * 1024**2  # bytes that are asked for at once: no connection has to last for longer
BREAKS = 5  # of the reading of one range; the next one is the reader's trouble
PAUSE = 0.25  # seconds after the first one, and twice as many after each that follows

Read = Callable[[int, int], AsyncGenerator[Buffer, None]]

log = structlog.get_logger()


async def read_on(read: Read, start: int, end: int) -> AsyncGenerator[Buffer, None]:
    """The bytes [start, end) as read gives them, each once, over as many connections as that takes: what came stays
    read, and the rest is asked for again.

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


async def paced(pieces: AsyncIterable[Buffer], pace: Callable[[int], Awaitable[None]]) -> AsyncGenerator[Buffer, None]:
    async for piece in pieces:
        yield piece
        await pace(len(piece))


async def begun(reading: AsyncGenerator[Buffer, None], on_damage: Callable[[], None]) -> AsyncGenerator[Buffer, None]:
    """Nothing, once the first piece of reading is there; then every piece. Closing this closes reading."""
    try:
        first = await anext(reading, b"")
        yield b""  # a generator that was never begun would not run its `finally`
        if first:
            yield first
        async for piece in reading:
            yield piece
    except BlobCorrupt:
        on_damage()
        raise
    finally:
        await reading.aclose()
