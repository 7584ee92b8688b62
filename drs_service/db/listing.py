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


# A value is looked up by its md5, for an index has no room for long ones; an absent one may be any.
BY_TAG = """
    SELECT object_id FROM tags JOIN objects ON objects.id = tags.object_id
    WHERE {tag} AND object_id > $2 AND space_id = ANY($1::text[]) AND deleted_time IS NULL AND NOT verifying {others}
    ORDER BY object_id LIMIT $3
"""
TAG = "tags.key = ${key} AND md5(tags.value) = md5(${value}) AND tags.value = ${value}"
KEY = "tags.key = ${key}"


async def ids_tagged(
    connection: Connection, spaces: Sequence[str], tags: Sequence[tuple[str, str | None]], *, after: str, limit: int
) -> list[str]:
    """The same, of objects that have all these tags: at least one, with this value or any."""
    arguments: list[object] = []

    def clause(key: str, value: str | None) -> str:
        """Who has the tag; its key and value join the arguments."""
        arguments.append(key)
        number = 3 + len(arguments)
        if value is None:
            return KEY.format(key=number)
        arguments.append(value)
        return TAG.format(key=number, value=number + 1)

    first, *others = sorted(tags, key=lambda tag: tag[1] is None)  # a value narrows more than a key alone
    tag = clause(*first)
    rest = [f"AND EXISTS (SELECT FROM tags WHERE tags.object_id = objects.id AND {clause(*one)})" for one in others]
    rows = await connection.fetch(BY_TAG.format(tag=tag, others=" ".join(rest)), spaces, after, limit, *arguments)
    return [row["object_id"] for row in rows]


# Tombstones keep their checksums, and are not found by them.
BY_CHECKSUM = """
    SELECT id FROM (
        SELECT id FROM objects WHERE digest = $1 AND ($3::text IS NULL OR $3 = 'sha-256')
        UNION
        SELECT id FROM checksums JOIN objects USING (digest) WHERE value = $2 AND ($3 IS NULL OR algorithm = $3)
        UNION
        SELECT object_id FROM object_checksums WHERE value = $2 AND ($3 IS NULL OR algorithm = $3)
    ) AS found JOIN objects USING (id)
    WHERE space_id = ANY($4::text[]) AND id > $5 AND deleted_time IS NULL AND NOT verifying
    ORDER BY id LIMIT $6
"""


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
