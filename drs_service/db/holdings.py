"""What owners hold, and what lies in spaces, kept up by triggers."""

from drs_service.db.pool import Connection
from drs_service.domain.limits import Holding

MOST_FOLDED = 50_000  # rows by one statement
FOLD_AT = 1000  # rows of one owner: whoever has read so many makes one of them

# What was folded lies in one row for each space that an owner has anything in. Uploads that have expired since somebody
# tidied up are still in the sums, and are few.
SELECT = """
    SELECT coalesce(sum(kept + staged) FILTER (WHERE owner_id = $1), 0)::bigint AS of_owner,
        coalesce(sum(kept + staged) FILTER (WHERE space_id = $2), 0)::bigint AS of_space,
        coalesce(sum(uploads) FILTER (WHERE owner_id = $1), 0)::bigint AS uploads,
        count(*) FILTER (WHERE owner_id = $1 AND is_change) AS rows
    FROM (
        SELECT owner_id, space_id, kept, staged, uploads, true AS is_change FROM holding_changes
        WHERE owner_id = $1 OR space_id = $2
        UNION ALL
        SELECT owner_id, space_id, 0, -bytes_staged(received, signed), -1, false FROM uploads
        WHERE expires_at <= now() AND NOT finishing AND object_id IS NULL AND (owner_id = $1 OR space_id = $2)
    ) AS held
"""


async def select(connection: Connection, owner: str, space: str) -> tuple[Holding, bool]:
    """What there is by now, the caller's own transaction included; and whether it is time to fold that."""
    row = await connection.fetchrow(SELECT, owner, space)
    assert row is not None, "an aggregate always has a row"
    return Holding(row["of_owner"], row["of_space"], row["uploads"]), row["rows"] >= FOLD_AT


STAGED = """
    SELECT coalesce(sum(staged), 0)::bigint AS bytes, coalesce(sum(uploads), 0)::bigint AS uploads FROM holding_changes
"""


async def staged(connection: Connection) -> tuple[int, int]:
    """Bytes that came, or may have been brought past us, of all uploads which are no object yet; and how many of these
    there are.
    """
    row = await connection.fetchrow(STAGED)
    assert row is not None, "an aggregate always has a row"
    return row["bytes"], row["uploads"]


LAST = "SELECT coalesce(max(id), 0) FROM holding_changes"


async def last(connection: Connection) -> int:
    """The number of the last row."""
    return int(await connection.fetchval(LAST))


FOLD = """
    WITH folded AS (
        DELETE FROM holding_changes WHERE id IN (
            SELECT id FROM holding_changes
            WHERE ($1::text IS NULL OR owner_id = $1) AND ($2::bigint IS NULL OR id <= $2)
            ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        RETURNING owner_id, space_id, kept, staged, uploads
    ), made AS (
        INSERT INTO holding_changes (owner_id, space_id, kept, staged, uploads)
        SELECT owner_id, space_id, sum(kept), sum(staged), sum(uploads) FROM folded GROUP BY owner_id, space_id
        HAVING sum(kept) <> 0 OR sum(staged) <> 0 OR sum(uploads) <> 0
    )
    SELECT count(*) FROM folded
"""


async def fold(
    connection: Connection, owner: str | None = None, *, upto: int | None = None, limit: int = MOST_FOLDED
) -> int:
    """Make one row of many, of an owner or of all, up to a number; returns of how many. What is held stays as it is."""
    return int(await connection.fetchval(FOLD, owner, upto, limit))
