"""Threads for file systems that block, whatever library they come from.

A lane is a thread and a connection that it alone uses: of a library nothing is asked but to work in one thread. What a
lane is given is done in its order. A lane that does not come back is left alone, and another one takes its place.
"""

import asyncio
import errno
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from fsspec import AbstractFileSystem

from drs_service.errors import DrsServiceError, StorageFull, StorageUnavailable

LANES = 8
MOST_STUCK = 16  # lanes that are waited for no longer, but that are still there
CALL_SECONDS = 60.0  # of which nothing comes back
CLOSE_SECONDS = 5.0

MISSING = (FileNotFoundError, NotADirectoryError)

T = TypeVar("T")
Connect = Callable[[], AbstractFileSystem]


class Lanes:
    """As many as are needed at once, up to a limit. Errors are those of the driver contract."""

    def __init__(self, connect: Connect, *, seconds: float = CALL_SECONDS) -> None:
        self._connect = connect
        self._seconds = seconds
        self._lanes: list[Lane] = []

    async def run(self, act: Callable[[AbstractFileSystem], T]) -> T:
        """Call act, perhaps twice: a connection may have died while nobody used it."""
        lane = self._pick()
        return await lane.do(partial(lane.tried, act))

    async def stepped(self, make: Callable[[AbstractFileSystem], Iterator[T]]) -> AsyncGenerator[T, None]:
        """What make yields, step by step in one lane, where it is closed as well."""
        lane, steps = self._pick(), Steps(make)
        lane.reading += 1
        try:
            step: Callable[[], tuple[T, ...]] = partial(lane.tried, steps.first)
            while more := await lane.do(step):
                yield more[0]
                step = steps.next
        finally:
            lane.reading -= 1
            if not lane.is_stuck:
                await asyncio.shield(lane.do(steps.close))

    def _pick(self) -> "Lane":
        self._lanes = [one for one in self._lanes if one.is_alive]
        usable = [one for one in self._lanes if not one.is_stuck]
        if len(usable) == LANES or any(not one.load for one in usable):
            return min(usable, key=lambda one: one.load)
        if len(self._lanes) - len(usable) >= MOST_STUCK:
            raise StorageUnavailable(reason="what was asked before has not been answered yet")
        lane = Lane(self._connect, self._seconds)
        self._lanes.append(lane)
        return lane

    async def close(self) -> None:
        """Return when all is done that comes to an end soon."""
        for lane in self._lanes:
            lane.end()
        ending = [asyncio.to_thread(lane.join, CLOSE_SECONDS) for lane in self._lanes if not lane.is_stuck]
        await asyncio.gather(*ending)


class Lane:
    def __init__(self, connect: Connect, seconds: float) -> None:
        self.under_way = 0
        self.reading = 0
        self.is_stuck = False
        self._seconds = seconds
        self._connect = connect
        self._files: AbstractFileSystem | None = None
        self._dropped: list[AbstractFileSystem] = []
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # No executor's: the interpreter would wait for them at its end, for ever if one hangs.
        self._thread = Thread(target=self._work, name="storage", daemon=True)
        self._thread.start()

    @property
    def load(self) -> int:
        return self.under_way + self.reading

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    async def do(self, call: Callable[[], T]) -> T:
        if self.is_stuck:
            raise StorageUnavailable(reason="the connection hangs")
        future: Future[T] = Future()
        self.under_way += 1
        self._calls.put(partial(self._answer, future, call))
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            self.end()
            self.is_stuck = True
            raise StorageUnavailable(reason=f"no answer within {self._seconds:.0f} s") from error
        finally:
            self.under_way -= 1

    def tried(self, act: Callable[[AbstractFileSystem], T]) -> T:
        if self._files is not None:
            try:
                return act(self._files)
            except Exception as error:
                if not isinstance(told(error), StorageUnavailable):
                    raise
            self._drop()
        try:
            self._files = self._connect()
        except Exception as error:
            # Whatever it is that is missing, it is not a key.
            raise StorageUnavailable(reason=reason(error)) from error
        return act(self._files)

    def _work(self) -> None:
        while (answer := self._calls.get()) is not None:
            answer()
            if not self.reading:
                self._close_dropped()
        self._drop()
        self._close_dropped()

    def _answer(self, future: "Future[T]", call: Callable[[], T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(call())
        except Exception as error:
            said = told(error)
            if isinstance(said, StorageUnavailable):
                self._drop()
            future.set_exception(said)

    def _drop(self) -> None:
        """Use it no more; who reads from it may go on."""
        if self._files is not None:
            self._dropped.append(self._files)
            self._files = None

    def _close_dropped(self) -> None:
        while self._dropped:
            # Those of most libraries have none, and close with their last reference.
            if close := getattr(self._dropped.pop(), "close", None):
                with suppress(Exception):
                    close()

    def end(self) -> None:
        """Once it has done what it was given."""
        self._calls.put(None)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)


class Steps(Generic[T]):
    """An iterator that is asked, and closed, in another thread. The end is an empty tuple."""

    def __init__(self, make: Callable[[AbstractFileSystem], Iterator[T]]) -> None:
        self._make = make
        self._steps: Iterator[T] = iter(())

    def first(self, files: AbstractFileSystem) -> tuple[T, ...]:
        self._steps = self._make(files)
        return self.next()

    def next(self) -> tuple[T, ...]:
        for step in self._steps:
            return (step,)
        return ()

    def close(self) -> None:
        if close := getattr(self._steps, "close", None):
            close()


def told(error: Exception) -> Exception:
    """What a driver says of it. Libraries raise what they like: what is not known is the storage's fault."""
    if isinstance(error, DrsServiceError):
        return error
    number = error.errno if isinstance(error, OSError) else None
    said: Exception
    if is_missing(error):
        said = KeyError(str(error))
    elif number in {errno.ENOSPC, errno.EDQUOT}:
        said = StorageFull(reason=str(error))
    else:
        said = StorageUnavailable(reason=reason(error))
    said.__cause__ = error
    return said


def reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def is_missing(error: Exception) -> bool:
    # Not every library that knows the number raises the class.
    return isinstance(error, OSError) and (isinstance(error, MISSING) or error.errno in {errno.ENOENT, errno.ENOTDIR})
