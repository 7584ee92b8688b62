"""Rows of copies that are files of others. Their key is a path, and their stamp tells that they are as they were."""

from collections.abc import Sequence
from dataclasses import dataclass

from drs_service.db.pool import Connection
from drs_service.domain.digest import Digest

REPLACED = "the file has other bytes by now"


@dataclass(frozen=True, slots=True)
class Located:
    """Where the bytes of a blob are, and how the file was when they were read."""

    path: str
    size: int
    stamp: str


LOCATE = """
    SELECT key, size, stamp FROM replicas JOIN blobs USING (digest)
    WHERE digest = $1 AND place = $2 AND stamp IS NOT NULL
"""


async def locate(connection: Connection, digest: Digest, place: str) -> Located | None:
    """The file in place that is said to have these bytes, good or bad."""
    row = await connection.fetchrow(LOCATE, digest.raw, place)
    return Located(row["key"], row["size"], row["stamp"]) if row is not None else None


# What a file had before it cannot have beside what it has now. Looked up one by one: joined, PostgreSQL 18 would read
# all copies for a few files, for as long as it takes the table for a small one.
SUPERSEDED = """
    SELECT digest FROM (
        SELECT (
            SELECT digest FROM replicas
            WHERE place = $1 AND md5(key) = md5(seen.path) AND key = seen.path AND damaged_at IS NULL
        ) AS digest, seen.digest AS now
        FROM unnest($2::text[], $3::bytea[]) AS seen (path, digest)
    ) AS before WHERE digest <> now
"""
SUPERSEDE = """
    UPDATE replicas SET damaged_at = now(), damage = $3
    WHERE digest = ANY($2::bytea[]) AND place = $1 AND damaged_at IS NULL
"""
# Of several files with the same bytes the first one stays the copy, for as long as it is good, and out of an archive.
RECORD = """
    INSERT INTO replicas (digest, place, key, stamp, verified_at)
    SELECT DISTINCT ON (digest) digest, $1, path, stamp, now()
    FROM unnest($2::bytea[], $3::text[], $4::text[]) AS seen (digest, path, stamp)
    ON CONFLICT ON CONSTRAINT replicas_pkey DO UPDATE SET
        key = excluded.key, stamp = excluded.stamp, verified_at = now(), damaged_at = NULL, damage = NULL,
        archived_at = NULL, restored_until = NULL
    WHERE replicas.damaged_at IS NOT NULL OR replicas.archived_at IS NOT NULL OR replicas.key = excluded.key
"""


async def record(connection: Connection, place: str, seen: Sequence[tuple[Digest, str, str]]) -> list[Digest]:
    """(digest, path, stamp) of files whose bytes have just been read; their blobs are recorded, and locked.

    Returns the digests whose copy in place has turned out to be lost by that.
    """
    digests = [digest.raw for digest, _, _ in seen]
    paths = [path for _, path, _ in seen]
    lost = [row["digest"] for row in await connection.fetch(SUPERSEDED, place, paths, digests)]
    if lost:
        await connection.execute(SUPERSEDE, place, lost, REPLACED)
    await connection.execute(RECORD, place, digests, paths, [stamp for _, _, stamp in seen])
    return [Digest(raw) for raw in lost]
