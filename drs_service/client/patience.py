"""The one place of the client that tries again: longer and longer pauses, until nothing has moved for too long."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from secrets import SystemRandom
from typing import TypeVar

from drs_service.client.answers import is_preparing
from drs_service.errors import Unavailable

T = TypeVar("T")
OnWait = Callable[[float, Unavailable], None]

FIRST_PAUSE = 0.25  # seconds
LONGEST_PAUSE = 30.0


class Patience:
    def __init__(self, seconds: float, on_wait: OnWait, *, prepared: float | None = None) -> None:
        """prepared: seconds for what a server says that it is still preparing; by default no more than for others."""
        self._seconds = seconds
        self._prepared = seconds if prepared is None else prepared
        self._on_wait = on_wait
        self._random = SystemRandom()
        self.moved()

    def moved(self) -> None:
        """Something has: begin to count anew."""
        self._failures = 0
        self._until = time.monotonic() + self._seconds
        self._prepared_until: float | None = None

    async def wait(self, error: Unavailable) -> None:
        """Return when it is time to try again; raise error if that is not worth it."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._failures)
        stated = error.facts.get("retry_after")
        # Clients that were cut off together must not come back together.
        pause = max(self._random.uniform(pause / 2, pause), stated if isinstance(stated, float) else 0.0)
        if time.monotonic() + pause > self._end(error):
            raise error
        self._failures = min(self._failures + 1, 10)
        self._on_wait(pause, error)
        await asyncio.sleep(pause)
        if is_preparing(error):
            self._until = time.monotonic() + self._seconds  # nothing has failed meanwhile

    def _end(self, error: Unavailable) -> float:
        if not is_preparing(error):
            return self._until
        if self._prepared_until is None:
            self._prepared_until = time.monotonic() + self._prepared
        return self._prepared_until

    async def of(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What attempt returns, once it does not raise Unavailable any more."""
        while True:
            try:
                return await attempt()
            except Unavailable as error:
                await self.wait(error)
