"""What was brought back from archives within the last day: as much as is paid for."""

from collections.abc import Sequence
from dataclasses import dataclass

from drs_service.db.pool import Connection
from drs_service.domain.digest import Digest


@dataclass(frozen=True, slots=True)
class Spent:
    bytes: int
    seconds: int
    """Until some of it counts no more."""


SPENT = """
    SELECT coalesce(sum(bytes), 0)::bigint AS bytes,
        coalesce(ceil(extract(epoch FROM min(asked_at) + interval '1 day' - now())), 0)::int AS seconds
    FROM restores WHERE asked_at > now() - interval '1 day'
"""


async def spent(connection: Connection) -> Spent:
    """Of all copies together."""
    row = await connection.fetchrow(SPENT)
    assert row is not None, "an aggregate always has a row"
    return Spent(**row)


ASKED = "SELECT digest, place FROM restores WHERE digest = ANY($1::bytea[]) AND asked_at > now() - interval '1 day'"


async def asked(connection: Connection, digests: Sequence[Digest]) -> set[tuple[Digest, str]]:
    """Copies of these that are paid for."""
    return {
        (Digest(row["digest"]), row["place"]) for row in await connection.fetch(ASKED, [one.raw for one in digests])
    }


LOCK = "LOCK TABLE restores IN EXCLUSIVE MODE"
TAKE = """
    INSERT INTO restores (digest, place, bytes)
    SELECT $1, $2, $3 WHERE $4::bigint >= $3::bigint + (
        SELECT coalesce(sum(bytes), 0)::bigint FROM restores
        WHERE asked_at > now() - interval '1 day' AND (digest, place) <> ($1, $2)
    )
    ON CONFLICT ON CONSTRAINT restores_pkey DO UPDATE SET
        asked_at = CASE
            WHEN restores.asked_at > now() - interval '1 day' THEN restores.asked_at ELSE excluded.asked_at
        END
    RETURNING place
"""


async def take(connection: Connection, digest: Digest, place: str, size: int, *, most: int) -> bool:
    """Have a copy of so many bytes counted, if it fits into the most of a day; whether it does. Others wait."""
    await connection.execute(LOCK)
    return await connection.fetchval(TAKE, digest.raw, place, size, most) is not None


PURGE = "DELETE FROM restores WHERE asked_at < now() - interval '1 day'"


async def purge(connection: Connection) -> None:
    """Forget what counts no more."""
    await connection.execute(PURGE)
