"""Which copies lie in an archive of their storage: columns of the rows in `replicas.py`.

readable        neither column
in an archive   archived_at
brought back    neither, or restored_until: from then on it is in the archive again
"""

from collections.abc import Sequence
from datetime import datetime

from drs_service.db.pool import Connection
from drs_service.domain.digest import Digest

REFUSED = """
    UPDATE replicas SET archived_at = now(), restored_until = NULL
    WHERE digest = $1 AND place = $2 AND archived_at IS NULL RETURNING place
"""


async def refused(connection: Connection, digest: Digest, place: str) -> bool:
    """A copy was not given out, because it lies in an archive; whether this is news."""
    return await connection.fetchval(REFUSED, digest.raw, place) is not None


NOWHERE_ELSE = """
    SELECT digest, array_agg(place ORDER BY place) AS places FROM replicas
    WHERE digest = ANY($1::bytea[]) AND damaged_at IS NULL AND ($2::text IS NULL OR place = $2)
    GROUP BY digest HAVING bool_and(archived_at IS NOT NULL) ORDER BY digest
"""


async def nowhere_else(
    connection: Connection, digests: Sequence[Digest], place: str | None = None
) -> dict[Digest, list[str]]:
    """Those of the blobs whose good copies, all or that in one place, all lie in archives; and where."""
    rows = await connection.fetch(NOWHERE_ELSE, [one.raw for one in digests], place)
    return {Digest(row["digest"]): row["places"] for row in rows}


# Of what was brought back for a while the listing says the same.
LISTED = """
    UPDATE replicas SET archived_at = now()
    WHERE place = $1 AND digest = ANY($2::bytea[]) AND archived_at IS NULL AND restored_until IS NULL
"""


async def listed(connection: Connection, place: str, digests: Sequence[Digest]) -> None:
    """Copies that place lists as archived."""
    await connection.execute(LISTED, place, [one.raw for one in digests])


RESTORED = "UPDATE replicas SET archived_at = NULL, restored_until = $3 WHERE digest = $1 AND place = $2"


async def restored(connection: Connection, digest: Digest, place: str, until: datetime | None) -> None:
    """A copy can be read; until then, or for good."""
    await connection.execute(RESTORED, digest.raw, place, until)


EXPIRE = "UPDATE replicas SET archived_at = now(), restored_until = NULL WHERE restored_until < now()"


async def expire(connection: Connection) -> None:
    """What was brought back for a while is in the archive again when that is over."""
    await connection.execute(EXPIRE)
