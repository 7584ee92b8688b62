"""Rows of objects, read together with what hangs on them."""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
import msgspec

from drs_service.db.pool import Connection
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.objects import DrsObject, ExternalAccess, Kind, NewObject, Tombstone

INSERT = """
    INSERT INTO objects (
        id, kind, digest, size, entries, name, file_name, media_type, owner_id, space_id,
        access_methods, description, version, verifying
    )
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::text[], $11::jsonb[], $12::text[], $13::text[], $14::bool[]
    )
"""
INSERT_CHECKSUMS = """
    INSERT INTO object_checksums (object_id, algorithm, value) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
"""
INSERT_ALIASES = "INSERT INTO aliases (object_id, alias) SELECT * FROM unnest($1::text[], $2::text[])"
INSERT_TAGS = "INSERT INTO tags (object_id, key, value) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])"


async def insert(connection: Connection, new: Sequence[NewObject]) -> None:
    """Record objects; the blobs of those that have one are recorded."""
    await connection.execute(INSERT, *columns(map(values, new)))
    stated = [(one.id, checksum.algorithm, checksum.value) for one in new for checksum in one.stated]
    aliases = [(one.id, alias) for one in new for alias in one.aliases]
    tags = [(one.id, key, value) for one in new for key, value in one.tags.items()]
    for statement, rows in ((INSERT_CHECKSUMS, stated), (INSERT_ALIASES, aliases), (INSERT_TAGS, tags)):
        if rows:
            await connection.execute(statement, *columns(rows))


def values(one: NewObject) -> tuple[object, ...]:
    """The row of a new object, in the order of INSERT."""
    return (
        one.id,
        one.kind.value,
        one.blob and one.blob.digest.raw,
        one.size,
        one.entries,
        one.name,
        one.file_name,
        one.media_type,
        one.owner,
        one.space,
        encoded(one.external_access),
        one.description,
        one.version,
        one.verifying,
    )


SELECT = """
    SELECT objects.*,
        ARRAY(SELECT ARRAY[algorithm, value] FROM checksums WHERE digest = objects.digest) AS checksums,
        ARRAY(SELECT ARRAY[algorithm, value] FROM object_checksums WHERE object_id = objects.id) AS stated,
        ARRAY(SELECT alias FROM aliases WHERE object_id = objects.id) AS aliases,
        ARRAY(SELECT ARRAY[key, value] FROM tags WHERE object_id = objects.id) AS tags,
        ARRAY(
            SELECT ARRAY[
                place,
                CASE WHEN archived_at IS NULL THEN '' ELSE 'archived' END,
                CASE WHEN stamp IS NOT NULL THEN key END
            ] FROM replicas WHERE digest = objects.digest AND damaged_at IS NULL
        ) AS copies
    FROM objects WHERE objects.id = ANY($1::text[])
"""
KINDS = {kind.value: kind for kind in Kind}


async def select(connection: Connection, ids: Sequence[str]) -> dict[str, DrsObject]:
    """The objects that exist among ids, tombstones too, in one round trip."""
    return {row["id"]: drs_object(row) for row in await connection.fetch(SELECT, ids)}


LOCK = "SELECT id FROM objects WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE"


async def select_locked(connection: Connection, ids: Sequence[str]) -> dict[str, DrsObject]:
    """The same, for a change: nobody else changes or deletes them until the transaction ends."""
    await connection.execute(LOCK, ids)
    return await select(connection, ids)


LOCK_SHARED = "SELECT id FROM objects WHERE id = ANY($1::text[]) ORDER BY id FOR SHARE"


async def select_kept(connection: Connection, ids: Sequence[str]) -> dict[str, DrsObject]:
    """The same, to build upon: nobody changes or deletes them until the transaction ends."""
    await connection.execute(LOCK_SHARED, ids)
    return await select(connection, ids)


REPLACE_ACCESS = "UPDATE objects SET access_methods = $2::jsonb, verifying = $3 WHERE id = $1"


async def replace_access(
    connection: Connection, object_id: str, access: Sequence[ExternalAccess], *, verifying: bool
) -> None:
    await connection.execute(REPLACE_ACCESS, object_id, encoded(access), verifying)


async def add_checksums(connection: Connection, object_id: str, stated: Sequence[Checksum]) -> None:
    """Those that are new; the caller has seen that none is there with another value."""
    await connection.execute(INSERT_CHECKSUMS, *columns((object_id, one.algorithm, one.value) for one in stated))


DELETE_TAGS = "DELETE FROM tags WHERE object_id = $1"


async def replace_tags(connection: Connection, object_id: str, tags: Iterable[tuple[str, str]]) -> None:
    await connection.execute(DELETE_TAGS, object_id)
    rows = [(object_id, key, value) for key, value in tags]
    if rows:
        await connection.execute(INSERT_TAGS, *columns(rows))


VERIFIED = "UPDATE objects SET verifying = false WHERE id = $1 AND verifying"


async def verified(connection: Connection, object_id: str) -> None:
    await connection.execute(VERIFIED, object_id)


# A tombstone lets go of the blob, and remembers what was published of it.
REMEMBER = """
    INSERT INTO object_checksums (object_id, algorithm, value)
    SELECT id, 'sha-256', encode(digest, 'hex') FROM objects
    WHERE id = ANY($1::text[]) AND deleted_time IS NULL AND digest IS NOT NULL
    UNION ALL
    SELECT id, algorithm, value FROM objects JOIN checksums USING (digest)
    WHERE id = ANY($1::text[]) AND deleted_time IS NULL
    ON CONFLICT ON CONSTRAINT object_checksums_pkey DO UPDATE SET value = excluded.value
"""
BURY = """
    UPDATE objects SET deleted_time = now(), deleted_reason = $2, digest = NULL, verifying = false
    WHERE id = ANY($1::text[]) AND deleted_time IS NULL
"""


async def bury(connection: Connection, ids: Sequence[str], *, reason: str | None) -> None:
    """Leave tombstones of objects; those that are tombstones already stay as they are."""
    await connection.execute(REMEMBER, ids)
    await connection.execute(BURY, ids, reason)


DELETE = "DELETE FROM objects WHERE id = ANY($1::text[])"


async def delete(connection: Connection, ids: Sequence[str]) -> None:
    """Leave nothing of objects, nor of tombstones."""
    await connection.execute(DELETE, ids)


def drs_object(row: asyncpg.Record) -> DrsObject:
    blob = Blob(Digest(row["digest"]), row["size"]) if row["digest"] is not None else None
    return DrsObject(
        id=row["id"],
        kind=KINDS[row["kind"]],
        name=row["name"],
        file_name=row["file_name"],
        owner=row["owner_id"],
        space=row["space_id"],
        media_type=row["media_type"],
        size=row["size"],
        blob=blob,
        places=frozenset(place for place, archived, _ in row["copies"] if not archived),
        archived=frozenset(place for place, archived, _ in row["copies"] if archived),
        paths={place: path for place, _, path in row["copies"] if path is not None},
        created_time=row["created_time"],
        updated_time=row["updated_time"],
        checksums=published(row),
        external_access=decoded(row["access_methods"]),
        tags=dict(sorted(row["tags"])),
        entries=row["entries"],
        description=row["description"],
        version=row["version"],
        aliases=tuple(sorted(row["aliases"])),
        verifying=row["verifying"],
        tombstone=row["deleted_time"] and Tombstone(row["deleted_time"], row["deleted_reason"]),
    )


def published(row: asyncpg.Record) -> tuple[Checksum, ...]:
    """The checksums of an object: what was read from its bytes goes before what was stated."""
    if row["digest"] is not None and not row["stated"] and not row["checksums"]:
        return (Checksum("sha-256", row["digest"].hex()),)  # most of all
    known: dict[str, str] = dict(row["stated"]) | dict(row["checksums"])
    if row["digest"] is not None:
        known["sha-256"] = row["digest"].hex()
    return tuple(Checksum(name, known[name]) for name in sorted(known, key=lambda name: (name != "sha-256", name)))


def encoded(access: Sequence[ExternalAccess]) -> str | None:
    return msgspec.json.encode(access).decode() if access else None


def decoded(text: str | None) -> tuple[ExternalAccess, ...]:
    return msgspec.json.decode(text, type=tuple[ExternalAccess, ...]) if text else ()


def columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows turned into one array for each column."""
    return [list(column) for column in zip(*rows, strict=True)]
