"""How much there is to do."""

from typing import get_args

from drs_service.db.pool import Connection
from drs_service.jobs.kinds import Job, kind_of

DEPTH = "SELECT entrypoint, status::text, count(*) FROM pgqueuer GROUP BY entrypoint, status"
KINDS = sorted(kind_of(one) for one in get_args(Job))
STATES = ("queued", "picked", "failed")


async def depth(connection: Connection) -> dict[tuple[str, str], int]:
    """How many jobs there are of each kind in each of the STATES."""
    counted = dict.fromkeys(((kind, state) for kind in KINDS for state in STATES), 0)
    rows = await connection.fetch(DEPTH)
    return counted | {(row["entrypoint"], row["status"]): row["count"] for row in rows}


WAITING = "SELECT count(*) FROM pgqueuer WHERE entrypoint = $1 AND status = 'queued'"


async def waiting(connection: Connection, kind: type[Job]) -> int:
    """How many jobs of a kind nobody has begun."""
    return int(await connection.fetchval(WAITING, kind_of(kind)))


IS_BEHIND = """
    SELECT EXISTS (SELECT FROM pgqueuer WHERE entrypoint = $1 AND status = 'queued' AND execute_after <= now())
"""


async def is_behind(connection: Connection, kind: type[Job]) -> bool:
    """Whether there are jobs of a kind that could be begun now. What is tried again later is none: something always is
    while a place is away.
    """
    return bool(await connection.fetchval(IS_BEHIND, kind_of(kind)))
