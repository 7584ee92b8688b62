"""Rows of the members of bundles: written once, with their bundle."""

from collections.abc import Sequence

import asyncpg

from drs_service.db.objects import columns
from drs_service.db.pool import Connection
from drs_service.domain.objects import Kind, Member

# An array of arrays would have to be a rectangle: URIs travel in one text, and hold no spaces.
INSERT = """
    INSERT INTO members (bundle_id, position, name, member_id, drs_uris)
    SELECT bundle_id, position, name, member_id, string_to_array(drs_uris, ' ')
    FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[])
        AS new (bundle_id, position, name, member_id, drs_uris)
"""


async def insert(connection: Connection, bundles: Sequence[tuple[str, Sequence[Member]]]) -> None:
    """Record the members of bundles that are recorded."""
    rows = [
        (bundle_id, position, member.name, member.id, " ".join(member.drs_uris))
        for bundle_id, members in bundles
        for position, member in enumerate(members)
    ]
    await connection.execute(INSERT, *columns(rows))


PAGE = """
    SELECT bundle_id, position, members.name, member_id, drs_uris, kind, entries
    FROM members LEFT JOIN objects ON objects.id = member_id AND deleted_time IS NULL
    WHERE bundle_id = $1 AND position >= $2
    ORDER BY position LIMIT $3
"""


async def page(connection: Connection, bundle_id: str, *, start: int, limit: int) -> list[Member]:
    """Direct members of a bundle from a position on, at most limit."""
    return [member(row) for row in await connection.fetch(PAGE, bundle_id, start, limit)]


OF_MANY = """
    SELECT bundle_id, position, members.name, member_id, drs_uris, kind, entries
    FROM members LEFT JOIN objects ON objects.id = member_id AND deleted_time IS NULL
    WHERE bundle_id = ANY($1::text[])
    ORDER BY bundle_id, position
"""


async def of_many(connection: Connection, bundle_ids: Sequence[str]) -> dict[str, list[Member]]:
    """All direct members of each of these bundles."""
    found: dict[str, list[Member]] = {bundle_id: [] for bundle_id in bundle_ids}
    for row in await connection.fetch(OF_MANY, bundle_ids):
        found[row["bundle_id"]].append(member(row))
    return found


# UNION: what is within twice is looked into once, and a bundle that came to lie in itself would end this too.
BUNDLES_WITHIN = """
    WITH RECURSIVE within AS (
        SELECT $1::text AS id
        UNION
        SELECT objects.id FROM within
        JOIN members ON bundle_id = within.id
        JOIN objects ON objects.id = member_id AND kind = 'bundle' AND deleted_time IS NULL
    )
    SELECT count(*) - 1 FROM within
"""


async def bundles_within(connection: Connection, bundle_id: str) -> int:
    """How many bundles there are in a bundle, all the way down, each counted once; deleted ones do not count."""
    return int(await connection.fetchval(BUNDLES_WITHIN, bundle_id))


def member(row: asyncpg.Record) -> Member:
    return Member(
        name=row["name"],
        id=row["member_id"],
        drs_uris=tuple(row["drs_uris"]),
        kind=row["kind"] and Kind(row["kind"]),
        entries=row["entries"] or 0,
    )
