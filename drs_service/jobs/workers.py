"""The workers there are, as each says of itself every few seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from drs_service.db.pool import Connection

BEAT = timedelta(seconds=5)
SILENT_AFTER = timedelta(seconds=20)  # a worker that has said nothing for so long does not work
KEPT = timedelta(days=1)  # of one that ended without a word

SAY = """
    INSERT INTO workers (id, host, pid, kinds) VALUES ($1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE SET seen_at = now()
"""
GONE = "DELETE FROM workers WHERE id = $1"
PURGE = "DELETE FROM workers WHERE seen_at < now() - $1::interval"
SEEN = """
    SELECT id, host, pid, kinds, started_at, seen_at FROM workers
    WHERE seen_at > now() - $1::interval ORDER BY host, pid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    id: UUID
    host: str
    pid: int
    kinds: Sequence[str]
    started_at: datetime
    seen_at: datetime


async def say(connection: Connection, worker: UUID, *, host: str, pid: int, kinds: Sequence[str]) -> None:
    """This worker works."""
    await connection.execute(SAY, worker, host, pid, list(kinds))


async def gone(connection: Connection, worker: UUID) -> None:
    await connection.execute(GONE, worker)


async def purge(connection: Connection) -> None:
    """Forget those that ended without a word long ago."""
    await connection.execute(PURGE, KEPT)


async def seen(connection: Connection) -> list[Worker]:
    """Those that work."""
    return [Worker(**row) for row in await connection.fetch(SEEN, SILENT_AFTER)]
