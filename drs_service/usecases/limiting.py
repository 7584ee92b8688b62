"""How much may come in: asked before anything is received, while bytes come, and when they are recorded."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from drs_service.blobs.driver import Buffer
from drs_service.db import holdings
from drs_service.db.pool import Connection, Database
from drs_service.domain.limits import Holding, Limits, TokenBucket
from drs_service.errors import QuotaExceeded, TooManyAtOnce, TooManyRequests, TooManyUploads
from drs_service.usecases.turns import Interruption

OWNERS = 4096  # whose pace this process remembers; who has not sent for long may go as fast as a new one anyway
MINUTE = 60.0
SOON = 1  # seconds after which there may be room among the uploads that are received at once
LATER = 60  # seconds after which uploads may have been finished


@dataclass(slots=True)
class Room:
    """What may still come of one request, however many files it brings."""

    left: int | None
    """Bytes; None if there is no end to it."""

    def take(self, size: int) -> int:
        """How much of size there is room for; that is taken."""
        if self.left is None:
            return size
        taken = min(size, max(self.left, 0))
        self.left -= taken
        return taken


class Limiting:
    """Asks the limits; where there are none it costs nothing.

    Uploads at the same time do not know of each other: a quota may be passed by what they bring together.
    """

    def __init__(
        self, database: Database, limits: Limits | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._limits = limits or Limits()
        self._clock = clock
        self._at_once = 0
        self._requests = Paces((self._limits.requests_per_minute or 0) / MINUTE, burst=MINUTE)
        self._bytes = Paces(self._limits.bytes_per_second or 0, burst=1.0)

    @contextmanager
    def admitted(self, owner: str) -> Iterator[None]:
        """For the length of the block an upload of owner is received. TooManyAtOnce, TooManyRequests: it is not."""
        most = self._limits.uploads_at_once
        if most is not None and self._at_once >= most:
            raise TooManyAtOnce(retry_after=SOON)
        if self._limits.requests_per_minute is not None:
            now = self._clock()
            bucket = self._requests.of(owner, now=now)
            wait = bucket.wait(1, now=now)
            if wait > 0:
                raise TooManyRequests(retry_after=math.ceil(wait))
            self._requests.put(owner, bucket.taken(1, now=now))
        self._at_once += 1
        try:
            yield
        finally:
            self._at_once -= 1

    async def room(self, owner: str, space: str, *, size: int | None, uploads: int = 0, already: int = 0) -> Room:
        """What owner may send into space, of which size is known already, in so many new uploads.

        already: bytes of it that count as if they had come.

        QuotaExceeded, TooManyUploads.
        """
        limits = self._limits
        counted = uploads > 0 and limits.unfinished_uploads is not None
        if not counted and limits.bytes_of_owner is None and limits.bytes_of_space is None:
            return Room(None)
        async with self._database.connection() as connection:
            holding, foldable = await holdings.select(connection, owner, space)
        if foldable:
            async with self._database.transaction() as connection:
                await holdings.fold(connection, owner)
        if counted and limits.unfinished_uploads is not None and holding.uploads + uploads > limits.unfinished_uploads:
            raise TooManyUploads(
                f"There are {holding.uploads} unfinished uploads, and {limits.unfinished_uploads} are the most: finish "
                "or delete some of them first.",
                retry_after=LATER,
            )
        left = holding.room(limits)
        room = Room(left + already if left is not None else None)
        if room.left is not None and size is not None and size > max(room.left, 0):
            raise QuotaExceeded(f"There is room for {max(room.left, 0)} more bytes, not for {size}.")
        return room

    async def check(self, connection: Connection, owner: str, space: str) -> None:
        """QuotaExceeded if there is too much by now, with what the caller's transaction has added."""
        if self._limits.bytes_of_owner is not None or self._limits.bytes_of_space is not None:
            holding, _ = await holdings.select(connection, owner, space)
            self._check(holding)

    def _check(self, holding: Holding) -> None:
        left = holding.room(self._limits)
        if left is not None and left < 0:
            raise QuotaExceeded

    def metered(
        self, owner: str, source: AsyncIterable[Buffer], room: Room, interruption: Interruption | None = None
    ) -> AsyncIterable[Buffer]:
        """The source, as fast as owner may send, up to the first byte for which there is no room: QuotaExceeded.

        A call of interruption ends the wait for the pace, and the next byte is the source's matter.
        """
        if room.left is None and self._limits.bytes_per_second is None:
            return source
        return self._metered(owner, source, room, interruption or Interruption())

    async def _metered(
        self, owner: str, source: AsyncIterable[Buffer], room: Room, interruption: Interruption
    ) -> AsyncIterator[Buffer]:
        async for piece in source:
            taken = room.take(len(piece))
            yield piece[:taken]
            if taken < len(piece):
                raise QuotaExceeded
            if self._limits.bytes_per_second is not None:
                # Behind the piece: while this waits, the socket fills and its sender slows down.
                await wait(self._pause(owner, len(piece)), interruption)

    def _pause(self, owner: str, size: int) -> float:
        """Seconds to wait after so many bytes. Those who send at the same time stand in one line."""
        now = self._clock()
        bucket = self._bytes.of(owner, now=now).taken(size, now=now)
        self._bytes.put(owner, bucket)
        return bucket.wait(0, now=now)


async def wait(seconds: float, interruption: Interruption) -> None:
    """Return after so many seconds, or once interruption is called."""
    if seconds > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds) as timeout:
                with interruption.waiting(timeout):
                    await asyncio.get_running_loop().create_future()


class Paces:
    """How full the bucket of each owner is."""

    def __init__(self, rate: float, *, burst: float) -> None:
        self._rate = rate
        self._capacity = rate * burst
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def of(self, owner: str, *, now: float) -> TokenBucket:
        return self._buckets.get(owner) or TokenBucket.full(self._capacity, rate=self._rate, now=now)

    def put(self, owner: str, bucket: TokenBucket) -> None:
        self._buckets[owner] = bucket
        self._buckets.move_to_end(owner)
        if len(self._buckets) > OWNERS:
            self._buckets.popitem(last=False)
