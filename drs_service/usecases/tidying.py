"""Tables that only grow are kept small."""

from datetime import timedelta

from drs_service.db import totals
from drs_service.db.pool import Database
from drs_service.jobs import log

KEEP_LOG = timedelta(days=7)


class Tidying:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Fold the changes of the totals into one row, and forget what the queue did long ago."""
        async with self._database.transaction() as connection:
            await totals.fold(connection)
        async with self._database.transaction() as connection:
            await log.purge(connection, older_than=KEEP_LOG)
