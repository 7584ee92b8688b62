"""Files that are read again from their beginning to their end: whoever reads a piece hashes it too."""

import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from drs_service.blobs.files import translated
from drs_service.blobs.hashing import Hashing
from drs_service.blobs.settling import settled

# A hop to a thread costs as much as reading 100 KiB; but readers wait for a processor while a piece is hashed.
HOP_SIZE = 256 * 1024


class Rereading:
    """The threads that read and hash."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(thread_name_prefix="rereading")

    async def hash(self, descriptor: int, size: int, pace: Callable[[int], Awaitable[None]] | None = None) -> Hashing:
        """What has seen so many bytes of an open file, or as many as there are. pace is waited for, with the size of
        what was read. StorageUnavailable.

        Nobody uses the descriptor any more when this ends, however it does.
        """
        hashing = Hashing()
        while (start := hashing.size) < size:
            look = partial(see, descriptor, start, min(start + HOP_SIZE, size), hashing)
            await settled(self._threads.submit(translated, look))
            if hashing.size == start:
                break
            if pace is not None:
                await pace(hashing.size - start)
        return hashing

    def close(self) -> None:
        self._threads.shutdown()


def see(descriptor: int, start: int, end: int, hashing: Hashing) -> None:
    """Let hashing see the bytes [start, end) of a file, or as many as there are."""
    piece = memoryview(bytearray(end - start))
    while start < end:
        count = os.preadv(descriptor, [piece[: end - start]], start)
        if count == 0:
            break
        hashing.update([piece[:count]])
        start += count
