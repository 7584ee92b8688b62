"""Drivers that behave badly on purpose: each wraps another, and keeps the contract for as long as it does not fail."""

import asyncio
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial

from drs_service.blobs.driver import BlobDriver, Buffer, Entry, Staged, Waiting
from drs_service.blobs.files import translated
from drs_service.domain.uploads import Mark
from drs_service.errors import DrsServiceError

NEVER = math.inf


class Wrapper:
    """Passes everything on."""

    def __init__(self, driver: BlobDriver) -> None:
        self._driver = driver

    @property
    def keeps_out(self) -> bool:
        return self._driver.keeps_out

    async def stage(self) -> Staged:
        return await self._driver.stage()

    async def begin(self) -> str:
        return await self._driver.begin()

    async def resume(self, handle: str) -> Waiting:
        return await self._driver.resume(handle)

    async def forget(self, handle: str) -> None:
        await self._driver.forget(handle)

    def waiting(self) -> AsyncIterator[Entry]:
        return self._driver.waiting()

    def read(self, key: str, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        return self._driver.read(key, start, end)

    async def size(self, key: str) -> int:
        return await self._driver.size(key)

    async def delete(self, key: str) -> None:
        await self._driver.delete(key)

    def keys(self, prefix: str) -> AsyncIterator[Entry]:
        return self._driver.keys(prefix)

    async def clean(self) -> int:
        return await self._driver.clean()

    async def probe(self) -> str | None:
        return await self._driver.probe()

    async def close(self) -> None:
        await self._driver.close()


class Slow(Wrapper):
    """Every call reaches the place late, and its answer comes back late: what it says may be old news."""

    def __init__(self, driver: BlobDriver, delay: float) -> None:
        super().__init__(driver)
        self._delay = delay

    async def stage(self) -> Staged:
        return SlowStaged(await self._driver.stage(), self._delay)

    async def resume(self, handle: str) -> Waiting:
        await asyncio.sleep(self._delay)
        return SlowWaiting(await self._driver.resume(handle), self._delay)

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        reading = self._driver.read(key, start, end)
        try:
            async for piece in reading:
                await asyncio.sleep(self._delay)
                yield piece
        finally:
            await reading.aclose()

    async def size(self, key: str) -> int:
        await asyncio.sleep(self._delay)
        try:
            return await self._driver.size(key)
        finally:
            await asyncio.sleep(self._delay)

    async def delete(self, key: str) -> None:
        await asyncio.sleep(self._delay)
        await self._driver.delete(key)
        await asyncio.sleep(self._delay)


class SlowStaged:
    def __init__(self, staged: Staged, delay: float) -> None:
        self._staged = staged
        self._delay = delay

    async def write(self, chunks: Sequence[Buffer]) -> None:
        await asyncio.sleep(self._delay)
        await self._staged.write(chunks)

    async def publish(self, key: str) -> None:
        await asyncio.sleep(self._delay)
        await self._staged.publish(key)
        await asyncio.sleep(self._delay)

    async def discard(self) -> None:
        await self._staged.discard()


class SlowWaiting(SlowStaged):
    def __init__(self, waiting: Waiting, delay: float) -> None:
        super().__init__(waiting, delay)
        self._waiting = waiting

    async def go_on(self, mark: Mark) -> None:
        await self._waiting.go_on(mark)

    async def append(self, other: Waiting, size: int) -> None:
        assert isinstance(other, SlowWaiting)
        await asyncio.sleep(self._delay)
        await self._waiting.append(other._waiting, size)

    async def sync(self) -> Mark:
        await asyncio.sleep(self._delay)
        mark = await self._waiting.sync()
        await asyncio.sleep(self._delay)
        return mark

    def reread(self, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        return self._waiting.reread(start, end)

    async def leave(self) -> None:
        await self._waiting.leave()


class FailAfter(Wrapper):
    """Raises error instead of the write after `writes` of them, and of every one that follows."""

    def __init__(self, driver: BlobDriver, writes: float, error: Exception) -> None:
        super().__init__(driver)
        self._left = writes
        self._error = error

    async def stage(self) -> Staged:
        return FailingStaged(await self._driver.stage(), self)

    async def resume(self, handle: str) -> Waiting:
        return FailingWaiting(await self._driver.resume(handle), self)

    def count(self) -> None:
        if self._left <= 0:
            raise self._error
        self._left -= 1


class FailingStaged:
    def __init__(self, staged: Staged, faults: FailAfter) -> None:
        self._staged = staged
        self._faults = faults

    async def write(self, chunks: Sequence[Buffer]) -> None:
        self._faults.count()
        await self._staged.write(chunks)

    async def publish(self, key: str) -> None:
        await self._staged.publish(key)

    async def discard(self) -> None:
        await self._staged.discard()


class FailingWaiting(FailingStaged):
    def __init__(self, waiting: Waiting, faults: FailAfter) -> None:
        super().__init__(waiting, faults)
        self._waiting = waiting

    async def go_on(self, mark: Mark) -> None:
        await self._waiting.go_on(mark)

    async def append(self, other: Waiting, size: int) -> None:
        assert isinstance(other, FailingWaiting)
        self._faults.count()
        await self._waiting.append(other._waiting, size)

    async def sync(self) -> Mark:
        return await self._waiting.sync()

    def reread(self, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        return self._waiting.reread(start, end)

    async def leave(self) -> None:
        await self._waiting.leave()


class Ailing(Wrapper):
    """Has trouble with what is written for as long as it is told so, and is well otherwise."""

    def __init__(self, driver: BlobDriver) -> None:
        super().__init__(driver)
        self.troubles: dict[str, int] = {}
        """The errno that `write`, `sync` or `publish` meets, as the file system would say it."""
        self.stalled = 0
        """How many calls wait for the end of a stall."""
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def stage(self) -> Staged:
        return AilingStaged(await self._driver.stage(), self)

    async def resume(self, handle: str) -> Waiting:
        return AilingWaiting(await self._driver.resume(handle), self)

    def stall(self) -> None:
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    async def meet(self, verb: str) -> None:
        """Wait while it stalls; raise what the verb meets."""
        self.stalled += 1
        try:
            await self._flowing.wait()
        finally:
            self.stalled -= 1
        if (number := self.troubles.get(verb)) is not None:
            translated(partial(fail, number))


def fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


class AilingStaged:
    def __init__(self, staged: Staged, ailing: Ailing) -> None:
        self._staged = staged
        self._ailing = ailing

    async def write(self, chunks: Sequence[Buffer]) -> None:
        try:
            await self._ailing.meet("write")
        except DrsServiceError:
            # As on a full disk: some of it is there.
            await self._staged.write([chunk[: len(chunk) // 2] for chunk in chunks])
            raise
        await self._staged.write(chunks)

    async def publish(self, key: str) -> None:
        await self._ailing.meet("publish")
        await self._staged.publish(key)

    async def discard(self) -> None:
        await self._staged.discard()


class AilingWaiting(AilingStaged):
    def __init__(self, waiting: Waiting, ailing: Ailing) -> None:
        super().__init__(waiting, ailing)
        self._waiting = waiting

    async def go_on(self, mark: Mark) -> None:
        await self._waiting.go_on(mark)

    async def append(self, other: Waiting, size: int) -> None:
        assert isinstance(other, AilingWaiting)
        await self._ailing.meet("write")
        await self._waiting.append(other._waiting, size)

    async def sync(self) -> Mark:
        await self._ailing.meet("sync")
        return await self._waiting.sync()

    def reread(self, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        return self._waiting.reread(start, end)

    async def leave(self) -> None:
        await self._waiting.leave()
