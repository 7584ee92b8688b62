"""Tables that only grow are kept small."""

from datetime import timedelta

from drs_service.blobs.store import BlobStore
from drs_service.db import archived, holdings, idempotency, nodes, restores, sessions, totals, uploads
from drs_service.db.pool import Database
from drs_service.jobs import listing, log, workers

KEEP_LOG = timedelta(days=7)
KEEP_EXPIRED = timedelta(days=30)
KEEP_KEYS = timedelta(hours=24)
KEEP_ENDED = timedelta(days=30)
KEEP_DEAD = timedelta(days=90)
BATCH = 1000  # uploads in one transaction: whoever has something to do with one of them waits for it


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
        async with self._database.transaction() as connection:
            await totals.fold(connection)
        async with self._database.transaction() as connection:
            await holdings.fold(connection)
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

    async def _expire(self) -> int:
        async with self._database.transaction() as connection:
            handles = await uploads.expire(connection, limit=BATCH)
        for handle in handles:
            if handle is not None:
                await self._store.forget(handle)
        return len(handles)
