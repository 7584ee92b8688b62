"""How far a job has come, told by the bytes that pass by."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable

from drs_service.blobs.driver import Buffer
from drs_service.jobs.attempts import Attempt


async def watched(
    pieces: AsyncIterable[Buffer], attempt: Attempt, total: int | None, *, before: int = 0
) -> AsyncGenerator[Buffer, None]:
    """The pieces, and attempt is told of each, behind so many bytes before."""
    done = before
    async for piece in pieces:
        yield piece
        done += len(piece)
        attempt.progress(done, total, "bytes")


def paced(
    attempt: Attempt, total: int, pace: Callable[[int], Awaitable[None]] | None = None
) -> Callable[[int], Awaitable[None]]:
    """Hears the size of each piece, tells attempt of it, and waits as pace says."""
    done = 0

    async def heard(size: int) -> None:
        nonlocal done
        done += size
        attempt.progress(done, total, "bytes")
        if pace is not None:
            await pace(size)

    return heard
