"""The one clock that all processes of the service share: each machine has another."""

from datetime import datetime

from drs_service.db.pool import Connection


async def now(connection: Connection) -> datetime:
    found: datetime = await connection.fetchval("SELECT now()")
    return found
