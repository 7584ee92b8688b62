"""Every copy is read again from time to time: bits flip, and files vanish, without anybody being told."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from drs_service.db import blobs, replicas
from drs_service.db.pool import Database
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.errors import BytesArchived
from drs_service.jobs import queue
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.jobs.kinds import Scrub, VerifyBlob, enqueue_all, enqueue_once
from drs_service.usecases.places import Places
from drs_service.usecases.progressing import paced
from drs_service.usecases.reading import Reading, fault

MOST_QUEUED = 200  # copies that wait to be read: what is due after them is still due when they have been
AGAIN = timedelta(seconds=5)  # until it is looked whether they have been

SHORTEST = 0.001  # seconds: a shorter wait would take longer, and is made up for by the next one


@dataclass(frozen=True, slots=True)
class Scrubbing:
    database: Database
    places: Places
    reading: Reading
    every: timedelta | None
    """How often each copy is read; None: never."""
    pace: Callable[[int], Awaitable[None]]
    """Waits after so many bytes."""

    async def take_up(self, attempt: Attempt = UNQUEUED) -> None:
        """Enqueue the reading of copies whose turn it is in places that answer, no more than a few at a time; and look
        again soon if those were not all.
        """
        if self.every is None:
            return
        names = await self.places.answering(self.places.names)
        async with self.database.transaction() as connection:
            due = []
            is_busy = await queue.is_behind(connection, VerifyBlob)  # with the very copies that would be found now
            if not is_busy:
                due = await replicas.due(connection, names, older_than=self.every, limit=MOST_QUEUED)
                await enqueue_all(connection, [VerifyBlob(digest.hex, place) for place, digest in due])
            await attempt.conclude(connection)
            if is_busy or len(due) == MOST_QUEUED:
                await enqueue_once(connection, Scrub(), after=AGAIN)

    async def verify(self, digest: Digest, place: str, attempt: Attempt = UNQUEUED) -> None:
        """Read a copy whose turn it is, and write down what it is. Nothing if it has gone, or was read meanwhile.

        StorageUnavailable, StoreMismatch: nobody knows then.
        """
        store = self.places.get(place)
        async with self.database.connection() as connection:
            size = (await blobs.sizes(connection, [digest])).get(digest)
            is_due = self.every is not None and await replicas.is_due(connection, digest, place, older_than=self.every)
        if store is None or size is None or not is_due:
            return
        await self.places.check(store)
        try:
            damage = await fault(store, Blob(digest, size), paced(attempt, size, self.pace))
        except BytesArchived:
            # Nothing is brought back only to be looked at: it stays unverified, and is not due any more.
            await self.reading.archived(digest, store, attempt)
            return
        if damage is not None:
            await self.reading.damaged(digest, store, damage, attempt)
        else:
            async with self.database.transaction() as connection:
                await attempt.conclude(connection)
                await replicas.seen(connection, digest, place)


class Pace:
    """So many bytes a second, for all who wait for it."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._free_at = 0.0

    async def __call__(self, size: int) -> None:
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + size / self._rate
        if self._free_at - now > SHORTEST:
            await asyncio.sleep(self._free_at - now)
