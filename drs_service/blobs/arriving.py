"""Bytes on their way into the objects of a bucket."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from drs_service.blobs.bucket import Bucket, Source
from drs_service.blobs.driver import Buffer
from drs_service.blobs.spool import Spool

SMALL = 64 * 1024  # bytes of memory that nobody has to wait for


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How bytes are cut up."""

    part: int = 8 * 1024**2
    """Bytes sent by one request; what is no longer than that is sent at once."""
    largest: int = 32 * 1024**3
    """Bytes of one staged object, more or less: no object has more than 10,000 parts."""
    parts_at_once: int = 4
    """Requests under way for one upload."""
    waiting: int = 64 * 1024**2
    """Bytes of all uploads of a process that wait in memory until there is a part of them; more do on disk."""


class Arriving:
    """Goes into one object, or into several if it is very long. What is short stays here until it is closed."""

    def __init__(
        self,
        bucket: Bucket,
        new_name: Callable[[], Awaitable[str]],
        *,
        turns: asyncio.Semaphore,
        spool: Spool,
        sizes: Sizes,
        on_part: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """new_name is asked before anything is in the bucket, and on_part is called before each part.

        spool holds what it begins with, and is cleared by abandon.
        """
        self.spool = spool
        """What is not under way into the bucket yet, or all of it if it is short."""
        self.size = self.spool.size
        """Bytes written."""
        self._bucket = bucket
        self._new_name = new_name
        self._on_part = on_part
        self._turns = turns
        self._sizes = sizes
        self._is_ending = False
        self._growing: Growing | None = None
        self._grown: list[Growing] = []

    @property
    def is_short(self) -> bool:
        """Whether all of it is still here."""
        return self._growing is None and not self._grown

    async def put(self, key: str) -> None:
        """All of it into the bucket by one request, if it is short; nothing if the key is there."""
        await put_whole(self._bucket, key, self.spool, self._turns, absent_only=True)

    async def write(self, chunks: Sequence[Buffer]) -> None:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                if self.spool.size == self._sizes.part:
                    await self._send()
                taken = rest[: self._sizes.part - self.spool.size]
                await self.spool.write(taken)
                self.size += len(taken)
                rest = rest[len(taken) :]

    async def _send(self) -> None:
        """Let what waits go, as a part."""
        if self._on_part is not None:
            await self._on_part()
        growing = await self._begun()
        body = await self.spool.content()
        self.spool.clear()
        await growing.send(body)
        if growing.size >= self._sizes.largest:
            await self._grow()

    async def _begun(self) -> "Growing":
        if self._growing is None:
            name = await self._new_name()
            self._growing = Growing(self._bucket, name, self._turns, self._sizes.parts_at_once)
        return self._growing

    async def _grow(self) -> None:
        """One object more is whole."""
        growing = self._growing
        assert growing is not None
        self._growing = None
        self._grown.append(growing)
        await growing.close()

    async def close(self) -> list[Source]:
        """The objects that hold it, once they do: none if it is empty. Nothing is written any more.

        May be called again if it failed.
        """
        if self.spool.size and not self._is_ending:
            growing = await self._begun()
            await growing.end(self.spool)
            self._is_ending = True
        if self._growing is not None:
            await self._grow()
        for one in self._grown:
            await one.close()
        return [Source(one.name, one.size) for one in self._grown]

    async def abandon(self) -> None:
        """Leave nothing of it in the bucket. May be called whatever became of the other calls, and twice."""
        growing, self._growing = self._growing, None
        if growing is not None:
            self._grown.append(growing)
        try:
            for one in self._grown:
                await one.abandon()
            self._grown = []
        finally:
            self.spool.clear()  # not before: it may be on its way


class Growing:
    """One object, by parts that are sent beside each other; or at once, if its end comes before any part."""

    def __init__(self, bucket: Bucket, name: str, turns: asyncio.Semaphore, parts_at_once: int) -> None:
        self.name = name
        self.size = 0
        self._bucket = bucket
        self._turns = turns
        self._own_turns = asyncio.Semaphore(parts_at_once)
        self._whole: Spool | None = None
        self._beginning: asyncio.Task[str] | None = None
        self._parts: list[asyncio.Task[str]] = []
        self._ending: asyncio.Task[None] | None = None

    async def send(self, body: bytes) -> None:
        """A part goes; returns when there is a turn for it. Raises what has become of one before it.

        If it fails, or is cancelled, the part has not gone, and may be sent again.
        """
        if self._beginning is None:
            self._beginning = asyncio.create_task(self._bucket.begin(self.name))
        multipart = await asyncio.shield(self._beginning)
        for part in self._parts:
            if part.done():
                part.result()
        # Before there is a task: what waits for its turn is the sender's buffer, and no more comes.
        await self._own_turns.acquire()
        try:
            await self._turns.acquire()
        except BaseException:
            self._own_turns.release()
            raise
        self._parts.append(asyncio.create_task(self._send(multipart, len(self._parts) + 1, body)))
        self.size += len(body)

    async def _send(self, multipart: str, number: int, body: bytes) -> str:
        try:
            return await self._bucket.put_part(self.name, multipart, number, body)
        finally:
            self._turns.release()
            self._own_turns.release()

    async def end(self, rest: Spool) -> None:
        """The last part, or all of it: that stays where it is until it is sent. May be called again if it failed."""
        if self._parts:
            await self.send(await rest.content())
            rest.clear()
        else:
            self._whole = rest
            self.size = rest.size

    async def close(self) -> None:
        """May be called again, also if it failed."""
        if self._ending is None or (self._ending.done() and not self._is_whole()):
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        if self._whole is not None:
            await put_whole(self._bucket, self.name, self._whole, self._turns)
        elif self._beginning is not None:
            tags = await asyncio.gather(*self._parts)
            await self._bucket.complete(self.name, self._beginning.result(), tags)

    async def abandon(self) -> None:
        # A part that arrived after the others had been forgotten would stay for ever.
        under_way = [one for one in (self._beginning, *self._parts, self._ending) if one is not None]
        await asyncio.gather(*under_way, return_exceptions=True)
        if self._beginning is not None and self._beginning.exception() is None and not self._is_whole():
            await self._bucket.abort(self.name, self._beginning.result())
        if self._ending is not None:
            await self._bucket.delete(self.name)

    def _is_whole(self) -> bool:
        return self._ending is not None and self._ending.exception() is None


async def put_whole(
    bucket: Bucket, name: str, spool: Spool, turns: asyncio.Semaphore, *, absent_only: bool = False
) -> None:
    """Out of where it waits into memory once there is a turn for it, if that is much."""
    async with turns if spool.size > SMALL else nullcontext():
        await bucket.put(name, await spool.content(), absent_only=absent_only)
