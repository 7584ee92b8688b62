"""Rows of blobs and of their replicas."""

from collections.abc import Collection, Sequence

from drs_service.db.pool import ALL_ROWS_PATIENCE, Connection
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.domain.digest import Digest

# Most take their digests, and all of them together only shared. Whoever has more than FEW takes all alone: the locks
# of every transaction share one table of limited size.
FEW = 32
LOCK_FEW = """
    WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', $1, true)),
    everything AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(0, 0) FROM patience)
    SELECT pg_advisory_xact_lock(key) FROM everything, unnest($2::bigint[]) AS key
"""
LOCK_EVERYTHING = """
    WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', $1, true))
    SELECT pg_advisory_xact_lock(0, 0) FROM patience
"""
PATIENCE = 30.0  # seconds for a lock; set in the statement that takes it, for that saves a round trip


async def lock(connection: Connection, digests: Sequence[Digest]) -> None:
    """Hold the digests until the transaction ends: nobody else adds or sweeps them meanwhile. DatabaseUnavailable.

    The lock is on the first 64 bits of a digest; two that share them merely wait for each other.
    """
    keys = keys_of(digests)
    timeout = PATIENCE + 10  # the driver's own must not come before PostgreSQL's
    if len(keys) <= FEW:
        await connection.execute(LOCK_FEW, patience(), keys, timeout=timeout)
    else:
        await connection.execute(LOCK_EVERYTHING, patience(), timeout=timeout)


# Those that come after one that is not to be had are asked for as well: the end of the transaction lets go of all.
LOCK_AT_ONCE = """
    WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', $1, true)),
    everything AS MATERIALIZED (SELECT pg_try_advisory_xact_lock_shared(0, 0) AS had FROM patience)
    SELECT bool_and(had AND pg_try_advisory_xact_lock(key)) FROM everything, unnest($2::bigint[]) AS key
"""


async def lock_at_once(connection: Connection, digests: Sequence[Digest]) -> bool:
    """The same of no more than FEW, unless somebody else has one of them: False then, and the transaction is to end."""
    return bool(await connection.fetchval(LOCK_AT_ONCE, patience(), keys_of(digests)))


def keys_of(digests: Sequence[Digest]) -> list[int]:
    return sorted({int.from_bytes(digest.raw[:8], signed=True) for digest in digests})  # one order: no deadlock


def patience() -> str:
    return f"{PATIENCE * 1000:.0f}ms"


INSERT = """
    INSERT INTO blobs (digest, size)
    SELECT digest, size FROM unnest($1::bytea[], $2::bigint[]) AS new (digest, size)
    ON CONFLICT ON CONSTRAINT blobs_pkey DO NOTHING RETURNING digest
"""
# Of those that conflict only the bad ones change, and come back.
INSERT_REPLICAS = """
    INSERT INTO replicas (digest, place, key)
    SELECT digest, $1, key FROM unnest($2::bytea[], $3::text[]) AS new (digest, key)
    ON CONFLICT ON CONSTRAINT replicas_pkey DO UPDATE SET
        verified_at = now(), damaged_at = NULL, damage = NULL, archived_at = NULL, restored_until = NULL
    WHERE replicas.damaged_at IS NOT NULL
    RETURNING digest, verified_at IS NOT NULL AS was_bad
"""


async def insert(
    connection: Connection, place: str, kept: Sequence[tuple[Blob, str]]
) -> tuple[list[Digest], set[Digest]]:
    """Record blobs that are durable in place under their keys. Those already recorded stay as they are.

    Returns those that were not recorded before, and those whose copy in place was known to be bad until now: the caller
    makes it good before the transaction ends.
    """
    keys = {blob: key for blob, key in kept}
    new = await insert_alone(connection, list(keys))
    copies = await connection.fetch(INSERT_REPLICAS, place, [blob.digest.raw for blob in keys], list(keys.values()))
    return new, {Digest(row["digest"]) for row in copies if row["was_bad"]}


async def insert_alone(connection: Connection, kept: Collection[Blob]) -> list[Digest]:
    """The same without their copies. Returns those that were not recorded before."""
    rows = await connection.fetch(INSERT, [blob.digest.raw for blob in kept], [blob.size for blob in kept])
    return [Digest(row["digest"]) for row in rows]


INSERT_CHECKSUMS = """
    INSERT INTO checksums (digest, algorithm, value) SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[])
    ON CONFLICT ON CONSTRAINT checksums_pkey DO NOTHING
"""


async def insert_checksums(connection: Connection, digest: Digest, read: Sequence[Checksum]) -> None:
    """Record what was worked out from the bytes of a blob that is recorded."""
    names, values = [one.algorithm for one in read], [one.value for one in read]
    await connection.execute(INSERT_CHECKSUMS, [digest.raw] * len(names), names, values)


CHECKSUMS = "SELECT digest, algorithm, value FROM checksums WHERE digest = ANY($1::bytea[])"


async def checksums(connection: Connection, digests: Sequence[Digest]) -> dict[Digest, dict[str, str]]:
    """What was worked out from the bytes of these blobs besides SHA-256: values by algorithm."""
    found: dict[Digest, dict[str, str]] = {digest: {} for digest in digests}
    for row in await connection.fetch(CHECKSUMS, [digest.raw for digest in digests]):
        found[Digest(row["digest"])][row["algorithm"]] = row["value"]
    return found


LACKING = """
    SELECT digest FROM blobs WHERE digest > $2 AND EXISTS (
        SELECT FROM unnest($1::text[]) AS wanted (algorithm)
        WHERE NOT EXISTS (SELECT FROM checksums WHERE digest = blobs.digest AND algorithm = wanted.algorithm)
    ) AND EXISTS (SELECT FROM replicas WHERE replicas.digest = blobs.digest AND archived_at IS NULL)
    ORDER BY digest LIMIT $3
"""


async def lacking(connection: Connection, algorithms: Sequence[str], *, after: str, limit: int) -> list[Digest]:
    """Blobs behind a digest in hexadecimal of which a checksum was not worked out, and that do not all lie in archives:
    nothing is brought back for that.
    """
    rows = await connection.fetch(LACKING, algorithms, bytes.fromhex(after), limit, timeout=ALL_ROWS_PATIENCE)
    return [Digest(row["digest"]) for row in rows]


SIZES = "SELECT digest, size FROM blobs WHERE digest = ANY($1::bytea[])"


async def sizes(connection: Connection, digests: Sequence[Digest]) -> dict[Digest, int]:
    """Bytes of those of the digests that have a row."""
    rows = await connection.fetch(SIZES, [digest.raw for digest in digests])
    return {Digest(row["digest"]): row["size"] for row in rows}


KNOWN = "SELECT digest FROM blobs WHERE digest = ANY($1::bytea[])"


async def known(connection: Connection, digests: Sequence[Digest]) -> set[Digest]:
    """Those of the digests that have a row."""
    return {Digest(row["digest"]) for row in await connection.fetch(KNOWN, [digest.raw for digest in digests])}
