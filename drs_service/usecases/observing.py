"""How much there is and how much there is to do, for whoever watches the service."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drs_service.db import holdings, replicas, totals
from drs_service.db.pool import Database, Usage
from drs_service.db.totals import Totals
from drs_service.errors import Misconfigured, Unavailable
from drs_service.jobs import queue

PATIENCE = 3.0  # seconds: who watches waits ten


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of all nodes together."""

    totals: Totals
    staged_bytes: int
    unfinished_uploads: int
    jobs: Mapping[tuple[str, str], int]
    """By kind and state."""
    damaged: Mapping[str, int]
    """Copies that are known to be bad, by place."""
    lost: int
    """Blobs of which no good copy is left."""


class Observing:
    def __init__(self, database: Database, places: Sequence[str]) -> None:
        self._database = database
        self._places = places

    async def figures(self) -> Figures | None:
        """None if the database does not answer in time."""
        try:
            async with asyncio.timeout(PATIENCE), self._database.connection() as connection:
                staged_bytes, unfinished = await holdings.staged(connection)
                return Figures(
                    totals=await totals.select(connection),
                    staged_bytes=staged_bytes,
                    unfinished_uploads=unfinished,
                    jobs=await queue.depth(connection),
                    damaged=dict.fromkeys(self._places, 0) | await replicas.count_bad(connection),
                    lost=await replicas.count_lost(connection),
                )
        except (Unavailable, Misconfigured, TimeoutError):
            return None

    def usage(self) -> Usage:
        """Of the connections of this process."""
        return self._database.usage()
