"""Bytes as objects in a bucket.

    <prefix>sha256/ab/cd/abcd…              published
    <prefix>staging/owners/…, parts/…       on their way in: `owners.py`
    <prefix>staging/waiting/<handle>/…      on their way in by and by: `chain.py`

What fits in one part waits in this process and is published by one request. What is longer is staged by parts, and
copied to its key within the bucket: there is no rename. What was staged stays until discard, so that it can be
published again if a sweep took the key in between. A key that is there is not written to; should two come at once, both
write the same verified bytes.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial

import structlog

from drs_service.blobs.arriving import Arriving, Sizes
from drs_service.blobs.bucket import Bucket, Source
from drs_service.blobs.chain import Chain, Segment, crowd, new_name
from drs_service.blobs.driver import Buffer, Entry, Waiting
from drs_service.blobs.owners import STAGING, Owner
from drs_service.blobs.probing import Probing
from drs_service.blobs.reading_on import read_on
from drs_service.blobs.spool import Room, Spool
from drs_service.domain.uploads import Mark
from drs_service.errors import StorageUnavailable, Unavailable, UploadBusy, UploadLost

WAITING = f"{STAGING}waiting/"
PARTS_AT_ONCE = 16  # sent by all uploads of a process
DELETES_AT_ONCE = 16
SIZES = Sizes()
LEAVING = 5.0  # seconds; what stays of us is found later
CROWD = 32  # segments of a tier that are joined into one

log = structlog.get_logger()


class CloudDriver:
    """Keeps bytes in a bucket."""

    keeps_out = False

    def __init__(self, bucket: Bucket, *, sizes: Sizes = SIZES, crowd: int = CROWD) -> None:
        self.bucket = bucket
        self.crowd = crowd
        self.sizes = sizes
        self._turns = asyncio.Semaphore(PARTS_AT_ONCE)
        self._room = Room(sizes.waiting)
        self._owner = Owner(bucket)
        self._waiting: set[str] = set()
        self._probing = Probing(self)
        self._behind: set[asyncio.Task[None]] = set()

    async def stage(self) -> "CloudStaged":
        return CloudStaged(self, self._arriving(self._owner.new_name, on_part=self._owner.live))

    async def begin(self) -> str:
        return secrets.token_hex(16)  # no object yet is as good as an empty one

    async def resume(self, handle: str) -> "CloudWaiting":
        if handle in self._waiting:
            raise UploadBusy
        self._waiting.add(handle)
        return CloudWaiting(self, handle)

    def let_go(self, handle: str) -> None:
        self._waiting.discard(handle)

    def arriving_in(self, folder: str, spool: Spool | None = None) -> Arriving:
        """Bytes for a new segment of what waits, which begins with those of spool."""

        async def name() -> str:
            return folder + new_name(0)

        return self._arriving(name, spool=spool)

    def _arriving(
        self,
        new_name: Callable[[], Awaitable[str]],
        *,
        on_part: Callable[[], Awaitable[None]] | None = None,
        spool: Spool | None = None,
    ) -> Arriving:
        turns, spool = self._turns, spool or Spool(self._room)
        return Arriving(self.bucket, new_name, turns=turns, spool=spool, sizes=self.sizes, on_part=on_part)

    async def forget(self, handle: str) -> None:
        folder = f"{WAITING}{handle}/"
        async for begun in self.bucket.unfinished(folder):
            assert begun.multipart is not None
            await self.bucket.abort(begun.name, begun.multipart)
        await self.delete_all([found.name async for found in self.bucket.objects(folder)])

    async def delete_all(self, names: Sequence[str]) -> None:
        # One by one: not every server can do many at once.
        for first in range(0, len(names), DELETES_AT_ONCE):
            await asyncio.gather(*map(self.bucket.delete, names[first : first + DELETES_AT_ONCE]))

    async def waiting(self) -> AsyncIterator[Entry]:
        last: dict[str, Entry] = {}
        for listing in (self.bucket.unfinished(WAITING), self.bucket.objects(WAITING)):
            async for found in listing:
                handle = found.name.removeprefix(WAITING).partition("/")[0]
                if handle not in last or last[handle].published < found.at:
                    last[handle] = Entry(handle, found.at)
        for entry in last.values():
            yield entry

    def read(self, key: str, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        return self.bucket.read(key, start, end)

    async def size(self, key: str) -> int:
        return await self.bucket.size(key)

    async def delete(self, key: str) -> None:
        await self.bucket.delete(key)

    async def keys(self, prefix: str) -> AsyncIterator[Entry]:
        async for found in self.bucket.objects(prefix):
            if not found.name.startswith(STAGING):
                yield Entry(found.name, found.at, found.archived)

    async def clean(self) -> int:
        return await self._owner.clean()

    async def probe(self) -> str | None:
        return await self._probing.probe()

    async def close(self) -> None:
        await self._probing.close()
        await asyncio.gather(*self._behind, return_exceptions=True)
        try:
            async with asyncio.timeout(LEAVING):
                await self._owner.leave()
        except (Unavailable, TimeoutError) as error:
            log.warning("the bucket was not left tidy", error=str(error) or type(error).__name__)
        await self.bucket.close()

    async def publish(self, key: str, sources: Sequence[Source]) -> None:
        """Make a key of what is staged, unless it is there. KeyError if a source is gone."""
        try:
            await self.bucket.size(key)
        except KeyError:
            await self.bucket.concatenate(key, sources)

    async def tidied(self, work: Coroutine[object, object, None]) -> None:
        """Let work clean up, also when the caller is cancelled, who does not come back.

        That it fails is nobody's failure: what stays behind is found later by those who clean.
        """
        task = asyncio.create_task(tolerated(work))
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        await asyncio.shield(task)


class CloudStaged:
    """Nobody reads it until it is copied to its key."""

    def __init__(self, driver: CloudDriver, arriving: Arriving) -> None:
        self._driver = driver
        self._arriving = arriving
        self._sources: list[Source] | None = None

    async def write(self, chunks: Sequence[Buffer]) -> None:
        assert self._sources is None, "nothing is written after the first publish"
        await self._arriving.write(chunks)

    async def publish(self, key: str) -> None:
        if self._arriving.is_short:
            await self._arriving.put(key)
            return
        if self._sources is None:
            self._sources = await self._arriving.close()
        try:
            await self._driver.publish(key, self._sources)
        except KeyError as error:
            raise StorageUnavailable(reason=f"{error} has been removed") from error

    async def discard(self) -> None:
        await self._driver.tidied(self._arriving.abandon())


class CloudWaiting:
    """A chain of segments that its writers add to, each for itself; in one process one after another."""

    def __init__(self, driver: CloudDriver, handle: str) -> None:
        self._driver = driver
        self._bucket = driver.bucket
        self._handle = handle
        self._folder = f"{WAITING}{handle}/"
        self._has_left = False
        self._chain = Chain()
        self._tail: Segment | None = None
        """The last of the chain, if it is too short to stay in it: what arrives begins with its bytes."""
        self._arriving = driver.arriving_in(self._folder)
        self._sources: list[Source] | None = None

    async def go_on(self, mark: Mark) -> None:
        try:
            self._chain = Chain.parse(mark.notes)
        except ValueError as error:
            raise UploadLost(notes=mark.notes) from error
        if self._chain.size != mark.offset:
            raise UploadLost(ends=self._chain.size)
        for last in self._chain.segments[-1:]:
            await self._look(last)

    async def _look(self, last: Segment) -> None:
        """UploadLost if it is not there: all are forgotten together."""
        try:
            if last.size < self._bucket.least_part:
                await self._take_back(last)
            else:
                await self._bucket.size(self._folder + last.name)
        except KeyError as error:
            raise UploadLost(segment=last.name) from error

    async def _take_back(self, tail: Segment) -> None:
        self._tail = tail
        async for piece in self._bucket.read(self._folder + tail.name, 0, tail.size):
            await self._arriving.write([piece])

    async def write(self, chunks: Sequence[Buffer]) -> None:
        assert self._sources is None, "nothing is written after the first publish"
        await self._arriving.write(chunks)

    async def append(self, other: Waiting, size: int) -> None:
        assert isinstance(other, CloudWaiting)
        await self.sync()
        whole = other._chain.size == size
        if self._tail is not None or size < self._bucket.least_part or not whole:
            # Only the last segment may be short, and this one would not be.
            async for piece in other.reread(0, size):
                await self.write([piece])
            return
        segment = Segment(new_name(0), size)
        sources = [Source(other._folder + one.name, one.size) for one in other._chain.segments]
        try:
            await self._bucket.concatenate(self._folder + segment.name, sources)
        except KeyError as error:
            raise UploadLost(segment=str(error)) from error
        self._chain = Chain((*self._chain.segments, segment), self._chain.superseded)
        await self._join()

    async def sync(self) -> Mark:
        if self._news:
            # The mark before has been written down by now: nobody needs the one before that.
            await self._delete(self._chain.superseded)
            added = [Segment(one.name.removeprefix(self._folder), one.size) for one in await self._arriving.close()]
            superseded = () if self._tail is None else (self._tail.name,)
            self._chain = Chain((*self._settled, *added), superseded)
            spool = self._arriving.spool
            if added[-1].size < self._bucket.least_part:
                self._tail = added[-1]
            else:
                self._tail = None
                spool.clear()
            self._arriving = self._driver.arriving_in(self._folder, spool)
            await self._join()
        return Mark(self._chain.size, self._chain.notes)

    @property
    def _news(self) -> bool:
        return self._arriving.size > (self._tail.size if self._tail is not None else 0)

    @property
    def _settled(self) -> tuple[Segment, ...]:
        """The chain without its tail."""
        return self._chain.segments if self._tail is None else self._chain.segments[:-1]

    async def _join(self) -> None:
        while count := crowd(self._settled, self._driver.crowd):
            kept, crowded = self._settled[:-count], self._settled[-count:]
            joined = Segment(new_name(crowded[0].tier + 1), sum(one.size for one in crowded))
            await self._bucket.concatenate(self._folder + joined.name, self._as_sources(crowded))
            tail = self._chain.segments[len(self._settled) :]
            superseded = (*self._chain.superseded, *(one.name for one in crowded))
            self._chain = Chain((*kept, joined, *tail), superseded)

    async def _delete(self, names: Sequence[str]) -> None:
        await self._driver.delete_all([self._folder + name for name in names])

    def _as_sources(self, segments: Sequence[Segment]) -> list[Source]:
        return [Source(self._folder + one.name, one.size) for one in segments]

    async def reread(self, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        assert end <= self._chain.size, "what was synced is read again, and no more"
        at = 0
        for segment in self._chain.segments:
            first, last = max(start - at, 0), min(end - at, segment.size)
            if first < last:
                async with aclosing(
                    read_on(partial(self._bucket.read, self._folder + segment.name), first, last)
                ) as on:
                    async for piece in on:
                        yield piece
            at += segment.size

    async def publish(self, key: str) -> None:
        if self._arriving.is_short and not self._settled:
            await self._arriving.put(key)
            return
        if self._sources is None:
            kept = self._settled if self._news else self._chain.segments
            added = await self._arriving.close() if self._news else []
            self._sources = [*self._as_sources(kept), *added]
        try:
            await self._driver.publish(key, self._sources)
        except KeyError as error:
            raise UploadLost(segment=str(error)) from error

    async def discard(self) -> None:
        await self._leave(self._driver.forget(self._handle))

    async def leave(self) -> None:
        await self._leave(None)

    async def _leave(self, forgetting: Coroutine[object, object, None] | None) -> None:
        async def left() -> None:
            try:
                await self._arriving.abandon()
                if forgetting is not None:
                    await forgetting
            finally:
                if not self._has_left:
                    self._has_left = True
                    self._driver.let_go(self._handle)

        await self._driver.tidied(left())


async def tolerated(work: Coroutine[object, object, None]) -> None:
    try:
        await work
    except Unavailable as error:
        log.warning("something staged stays behind in the bucket", error=str(error), **error.facts)
