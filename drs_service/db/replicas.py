"""Rows of copies: where the bytes of a blob are, and which of them are known to be bad."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drs_service.db.pool import ALL_ROWS_PATIENCE, Connection
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.domain.replication import Rule


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a blob."""

    place: str
    verified: datetime
    damage: str | None
    """What is wrong with it, if that is known."""
    archived: bool = False
    """Whether it lies in an archive: it is brought back before it is read."""


OF = """
    SELECT place, coalesce(verified_at, created_at) AS verified, damage, archived_at IS NOT NULL AS archived
    FROM replicas WHERE digest = $1 ORDER BY place
"""


async def of(connection: Connection, digest: Digest) -> dict[str, Copy]:
    """The copies of a blob by place, the bad ones too."""
    rows = await connection.fetch(OF, digest.raw)
    return {row["place"]: Copy(**row) for row in rows}


GOOD = """
    SELECT digest, bool_or(stamp IS NULL) AS ours FROM replicas
    WHERE digest = ANY($1::bytea[]) AND damaged_at IS NULL GROUP BY digest
"""


async def good(connection: Connection, digests: Sequence[Digest]) -> dict[Digest, bool]:
    """Those of the digests of which a copy is not known to be bad, and whether one of these is our own: the files of
    others are not ours to keep.
    """
    rows = await connection.fetch(GOOD, [digest.raw for digest in digests])
    return {Digest(row["digest"]): row["ours"] for row in rows}


RECORD = """
    INSERT INTO replicas (digest, place, key, verified_at) VALUES ($1, $2, $3, now())
    ON CONFLICT ON CONSTRAINT replicas_pkey DO UPDATE SET
        verified_at = now(), damaged_at = NULL, damage = NULL, archived_at = NULL, restored_until = NULL
"""


async def record(connection: Connection, digest: Digest, place: str, key: str) -> None:
    """There is a good copy in place: its bytes have just been seen. The caller holds the digest's lock."""
    await connection.execute(RECORD, digest.raw, place, key)


DAMAGED = """
    UPDATE replicas SET damaged_at = now(), damage = $3 WHERE digest = $1 AND place = $2 AND damaged_at IS NULL
    RETURNING place
"""


async def damaged(connection: Connection, digest: Digest, place: str, damage: str) -> bool:
    """Let nobody read a copy any more; whether this is news."""
    return await connection.fetchval(DAMAGED, digest.raw, place, damage) is not None


FORGET = "DELETE FROM replicas WHERE digest = $1 AND place = $2"


async def forget(connection: Connection, digest: Digest, place: str) -> None:
    """There is no copy in place any more. The caller holds the digest's lock."""
    await connection.execute(FORGET, digest.raw, place)


KNOWN = "SELECT digest FROM replicas WHERE place = $1 AND digest = ANY($2::bytea[])"


async def known(connection: Connection, place: str, digests: Sequence[Digest]) -> set[Digest]:
    """Those of the digests of which place has a copy."""
    rows = await connection.fetch(KNOWN, place, [digest.raw for digest in digests])
    return {Digest(row["digest"]) for row in rows}


ANY_IN = "SELECT EXISTS (SELECT FROM replicas WHERE place = $1)"


async def any_in(connection: Connection, place: str) -> bool:
    """Whether there was ever anything in place that still is."""
    return bool(await connection.fetchval(ANY_IN, place))


# A blob fits a rule by its size, and if the rule asks for more, by any of its objects.
FITS = """
    ($1::bigint IS NULL OR size >= $1) AND ($2::bigint IS NULL OR size <= $2)
    AND (($3::text IS NULL AND $4::text IS NULL) OR EXISTS (
        SELECT FROM objects WHERE objects.digest = blobs.digest AND deleted_time IS NULL
            AND ($3::text IS NULL OR space_id = $3)
            AND ($4::text IS NULL OR lower(split_part(media_type, ';', 1)) LIKE $4)
    ))
"""
FITS_ONE = f"SELECT EXISTS (SELECT FROM blobs WHERE digest = $5 AND {FITS})"  # noqa: S608


async def fits(connection: Connection, digest: Digest, rule: Rule) -> bool:
    """Whether a blob is one of those that a rule wants in its place."""
    return bool(await connection.fetchval(FITS_ONE, *conditions(rule), digest.raw))


LACKING = f"""
    SELECT digest FROM blobs WHERE digest > $5
        AND NOT EXISTS (SELECT FROM replicas WHERE replicas.digest = blobs.digest AND place = $6)
        AND {FITS}
    ORDER BY digest LIMIT $7
"""  # noqa: S608


async def lacking(connection: Connection, rule: Rule, *, after: str, limit: int) -> list[Digest]:
    """Blobs behind a digest in hexadecimal that a rule wants in its place, and of which there is no copy."""
    wanted = (*conditions(rule), bytes.fromhex(after), rule.place, limit)
    rows = await connection.fetch(LACKING, *wanted, timeout=ALL_ROWS_PATIENCE)
    return [Digest(row["digest"]) for row in rows]


# Of several rules one is enough.
COUNT_LACKING = """
    SELECT count(*) FROM blobs
    WHERE NOT EXISTS (SELECT FROM replicas WHERE replicas.digest = blobs.digest AND place = $1) AND EXISTS (
        SELECT FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[]) AS rule (least, most, space, type)
        WHERE (least IS NULL OR size >= least) AND (most IS NULL OR size <= most)
            AND ((space IS NULL AND type IS NULL) OR EXISTS (
                SELECT FROM objects WHERE objects.digest = blobs.digest AND deleted_time IS NULL
                    AND (space IS NULL OR space_id = space)
                    AND (type IS NULL OR lower(split_part(media_type, ';', 1)) LIKE type)
            ))
    )
"""


async def count_lacking(connection: Connection, place: str, rules: Sequence[Rule]) -> int:
    """How many blobs rules want in place that are not there. Looks at all rows: for people, not for every minute."""
    mine = [conditions(rule) for rule in rules if rule.place == place]
    if not mine:
        return 0
    columns = [list(column) for column in zip(*mine, strict=True)]
    return int(await connection.fetchval(COUNT_LACKING, place, *columns, timeout=ALL_ROWS_PATIENCE))


def conditions(rule: Rule) -> tuple[int | None, int | None, str | None, str | None]:
    """least, most, space and type of FITS."""
    pattern = rule.media_type
    if pattern is not None:
        pattern = pattern.replace("_", r"\_")
        pattern = pattern.removesuffix("*") + "%" if pattern.endswith("/*") else pattern
    return rule.least, rule.most, rule.space, pattern


BAD = """
    SELECT digest, place FROM replicas
    WHERE damaged_at IS NOT NULL AND (place, digest) > ($1, $2) AND place = ANY($4::text[])
    ORDER BY place, digest LIMIT $3
"""


async def bad(
    connection: Connection, places: Sequence[str], *, after: tuple[str, Digest] | None, limit: int
) -> list[tuple[str, Digest]]:
    """Copies in places that are known to be bad, behind one of them."""
    place, raw = (after[0], after[1].raw) if after is not None else ("", b"")
    rows = await connection.fetch(BAD, place, raw, limit, places)
    return [(row["place"], Digest(row["digest"])) for row in rows]


COUNT_BAD = "SELECT place, count(*) FROM replicas WHERE damaged_at IS NOT NULL GROUP BY place"


async def count_bad(connection: Connection) -> dict[str, int]:
    """How many copies are known to be bad, by place."""
    return {row["place"]: row["count"] for row in await connection.fetch(COUNT_BAD)}


COUNT_LOST = """
    SELECT count(DISTINCT digest) FROM replicas AS bad WHERE damaged_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM replicas WHERE digest = bad.digest AND damaged_at IS NULL)
"""


async def count_lost(connection: Connection) -> int:
    """Of how many blobs no good copy is left."""
    return int(await connection.fetchval(COUNT_LOST))


BAD_LAST = """
    SELECT digest, place, damage, damaged_at FROM replicas WHERE damaged_at IS NOT NULL
    ORDER BY damaged_at DESC LIMIT $1
"""


async def bad_last(connection: Connection, *, limit: int) -> list[tuple[Digest, str, str, datetime]]:
    """(digest, place, damage, since when) of the copies that were found to be bad last."""
    rows = await connection.fetch(BAD_LAST, limit)
    return [(Digest(row["digest"]), row["place"], row["damage"], row["damaged_at"]) for row in rows]


# What was looked at longest ago comes first.
DUE = """
    SELECT place, due.digest FROM unnest($1::text[]) AS one (place) CROSS JOIN LATERAL (
        SELECT replicas.digest, coalesce(verified_at, created_at) AS since FROM replicas
        WHERE replicas.place = one.place AND coalesce(verified_at, created_at) < now() - $2::interval
            AND damaged_at IS NULL AND archived_at IS NULL
        ORDER BY coalesce(verified_at, created_at), replicas.digest LIMIT $3
    ) AS due
    ORDER BY since, due.digest, place LIMIT $3
"""


async def due(
    connection: Connection, places: Sequence[str], *, older_than: timedelta, limit: int
) -> list[tuple[str, Digest]]:
    """Copies in these places that nobody has looked at for so long, with their places, those longest ago first; what is
    known to be bad is looked at by who heals it, and what lies in an archive by nobody.
    """
    return [(row["place"], Digest(row["digest"])) for row in await connection.fetch(DUE, places, older_than, limit)]


IS_DUE = """
    SELECT EXISTS (
        SELECT FROM replicas WHERE digest = $1 AND place = $2
            AND coalesce(verified_at, created_at) < now() - $3::interval
            AND damaged_at IS NULL AND archived_at IS NULL
    )
"""


async def is_due(connection: Connection, digest: Digest, place: str, *, older_than: timedelta) -> bool:
    """The same, of one copy."""
    return bool(await connection.fetchval(IS_DUE, digest.raw, place, older_than))


SEEN = """
    UPDATE replicas SET verified_at = now() WHERE digest = $1 AND place = $2 AND damaged_at IS NULL
"""


async def seen(connection: Connection, digest: Digest, place: str) -> None:
    """The bytes of a copy that nobody doubts have been read, and are right."""
    await connection.execute(SEEN, digest.raw, place)


VERIFIED = """
    UPDATE replicas SET verified_at = now(), damaged_at = NULL, damage = NULL, archived_at = NULL
    WHERE digest = $1 AND place = $2
"""


async def verified(connection: Connection, digest: Digest, place: str) -> None:
    """The same, of one that was known to be bad."""
    await connection.execute(VERIFIED, digest.raw, place)


HOLDING = """
    SELECT blobs.digest, size FROM replicas JOIN blobs USING (digest)
    WHERE place = $1 AND blobs.digest > $2 ORDER BY blobs.digest LIMIT $3
"""


async def holding(connection: Connection, place: str, *, after: str, limit: int) -> list[Blob]:
    """Blobs of which place has a copy, good or bad, behind a digest in hexadecimal."""
    rows = await connection.fetch(HOLDING, place, bytes.fromhex(after), limit)
    return [Blob(Digest(row["digest"]), row["size"]) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a place has."""

    place: str
    copies: int
    bytes: int
    damaged: int
    archived: int
    oldest: datetime | None
    """When the copy was verified that was verified longest ago."""


FIGURES = """
    SELECT place, count(*) AS copies, sum(size)::bigint AS bytes, count(damaged_at) AS damaged,
        count(archived_at) AS archived, min(coalesce(verified_at, replicas.created_at)) AS oldest
    FROM replicas JOIN blobs USING (digest) GROUP BY place ORDER BY place
"""


async def figures(connection: Connection) -> dict[str, Figures]:
    """Of every place that has anything. Counts all rows: for people, not for every minute."""
    rows = await connection.fetch(FIGURES, timeout=ALL_ROWS_PATIENCE)
    return {row["place"]: Figures(**row) for row in rows}
