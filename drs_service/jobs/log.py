"""The queue's log, which PgQueuer never shortens by itself: three rows a job."""

from datetime import timedelta

from drs_service.db.pool import ALL_ROWS_PATIENCE, Connection

PURGE = "DELETE FROM pgqueuer_log WHERE created < now() - $1::interval"


async def purge(connection: Connection, *, older_than: timedelta) -> None:
    await connection.execute(PURGE, older_than, timeout=ALL_ROWS_PATIENCE)
