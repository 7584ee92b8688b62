"""Rows of objects, read together with what hangs on them."""

from collections.abc import Sequence

import asyncpg

from drs_service.db.pool import Connection
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.domain.objects import Checksum, DrsObject, NewObject

INSERT = """
    INSERT INTO objects (id, digest, name, file_name, media_type, owner_id, space_id)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
"""


async def insert(connection: Connection, new: Sequence[NewObject]) -> None:
    """Record objects whose blobs are recorded."""
    rows = [(one.id, one.blob.digest.raw, one.name, one.file_name, one.media_type, one.owner, one.space) for one in new]
    await connection.execute(INSERT, *(list(column) for column in zip(*rows, strict=True)))


SELECT = """
    SELECT objects.*, blobs.size,
        ARRAY(SELECT algorithm FROM checksums WHERE digest = objects.digest ORDER BY algorithm) AS algorithms,
        ARRAY(SELECT value FROM checksums WHERE digest = objects.digest ORDER BY algorithm) AS checksum_values,
        ARRAY(SELECT alias FROM aliases WHERE object_id = objects.id ORDER BY alias) AS aliases
    FROM objects JOIN blobs USING (digest)
    WHERE objects.id = ANY($1::text[])
"""


async def select(connection: Connection, ids: Sequence[str]) -> dict[str, DrsObject]:
    """The objects that exist among ids, in one round trip."""
    return {row["id"]: drs_object(row) for row in await connection.fetch(SELECT, ids)}


def drs_object(row: asyncpg.Record) -> DrsObject:
    return DrsObject(
        id=row["id"],
        blob=Blob(Digest(row["digest"]), row["size"]),
        name=row["name"],
        file_name=row["file_name"],
        media_type=row["media_type"],
        owner=row["owner_id"],
        space=row["space_id"],
        created_time=row["created_time"],
        updated_time=row["updated_time"],
        description=row["description"],
        version=row["version"],
        checksums=tuple(map(Checksum, row["algorithms"], row["checksum_values"])),
        aliases=tuple(row["aliases"]),
    )
