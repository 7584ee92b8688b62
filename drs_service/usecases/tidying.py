"""Tables that only grow are kept small."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from drs_service.blobs.store import BlobStore
from drs_service.db import archived, holdings, idempotency, nodes, restores, sessions, totals, uploads
from drs_service.db.pool import Connection, Database
from drs_service.jobs import listing, log, workers

KEEP_LOG = timedelta(days=7)
KEEP_EXPIRED = timedelta(days=30)
KEEP_KEYS = timedelta(hours=24)
KEEP_ENDED = timedelta(days=30)
KEEP_DEAD = timedelta(days=90)
MOST_FOLDED = 10_000  # rows in one transaction
BATCH = 1000  # uploads in one transaction: whoever has something to do with one of them waits for it


class Fold(Protocol):
    async def __call__(self, connection: Connection, /, *, upto: int, limit: int) -> int: ...


class Tidying:
    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    async def run(self) -> None:
        """Fold the changes of the totals and of what owners hold, and forget what the queue did and gave up long ago,
        uploads that nobody registered in time, and under which keys something was done so long ago that nobody
        repeats it, and sessions that ended long ago. What was brought back from an archive goes back in the end.

        The blob of a forgotten upload is let go of: the sweep looks whether anything else refers to it.
        """
        await self._fold(totals.last, totals.fold)
        await self._fold(holdings.last, holdings.fold)
        async with self._database.transaction() as connection:
            await log.purge(connection, older_than=KEEP_LOG)
            await listing.purge(connection, older_than=KEEP_DEAD)
            await workers.purge(connection)
        async with self._database.transaction() as connection:
            await archived.expire(connection)
            await restores.purge(connection)
        async with self._database.transaction() as connection:
            await idempotency.purge(connection, older_than=KEEP_KEYS)
        async with self._database.transaction() as connection:
            await uploads.purge(connection, older_than=KEEP_EXPIRED)
        async with self._database.transaction() as connection:
            await sessions.purge(connection, older_than=KEEP_ENDED)
            await nodes.purge(connection)
        while await self._expire() == BATCH:
            pass

    async def _fold(self, last: Callable[[Connection], Awaitable[int]], fold: Fold) -> None:
        """All that is there by now: what is made of it comes behind."""
        async with self._database.connection() as connection:
            upto = await last(connection)
        folded = MOST_FOLDED
        while folded == MOST_FOLDED:
            async with self._database.transaction() as connection:
                folded = await fold(connection, upto=upto, limit=MOST_FOLDED)

    async def _expire(self) -> int:
        async with self._database.transaction() as connection:
            handles = await uploads.expire(connection, limit=BATCH)
        for handle in handles:
            if handle is not None:
                await self._store.forget(handle)
        return len(handles)
