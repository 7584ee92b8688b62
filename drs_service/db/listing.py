"""Finding objects by something other than their id. Every search goes along an index, in the order of the ids."""

from collections.abc import Sequence

from drs_service.db.pool import Connection

# The ids are found first, so that what hangs on an object is read for those of one page only.
BY_SPACE = """
    SELECT id FROM objects
    WHERE space_id = ANY($1::text[]) AND id > $2 AND deleted_time IS NULL AND NOT verifying
    ORDER BY id LIMIT $3
"""


async def ids_in(connection: Connection, spaces: Sequence[str], *, after: str, limit: int) -> list[str]:
    """Ids of objects in spaces, behind the id after."""
    # One space: the index gives its ids in order. Of several, PostgreSQL 18 would have to sort them all.
    statement = BY_SPACE.replace("= ANY($1::text[])", "= ($1::text[])[1]") if len(spaces) == 1 else BY_SPACE
    return [row["id"] for row in await connection.fetch(statement, spaces, after, limit)]


# A value is looked up by its md5, for an index has no room for long ones; an absent one may be any. What is asked of
# the object is asked row by row: joined, PostgreSQL 18 would at times read all objects for a page.
BY_TAG = """
    SELECT object_id FROM tags
    WHERE {tag} AND object_id > $2 {others}
        AND (SELECT space_id = ANY($1::text[]) AND deleted_time IS NULL AND NOT verifying
            FROM objects WHERE id = object_id)
    ORDER BY object_id LIMIT $3
"""
OTHER = "AND EXISTS (SELECT FROM tags AS other WHERE other.object_id = tags.object_id AND {tag})"
TAG = "{table}.key = ${key} AND md5({table}.value) = md5(${value}) AND {table}.value = ${value}"
KEY = "{table}.key = ${key}"


async def ids_tagged(
    connection: Connection, spaces: Sequence[str], tags: Sequence[tuple[str, str | None]], *, after: str, limit: int
) -> list[str]:
    """The same, of objects that have all these tags: at least one, with this value or any."""
    arguments: list[object] = []

    def clause(table: str, key: str, value: str | None) -> str:
        """Who has the tag; its key and value join the arguments."""
        arguments.append(key)
        number = 3 + len(arguments)
        if value is None:
            return KEY.format(table=table, key=number)
        arguments.append(value)
        return TAG.format(table=table, key=number, value=number + 1)

    first, *others = sorted(tags, key=lambda tag: tag[1] is None)  # a value narrows more than a key alone
    tag = clause("tags", *first)
    rest = " ".join(OTHER.format(tag=clause("other", *one)) for one in others)
    rows = await connection.fetch(BY_TAG.format(tag=tag, others=rest), spaces, after, limit, *arguments)
    return [row["object_id"] for row in rows]


# Tombstones keep their checksums, and are not found by them. Each place is asked for one page along its index: of the
# empty file there may be very many objects.
READABLE_BEHIND = "id > $5 AND space_id = ANY($4::text[]) AND deleted_time IS NULL AND NOT verifying"
BY_CHECKSUM = f"""
    (SELECT id FROM objects WHERE digest = $1 AND ($3::text IS NULL OR $3 = 'sha-256') AND {READABLE_BEHIND}
        ORDER BY id LIMIT $6)
    UNION
    SELECT id FROM checksums CROSS JOIN LATERAL (
        SELECT id FROM objects WHERE objects.digest = checksums.digest AND {READABLE_BEHIND}
        ORDER BY id LIMIT $6) AS its
    WHERE value = $2 AND ($3 IS NULL OR algorithm = $3)
    UNION
    (SELECT object_id FROM object_checksums JOIN objects ON id = object_id
        WHERE value = $2 AND ($3 IS NULL OR algorithm = $3) AND object_id > $5 AND {READABLE_BEHIND}
        ORDER BY object_id LIMIT $6)
    ORDER BY id LIMIT $6
"""  # noqa: S608


async def ids_with_checksum(
    connection: Connection,
    spaces: Sequence[str],
    value: str,
    algorithm: str | None,
    *,
    digest: bytes | None,
    after: str,
    limit: int,
) -> list[str]:
    """The same, of objects with this checksum, of one algorithm or of any; digest is the value if it may be one."""
    rows = await connection.fetch(BY_CHECKSUM, digest, value, algorithm, spaces, after, limit)
    return [row["id"] for row in rows]


READABLE = """
    SELECT DISTINCT ON (digest, space_id) id, digest, space_id FROM objects
    WHERE digest = ANY($1::bytea[]) AND deleted_time IS NULL
    ORDER BY digest, space_id, id
"""


async def one_of_each_space(connection: Connection, digests: Sequence[bytes]) -> list[tuple[str, bytes, str]]:
    """(id, digest, space) of one object for each digest and each space that has any."""
    rows = await connection.fetch(READABLE, digests)
    return [(row["id"], row["digest"], row["space_id"]) for row in rows]
