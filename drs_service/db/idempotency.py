"""Rows of idempotency keys: what was done under a key is not done again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from drs_service.db.pool import Connection

CLAIM = """
    INSERT INTO idempotency_keys (principal_id, key, request_digest, object_ids) VALUES ($1, $2, $3, $4)
    ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO NOTHING
    RETURNING key
"""
SELECT = "SELECT request_digest, object_ids FROM idempotency_keys WHERE principal_id = $1 AND key = $2"


@dataclass(frozen=True, slots=True)
class Done:
    """What was done under a key before."""

    request_digest: bytes
    object_ids: Sequence[str]


async def claim(
    connection: Connection, principal_id: str, key: str, request_digest: bytes, object_ids: Sequence[str]
) -> Done | None:
    """Take the key for this transaction; or else what was done under it. Waits for another that has just taken it."""
    while await connection.fetchval(CLAIM, principal_id, key, request_digest, object_ids) is None:
        row = await connection.fetchrow(SELECT, principal_id, key)
        if row is not None:
            return Done(row["request_digest"], row["object_ids"])
    return None


PURGE = "DELETE FROM idempotency_keys WHERE created_at < now() - $1::interval"


async def purge(connection: Connection, *, older_than: timedelta) -> None:
    await connection.execute(PURGE, older_than)
