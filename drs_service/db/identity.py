"""Which service a database is of."""

from uuid import UUID

from drs_service.db.pool import Connection

IDENTITY = "SELECT id FROM service"


async def identity(connection: Connection) -> UUID:
    """The id that was drawn when the schema was made; it goes with the rows, into every backup."""
    [row] = await connection.fetch(IDENTITY)
    return UUID(str(row["id"]))
