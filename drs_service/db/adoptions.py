"""Rows of files in external places, and of what becomes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from drs_service.db.pool import ALL_ROWS_PATIENCE, Connection
from drs_service.domain.digest import Digest

BELOW = "place = $1 AND ($2 = '' OR path = $2 OR starts_with(path, $2 || '/'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants of the files below a path."""

    place: str
    below: str
    copying: bool
    owner: str
    space: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Noted:
    """A file as it was found."""

    path: str
    size: int
    stamp: str


@dataclass(frozen=True, slots=True)
class Pending:
    """One of which an object is to be made, or was made before it changed."""

    id: int
    path: str
    size: int
    stamp: str
    wanted: Wanted
    digest: Digest | None
    object_id: str | None


@dataclass(frozen=True, slots=True)
class Made:
    """What has become of a file."""

    id: int
    file: Noted
    digest: Digest
    object_id: str
    copied: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A file and what has become of it so far."""

    id: int
    path: str
    state: str
    size: int
    digest: Digest | None
    object_id: str | None
    problem: str | None


BEGIN = """
    INSERT INTO adoptions (place, below, copying, owner_id, space_id, tags)
    SELECT $1, $2, $3, $4, id, $6::jsonb FROM spaces WHERE id = $5
    RETURNING id
"""


async def begin(connection: Connection, wanted: Wanted) -> int | None:
    """Returns its number; None if there is no such space."""
    tags = msgspec.json.encode(wanted.tags).decode()
    number = await connection.fetchval(
        BEGIN, wanted.place, wanted.below, wanted.copying, wanted.owner, wanted.space, tags
    )
    return int(number) if number is not None else None


LISTED = "UPDATE adoptions SET listed_at = now() WHERE id = $1"


async def listed(connection: Connection, number: int) -> None:
    """All files have been found."""
    await connection.execute(LISTED, number)


# What waits for its job does as was wanted last.
WAITING = """
    UPDATE adopted_files SET adoption = $1 FROM unnest($3::text[]) AS new (path)
    WHERE place = $2 AND md5(adopted_files.path) = md5(new.path) AND adopted_files.path = new.path AND state = 'found'
    RETURNING new.path
"""
# What is as it was, and has the copy that is wanted, or was deleted here, is not even locked. Looked up one by one:
# joined, PostgreSQL 18 would read all files of the place for a few, for as long as it takes the table for a small one.
ENLIST = """
    INSERT INTO adopted_files (adoption, place, path, size, stamp)
    SELECT $1, $2, path, size, stamp FROM unnest($3::text[], $4::bigint[], $5::text[]) AS new (path, size, stamp)
    WHERE (
        SELECT true FROM adopted_files AS known
        WHERE known.place = $2 AND md5(known.path) = md5(new.path) AND known.path = new.path
            AND known.state = 'adopted' AND known.stamp = new.stamp
            AND (known.copied OR NOT (SELECT copying FROM adoptions WHERE id = $1))
            AND (
                EXISTS (
                    SELECT FROM replicas WHERE digest = known.digest AND (
                        known.copied AND replicas.stamp IS NULL
                        OR replicas.place = $2 AND NOT (SELECT copying FROM adoptions WHERE id = $1)
                    )
                )
                OR NOT EXISTS (SELECT FROM objects WHERE id = known.object_id AND deleted_time IS NULL)
            )
    ) IS NULL
    ON CONFLICT (place, md5(path)) DO UPDATE SET
        adoption = excluded.adoption, size = excluded.size, stamp = excluded.stamp, state = 'found', problem = NULL
    RETURNING id, size
"""


async def enlist(
    connection: Connection, number: int, place: str, found: Sequence[Noted]
) -> tuple[list[tuple[int, int]], int]:
    """Note files. Returns (id, size) of those that need a job now, and how many have one already.

    Those that were adopted before, and look as they did then, need none, unless their copy is no more.
    """
    waiting = {row["path"] for row in await connection.fetch(WAITING, number, place, [one.path for one in found])}
    new = [one for one in found if one.path not in waiting]
    columns = [one.path for one in new], [one.size for one in new], [one.stamp for one in new]
    rows = await connection.fetch(ENLIST, number, place, *columns)
    return [(row["id"], row["size"]) for row in rows], len(waiting)


PENDING = """
    SELECT file.id, path, size, stamp, digest, object_id, adoptions.place, below, copying, owner_id, space_id, tags
    FROM adopted_files AS file JOIN adoptions ON adoptions.id = adoption
    WHERE file.id = ANY($1::bigint[]) AND state <> 'adopted' ORDER BY file.id
"""


async def pending(connection: Connection, ids: Sequence[int], *, locked: bool = False) -> list[Pending]:
    """Those of which no object was made yet, as they are now. locked: nobody else makes one, until the transaction
    ends."""
    rows = await connection.fetch(PENDING + ("FOR UPDATE OF file" if locked else ""), ids)
    return [
        Pending(
            row["id"],
            row["path"],
            row["size"],
            row["stamp"],
            Wanted(
                place=row["place"],
                below=row["below"],
                copying=row["copying"],
                owner=row["owner_id"],
                space=row["space_id"],
                tags=msgspec.json.decode(row["tags"], type=dict[str, str]),
            ),
            Digest(row["digest"]) if row["digest"] is not None else None,
            row["object_id"],
        )
        for row in rows
    ]


ADOPTED = """
    UPDATE adopted_files AS file SET
        state = 'adopted', problem = NULL, size = made.size, stamp = made.stamp, digest = made.digest,
        object_id = made.object_id, copied = made.copied OR (file.copied AND file.digest = made.digest)
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::text[], $6::bool[])
        AS made (id, size, stamp, digest, object_id, copied)
    WHERE file.id = made.id
"""


async def adopted(connection: Connection, made: Sequence[Made]) -> None:
    """Objects were made of them."""
    rows = [(one.id, one.file.size, one.file.stamp, one.digest.raw, one.object_id, one.copied) for one in made]
    await connection.execute(ADOPTED, *(list(column) for column in zip(*rows, strict=True)))


FAILED = """
    UPDATE adopted_files AS file SET state = 'failed', problem = wrong.problem
    FROM unnest($1::bigint[], $2::text[]) AS wrong (id, problem)
    WHERE file.id = wrong.id AND state <> 'adopted'
"""


async def failed(connection: Connection, problems: Mapping[int, str]) -> None:
    """No object can be made of them, unless somebody wants it again."""
    await connection.execute(FAILED, list(problems), list(problems.values()))


GIVEN_UP = """
    UPDATE adopted_files SET state = 'failed', problem = $2 WHERE id = ANY($1::bigint[]) AND state = 'found'
"""


async def give_up(connection: Connection, ids: Sequence[int], problem: str) -> None:
    """The same of all that are still waiting."""
    await connection.execute(GIVEN_UP, ids, problem)


ALIVE = "SELECT id, digest FROM objects WHERE id = ANY($1::text[]) AND deleted_time IS NULL"


async def alive(connection: Connection, ids: Sequence[str]) -> dict[str, Digest]:
    """The blobs of those of the objects that were not deleted."""
    return {row["id"]: Digest(row["digest"]) for row in await connection.fetch(ALIVE, ids) if row["digest"]}


WITH_DIGEST = """
    SELECT path FROM adopted_files WHERE digest = $1 AND place = $2
    UNION SELECT key FROM replicas WHERE digest = $1 AND place = $2
"""


async def with_digest(connection: Connection, digest: Digest, place: str) -> list[str]:
    """Paths of files in place that are known to have had these bytes."""
    return [row["path"] for row in await connection.fetch(WITH_DIGEST, digest.raw, place)]


TALLY = f"SELECT state, count(*) FROM adopted_files WHERE {BELOW} GROUP BY state"  # noqa: S608  # of constants


async def tally(connection: Connection, place: str, below: str) -> dict[str, int]:
    """How many files below a path are in which state. Counts all rows: for people."""
    rows = await connection.fetch(TALLY, place, below, timeout=ALL_ROWS_PATIENCE)
    return {"found": 0, "adopted": 0, "failed": 0} | {row["state"]: row["count"] for row in rows}


LEFT = f"""
    SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes
    FROM adopted_files WHERE {BELOW} AND state = 'found'
"""  # noqa: S608


async def left(connection: Connection, place: str, below: str) -> tuple[int, int]:
    """Files below a path that wait for their job, and their bytes."""
    row = await connection.fetchrow(LEFT, place, below)
    assert row is not None, "an aggregate always has a row"
    return row["files"], row["bytes"]


PAGE = f"""
    SELECT id, path, state, size, digest, object_id, problem FROM adopted_files
    WHERE {BELOW} AND id > $3 AND ($4::text IS NULL OR state = $4) ORDER BY id LIMIT $5
"""  # noqa: S608


async def page(
    connection: Connection, place: str, below: str, *, state: str | None, after: int, limit: int
) -> list[Told]:
    """Files below a path, behind the id after."""
    return [
        Told(
            id=row["id"],
            path=row["path"],
            state=row["state"],
            size=row["size"],
            digest=Digest(row["digest"]) if row["digest"] is not None else None,
            object_id=row["object_id"],
            problem=row["problem"],
        )
        for row in await connection.fetch(PAGE, place, below, after, state, limit)
    ]
