"""Rows of uploads: bytes on their way."""

from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import msgspec

from drs_service.db.objects import columns
from drs_service.db.pool import Connection
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.names import FileName
from drs_service.domain.uploads import Mark, Purpose, Upload

INSERT = """
    INSERT INTO uploads (
        id, owner_id, space_id, name, file_name, media_type, size, description, checksums, expires_at, purpose,
        received, notes, handle, object_id, tags, aliases, parts, metadata, concat
    )
    SELECT id, owner_id, space_id, name, file_name, media_type, size, description, checksums, expires_at, purpose,
        received, notes, handle, object_id, tags, ARRAY(SELECT jsonb_array_elements_text(aliases)),
        CASE WHEN parts IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(parts)) END, metadata, concat
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::jsonb[],
        $10::timestamptz[], $11::text[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::jsonb[],
        $17::jsonb[], $18::jsonb[], $19::text[], $20::text[]
    ) AS new (
        id, owner_id, space_id, name, file_name, media_type, size, description, checksums, expires_at, purpose,
        received, notes, handle, object_id, tags, aliases, parts, metadata, concat
    )
    ON CONFLICT (id) DO NOTHING
"""


async def insert(connection: Connection, new: Sequence[Upload]) -> None:
    """One that is there already stays as it is."""
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
                one.purpose.value,
                one.mark.offset,
                one.mark.notes,
                one.handle,
                one.object_id,
                msgspec.json.encode(one.tags).decode(),
                msgspec.json.encode(one.aliases).decode(),
                msgspec.json.encode(one.parts).decode() if one.parts is not None else None,
                one.metadata,
                one.concat,
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


ARRIVED = "UPDATE uploads SET digest = $2, received = size WHERE id = $1"


async def arrived(connection: Connection, upload_id: str, digest: Digest) -> None:
    """All bytes of an announced upload have come, and their blob is recorded."""
    await connection.execute(ARRIVED, upload_id, digest.raw)


RECEIVED = """
    UPDATE uploads SET received = $4, notes = $5, expires_at = now() + $6
    WHERE id = $1 AND received = $2 AND notes = $3 AND object_id IS NULL AND digest IS NULL
"""


async def received(connection: Connection, upload_id: str, before: Mark, after: Mark, *, lifetime: timedelta) -> bool:
    """Its bytes are safe up to after. False if it was not at before: it is gone or done, or others have gone on."""
    answer = await connection.execute(
        RECEIVED, upload_id, before.offset, before.notes, after.offset, after.notes, lifetime
    )
    return answer == "UPDATE 1"


SIZED = "UPDATE uploads SET size = $2 WHERE id = $1 AND size IS NULL"


async def sized(connection: Connection, upload_id: str, size: int) -> None:
    """Its sender knows by now how many bytes there are."""
    await connection.execute(SIZED, upload_id, size)


FINISHED = "UPDATE uploads SET object_id = $2, received = $3, size = $3 WHERE id = $1"


async def finished(connection: Connection, upload_id: str, object_id: str, size: int) -> None:
    """An object has been made of it."""
    await connection.execute(FINISHED, upload_id, object_id, size)


DELETE = "DELETE FROM uploads WHERE id = ANY($1::text[])"


async def delete(connection: Connection, ids: Sequence[str]) -> None:
    await connection.execute(DELETE, ids)


# By the clock that `select` goes by, whatever that of the worker says. Who registers one has it locked, and keeps it.
EXPIRE = """
    DELETE FROM uploads WHERE id IN (
        SELECT id FROM uploads WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    RETURNING handle
"""


async def expire(connection: Connection, *, limit: int) -> list[str | None]:
    """Forget uploads that nobody finished or registered in time, at most limit. Returns the handles of their bytes."""
    return [row["handle"] for row in await connection.fetch(EXPIRE, limit)]


WANTED = "SELECT handle FROM uploads WHERE handle = ANY($1::text[])"


async def wanted(connection: Connection, handles: Sequence[str]) -> set[str]:
    """Those of handles that an upload has."""
    return {row["handle"] for row in await connection.fetch(WANTED, handles)}


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
        purpose=Purpose(row["purpose"]),
        mark=Mark(row["received"], row["notes"]),
        handle=row["handle"],
        tags=msgspec.json.decode(row["tags"], type=dict[str, str]),
        parts=tuple(row["parts"]) if row["parts"] is not None else None,
        object_id=row["object_id"],
        metadata=row["metadata"],
        concat=row["concat"],
        blob=Blob(Digest(row["digest"]), row["blob_size"]) if row["digest"] is not None else None,
    )
