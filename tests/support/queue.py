"""Jobs that are queued, for whoever does them without a worker."""

from typing import TypeVar

import msgspec

from drs_service.db.pool import Database
from drs_service.jobs.kinds import kind_of

J = TypeVar("J", bound=msgspec.Struct)


async def taken(database: Database, kind: type[J]) -> list[J]:
    """All jobs of a kind, off the queue."""
    async with database.transaction() as connection:
        rows = await connection.fetch(
            "DELETE FROM pgqueuer WHERE entrypoint = $1 RETURNING id, payload",
            kind_of(kind),  # type: ignore[arg-type]
        )
    return [msgspec.json.decode(row["payload"], type=kind) for row in sorted(rows, key=lambda row: row["id"])]
