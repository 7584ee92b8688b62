"""How much there is."""

from drs_service.db import totals
from drs_service.db.pool import Database
from drs_service.db.totals import Totals


class Statistics:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def totals(self) -> Totals:
        async with self._database.connection() as connection:
            return await totals.select(connection)
