"""Work that costs as much for one as for several, done for all who wait for it.

fewer than AT_ONCE heaps are under way     a heap of its own, at once
otherwise                                  it waits for one of them to end, and goes with all who wait
a heap fails, or cannot be done            each of it is done alone, and fails alone
nobody knows whether it was done           each of it fails: done twice, it would be there twice
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from drs_service.errors import DatabaseUnavailable

AT_ONCE = 2
MOST = 16  # in a heap

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False, slots=True)
class Waiting(Generic[T, R]):
    one: T
    done: asyncio.Future[R] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Together(Generic[T, R]):
    def __init__(
        self, together: Callable[[Sequence[T]], Awaitable[Sequence[R] | None]], alone: Callable[[T], Awaitable[R]]
    ) -> None:
        """together gives what came of each, in their order, or None: each has to be done alone. It does all or nothing;
        after a DatabaseUnavailable nobody knows which.
        """
        self._together = together
        self._alone = alone
        self._queue: deque[Waiting[T, R]] = deque()
        self._heaps = 0
        self._under_way: set[asyncio.Task[None]] = set()

    async def do(self, one: T) -> R:
        """What comes of one, or what it raises. When cancelled, only once nothing is done with it any more."""
        waiting: Waiting[T, R] = Waiting(one)
        self._queue.append(waiting)
        self._begin()
        try:
            return await asyncio.shield(waiting.done)
        except asyncio.CancelledError:
            if waiting in self._queue:
                self._queue.remove(waiting)
            else:
                await asyncio.wait({waiting.done})
            raise

    def _begin(self) -> None:
        while self._queue and self._heaps < AT_ONCE:
            heap = [self._queue.popleft() for _ in range(min(MOST, len(self._queue)))]
            self._heaps += 1
            self._start(self._done_together(heap))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _done_together(self, heap: Sequence[Waiting[T, R]]) -> None:
        try:
            came = await self._together([waiting.one for waiting in heap])
        except Exception as error:
            came = None
            if len(heap) == 1 or isinstance(error, DatabaseUnavailable):
                for waiting in heap:
                    fail(waiting.done, error)
                heap = ()
        finally:
            self._heaps -= 1
            self._begin()
        if came is None:
            for waiting in heap:
                self._start(self._done_alone(waiting))
        else:
            for waiting, result in zip(heap, came, strict=True):
                waiting.done.set_result(result)

    async def _done_alone(self, waiting: Waiting[T, R]) -> None:
        try:
            waiting.done.set_result(await self._alone(waiting.one))
        except Exception as error:
            fail(waiting.done, error)


def fail(done: asyncio.Future[R], error: Exception) -> None:
    done.set_exception(error)
    done.exception()  # whoever waited for it may be gone
