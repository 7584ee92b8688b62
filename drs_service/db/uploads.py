"""Rows of uploads: bytes on their way."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import msgspec

from drs_service.db.changes import NODES
from drs_service.db.objects import columns
from drs_service.db.pool import Connection
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.names import FileName
from drs_service.domain.ranges import ByteRange
from drs_service.domain.uploads import Mark, Purpose, Upload

INSERT = """
    INSERT INTO uploads (
        id, owner_id, space_id, name, file_name, media_type, size, description, checksums, expires_at, purpose,
        received, notes, handle, object_id, tags, aliases, parts, metadata, concat, wanted, ends_by_size
    )
    SELECT id, owner_id, space_id, name, file_name, media_type, size, description, checksums, expires_at, purpose,
        received, notes, handle, object_id, tags, ARRAY(SELECT jsonb_array_elements_text(aliases)),
        CASE WHEN parts IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(parts)) END, metadata, concat,
        ARRAY(SELECT jsonb_array_elements_text(wanted)), ends_by_size
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::jsonb[],
        $10::timestamptz[], $11::text[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::jsonb[],
        $17::jsonb[], $18::jsonb[], $19::text[], $20::text[], $21::jsonb[], $22::boolean[]
    ) AS new (
        id, owner_id, space_id, name, file_name, media_type, size, description, checksums, expires_at, purpose,
        received, notes, handle, object_id, tags, aliases, parts, metadata, concat, wanted, ends_by_size
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
                msgspec.json.encode(sorted(one.wanted)).decode(),
                one.ends_by_size,
            )
            for one in new
        ),
    )


SELECT = """
    SELECT uploads.*, bytes_staged(received, signed) AS staged, blobs.size AS blob_size
    FROM uploads LEFT JOIN blobs USING (digest)
    WHERE id = ANY($1::text[]) AND (finishing OR expires_at > now())
"""


async def select(connection: Connection, ids: Sequence[str]) -> dict[str, Upload]:
    """Those of ids that have not expired."""
    return {row["id"]: upload(row) for row in await connection.fetch(SELECT, ids)}


LOCK = "SELECT id FROM uploads WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE"


async def select_locked(connection: Connection, ids: Sequence[str]) -> dict[str, Upload]:
    """The same, for a change: nobody else changes or uses them up until the transaction ends."""
    await connection.execute(LOCK, ids)
    return await select(connection, ids)


# Who waited for a worker hears what came of it, however long that took.
ARRIVED = """
    UPDATE uploads SET digest = $2, received = size, finishing = false,
        expires_at = CASE WHEN finishing THEN greatest(expires_at, now() + interval '1 day') ELSE expires_at END
    WHERE id = $1 AND purpose = 'announced'
"""


async def arrived(connection: Connection, upload_id: str, digest: Digest) -> None:
    """All bytes of an announced upload have come, and their blob is recorded."""
    await connection.execute(ARRIVED, upload_id, digest.raw)


RECEIVED = """
    UPDATE uploads SET received = $4, notes = $5, expires_at = now() + $6
    WHERE id = $1 AND received = $2 AND notes = $3 AND turn IS NOT DISTINCT FROM $7
        AND object_id IS NULL AND digest IS NULL
"""


async def received(connection: Connection, upload: Upload, before: Mark, after: Mark, *, lifetime: timedelta) -> bool:
    """Its bytes are safe up to after. False if it was not at before: it is gone or done, or others have gone on."""
    answer = await connection.execute(
        RECEIVED, upload.id, before.offset, before.notes, after.offset, after.notes, lifetime, upload.turn
    )
    return answer == "UPDATE 1"


KEEP = "UPDATE uploads SET expires_at = greatest(expires_at, now() + $2) WHERE id = $1 AND expires_at > now()"


async def keep(connection: Connection, upload_id: str, *, lifetime: timedelta) -> None:
    """Somebody is about it."""
    await connection.execute(KEEP, upload_id, lifetime)


# Whoever had it and lives no longer, by the lock that it held for as long as it did, has it no longer.
TAKE = """
    UPDATE uploads SET turn = $2 WHERE id = $1 AND (turn IS NULL OR NOT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND classid = $3::bigint::oid AND objid = split_part(turn, ' ', 1)::bigint::oid AND objsubid = 2
    ))
"""


async def take(connection: Connection, upload_id: str, turn: str) -> bool:
    """Have it for oneself. False while another one has it who lives."""
    return await connection.execute(TAKE, upload_id, turn, NODES) == "UPDATE 1"


LEAVE = "UPDATE uploads SET turn = NULL WHERE id = $1 AND turn = $2"


async def leave(connection: Connection, upload_id: str, turn: str) -> None:
    """Let others have it."""
    await connection.execute(LEAVE, upload_id, turn)


PROMISE = """
    UPDATE uploads SET finishing = true, promised_id = coalesce(promised_id, $2), expires_at = now() + $3
    WHERE id = $1 AND NOT finishing AND object_id IS NULL AND digest IS NULL AND failed IS NULL
"""


# Longer than any job may take: until then it is finished, or given up.
KEEP_PARTS = """
    UPDATE uploads SET expires_at = greatest(expires_at, now() + interval '8 days')
    WHERE id = ANY((SELECT parts FROM uploads WHERE id = $1)::text[])
"""


async def promise(connection: Connection, upload_id: str, object_id: str | None, *, lifetime: timedelta) -> bool:
    """A worker finishes it, and its parts wait for that. False if that is known, or nothing is left to do."""
    if await connection.execute(PROMISE, upload_id, object_id, lifetime) != "UPDATE 1":
        return False
    await connection.execute(KEEP_PARTS, upload_id)
    return True


UNPROMISE = "UPDATE uploads SET finishing = false, expires_at = now() + $2 WHERE id = $1 AND finishing"


async def unpromise(connection: Connection, upload_id: str, *, lifetime: timedelta) -> None:
    """No worker does: whoever asks for it next may have it finished again."""
    await connection.execute(UNPROMISE, upload_id, lifetime)


FAIL = """
    UPDATE uploads SET finishing = false, failed = $2,
        expires_at = CASE WHEN finishing THEN greatest(expires_at, now() + interval '1 day') ELSE expires_at END
    WHERE id = $1 AND object_id IS NULL AND digest IS NULL
"""


async def fail(connection: Connection, upload_id: str, reason: str) -> None:
    """Nothing becomes of it."""
    await connection.execute(FAIL, upload_id, reason)


PROMISED = """
    SELECT promised_id, failed FROM uploads
    WHERE promised_id = ANY($1::text[]) AND object_id IS NULL AND (finishing OR expires_at > now())
"""


async def promised(connection: Connection, object_ids: Sequence[str]) -> dict[str, str | None]:
    """Those of object_ids of which no objects have become yet; and why, if none will."""
    return {row["promised_id"]: row["failed"] for row in await connection.fetch(PROMISED, object_ids)}


DIRECTED = """
    UPDATE uploads SET direct = coalesce(direct, $2), expires_at = now() + $3,
        signed = signed + coalesce((
            SELECT range_agg(int8range(start, stop)) FROM unnest($4::bigint[], $5::bigint[]) AS span (start, stop)
        ), '{}')
    WHERE id = $1 AND expires_at > now()
    RETURNING direct
"""


async def directed(
    connection: Connection, upload_id: str, parts: str, spans: Sequence[ByteRange], *, lifetime: timedelta
) -> str | None:
    """These bytes of it may be brought to the place itself: there, unless somebody else has begun that elsewhere.

    Returns where; None if there is no such upload any more.
    """
    starts, ends = [one.start for one in spans], [one.end for one in spans]
    found: str | None = await connection.fetchval(DIRECTED, upload_id, parts, lifetime, starts, ends)
    return found


SIZED = "UPDATE uploads SET size = $2 WHERE id = $1 AND size IS NULL"


async def sized(connection: Connection, upload_id: str, size: int) -> None:
    """Its sender knows by now how many bytes there are."""
    await connection.execute(SIZED, upload_id, size)


FINISHED = """
    UPDATE uploads SET object_id = $2, received = $3, size = $3, finishing = false,
        expires_at = CASE WHEN finishing THEN greatest(expires_at, now() + interval '1 day') ELSE expires_at END
    WHERE id = $1
"""


async def finished(connection: Connection, upload_id: str, object_id: str, size: int) -> None:
    """An object has been made of it."""
    await connection.execute(FINISHED, upload_id, object_id, size)


DELETE = "DELETE FROM uploads WHERE id = ANY($1::text[])"


async def delete(connection: Connection, ids: Sequence[str]) -> None:
    await connection.execute(DELETE, ids)


# Of what became an object nobody need be told that it is gone, for it is not: its upload was merely forgotten.
# By the clock that `select` goes by, whatever that of the worker says. Who registers one has it locked, and keeps it.
EXPIRE = """
    WITH gone AS (
        DELETE FROM uploads WHERE id IN (
            SELECT id FROM uploads WHERE expires_at <= now() AND NOT finishing
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        RETURNING id, handle, object_id
    ), noted AS (
        INSERT INTO expired_uploads (id) SELECT id FROM gone WHERE object_id IS NULL ON CONFLICT (id) DO NOTHING
    )
    SELECT handle FROM gone
"""


async def expire(connection: Connection, *, limit: int) -> list[str | None]:
    """Forget uploads that nobody finished or registered in time, at most limit. Returns the handles of their bytes."""
    return [row["handle"] for row in await connection.fetch(EXPIRE, limit)]


HAS_EXPIRED = """
    SELECT EXISTS (SELECT FROM uploads WHERE id = $1 AND expires_at <= now() AND NOT finishing AND object_id IS NULL)
        OR EXISTS (SELECT FROM expired_uploads WHERE id = $1)
"""


async def has_expired(connection: Connection, upload_id: str) -> bool:
    """Whether there was such an upload, not long ago, of which nothing has become."""
    return bool(await connection.fetchval(HAS_EXPIRED, upload_id))


PURGE = "DELETE FROM expired_uploads WHERE expired_at < now() - $1::interval"


async def purge(connection: Connection, *, older_than: timedelta) -> None:
    """Forget that uploads have expired, long ago."""
    await connection.execute(PURGE, older_than)


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
        staged=row["staged"],
        handle=row["handle"],
        tags=msgspec.json.decode(row["tags"], type=dict[str, str]),
        ends_by_size=row["ends_by_size"],
        parts=tuple(row["parts"]) if row["parts"] is not None else None,
        finishing=row["finishing"],
        promised_id=row["promised_id"],
        object_id=row["object_id"],
        failed=row["failed"],
        direct=row["direct"],
        turn=row["turn"],
        metadata=row["metadata"],
        concat=row["concat"],
        wanted=frozenset(row["wanted"]),
        blob=Blob(Digest(row["digest"]), row["blob_size"]) if row["digest"] is not None else None,
    )


@dataclass(frozen=True, slots=True)
class Numbered:
    """An upload in the order in which they were begun."""

    number: int
    started_at: datetime
    upload: Upload


UNFINISHED = """
    SELECT uploads.*, bytes_staged(received, signed) AS staged,
        (SELECT size FROM blobs WHERE blobs.digest = uploads.digest) AS blob_size
    FROM uploads
    WHERE owner_id = $1 AND number > $2 AND object_id IS NULL AND expires_at > now()
    ORDER BY number LIMIT $3
"""


async def unfinished(connection: Connection, owner: str, *, after: int, limit: int) -> list[Numbered]:
    """Uploads of owner that are no object yet, behind the number after."""
    rows = await connection.fetch(UNFINISHED, owner, after, limit)
    return [Numbered(row["number"], row["created_at"], upload(row)) for row in rows]
