"""How much there is, kept up by triggers."""

from dataclasses import dataclass

from drs_service.db.pool import Connection


@dataclass(frozen=True, slots=True)
class Totals:
    objects: int
    bytes: int
    """Of blobs, each counted once."""
    blobs: int


SELECT = (
    "SELECT coalesce(sum(objects), 0)::bigint AS objects, coalesce(sum(bytes), 0)::bigint AS bytes, "
    "coalesce(sum(blobs), 0)::bigint AS blobs FROM total_changes"
)


async def select(connection: Connection) -> Totals:
    row = await connection.fetchrow(SELECT)
    assert row is not None, "an aggregate always has a row"
    return Totals(row["objects"], row["bytes"], row["blobs"])


LAST = "SELECT coalesce(max(id), 0) FROM total_changes"


async def last(connection: Connection) -> int:
    """The number of the last row."""
    return int(await connection.fetchval(LAST))


FOLD = """
    WITH folded AS (
        DELETE FROM total_changes WHERE id IN (
            SELECT id FROM total_changes WHERE id <= $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        RETURNING objects, bytes, blobs
    ), made AS (
        INSERT INTO total_changes (objects, bytes, blobs) SELECT sum(objects), sum(bytes), sum(blobs) FROM folded
        HAVING count(*) > 0
    )
    SELECT count(*) FROM folded
"""


async def fold(connection: Connection, *, upto: int, limit: int) -> int:
    """Make one row of many, up to a number; returns of how many. The totals stay as they are."""
    return int(await connection.fetchval(FOLD, upto, limit))
