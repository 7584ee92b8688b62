"""Rows of blobs that were let go of; triggers write them."""

from datetime import datetime

from drs_service.db.pool import Connection
from drs_service.domain.digest import Digest

SELECT = "SELECT digest FROM releases WHERE released_at < $1 AND digest > $2 ORDER BY digest LIMIT $3"


async def select(connection: Connection, *, before: datetime, after: bytes, limit: int) -> list[Digest]:
    """Blobs released before that time, in the order of the digests, behind after."""
    return [Digest(row["digest"]) for row in await connection.fetch(SELECT, before, after, limit)]


# Whoever adds a reference holds the digest's lock, or a row that refers to it: nobody comes between these two.
WANTED = """
    SELECT EXISTS (SELECT FROM objects WHERE digest = $1) OR EXISTS (SELECT FROM uploads WHERE digest = $1)
"""
SETTLE = "DELETE FROM releases WHERE digest = $1"
FORGET = "DELETE FROM blobs WHERE digest = $1"


async def settle(connection: Connection, digest: Digest) -> bool:
    """Forget the row of a blob that nothing refers to; whether it was so. The caller holds the digest's lock."""
    await connection.execute(SETTLE, digest.raw)
    if await connection.fetchval(WANTED, digest.raw):
        return False
    await connection.execute(FORGET, digest.raw)
    return True
