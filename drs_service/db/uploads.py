"""Rows of uploads: bytes that were announced, and may have come."""

from collections.abc import Sequence

import asyncpg
import msgspec

from drs_service.db.objects import columns
from drs_service.db.pool import Connection
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.names import FileName
from drs_service.domain.uploads import Upload

INSERT = """
    INSERT INTO uploads (
        id, owner_id, space_id, name, file_name, media_type, size, description, checksums, expires_at, aliases
    )
    SELECT id, owner_id, space_id, name, file_name, media_type, size, description, checksums, expires_at,
        ARRAY(SELECT jsonb_array_elements_text(aliases))
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::jsonb[],
        $10::timestamptz[], $11::jsonb[]
    ) AS new (
        id, owner_id, space_id, name, file_name, media_type, size, description, checksums, expires_at, aliases
    )
"""


async def insert(connection: Connection, new: Sequence[Upload]) -> None:
    await connection.execute(
        INSERT,
        *columns(
            (
                one.id,
                one.owner,
                one.space,
                one.name.portable,
                one.name.original,
                one.media_type,
                one.size,
                one.description,
                msgspec.json.encode({checksum.algorithm: checksum.value for checksum in one.checksums}).decode(),
                one.expires_at,
                msgspec.json.encode(one.aliases).decode(),
            )
            for one in new
        ),
    )


SELECT = """
    SELECT uploads.*, blobs.size AS blob_size FROM uploads LEFT JOIN blobs USING (digest)
    WHERE id = ANY($1::text[]) AND expires_at > now()
"""


async def select(connection: Connection, ids: Sequence[str]) -> dict[str, Upload]:
    """Those of ids that have not expired."""
    return {row["id"]: upload(row) for row in await connection.fetch(SELECT, ids)}


LOCK = "SELECT id FROM uploads WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE"


async def select_locked(connection: Connection, ids: Sequence[str]) -> dict[str, Upload]:
    """The same, for a change: nobody else changes or uses them up until the transaction ends."""
    await connection.execute(LOCK, ids)
    return await select(connection, ids)


ARRIVED = "UPDATE uploads SET digest = $2 WHERE id = $1"


async def arrived(connection: Connection, upload_id: str, digest: Digest) -> None:
    """The bytes have come, and their blob is recorded."""
    await connection.execute(ARRIVED, upload_id, digest.raw)


DELETE = "DELETE FROM uploads WHERE id = ANY($1::text[])"


async def delete(connection: Connection, ids: Sequence[str]) -> None:
    await connection.execute(DELETE, ids)


# By the clock that `select` goes by, whatever that of the worker says. Who registers one has it locked, and keeps it.
EXPIRE = """
    WITH expired AS (
        DELETE FROM uploads WHERE id IN (
            SELECT id FROM uploads WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        RETURNING id
    )
    SELECT count(*) FROM expired
"""


async def expire(connection: Connection, *, limit: int) -> int:
    """Forget uploads that nobody registered in time, at most limit. Returns how many they were."""
    return int(await connection.fetchval(EXPIRE, limit))


def upload(row: asyncpg.Record) -> Upload:
    checksums = msgspec.json.decode(row["checksums"], type=dict[str, str])
    return Upload(
        id=row["id"],
        owner=row["owner_id"],
        space=row["space_id"],
        name=FileName(row["file_name"], row["name"]),
        media_type=row["media_type"],
        size=row["size"],
        description=row["description"],
        aliases=tuple(row["aliases"]),
        checksums=tuple(Checksum(name, value) for name, value in checksums.items()),
        expires_at=row["expires_at"],
        blob=Blob(Digest(row["digest"]), row["blob_size"]) if row["digest"] is not None else None,
    )
