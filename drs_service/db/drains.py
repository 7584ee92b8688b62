"""Rows of places that are being emptied."""

from collections.abc import Sequence

from drs_service.db.pool import Connection

INSERT = "INSERT INTO drains (place) VALUES ($1) ON CONFLICT ON CONSTRAINT drains_pkey DO NOTHING"


async def insert(connection: Connection, place: str) -> None:
    """Nothing is to be written to place any more."""
    await connection.execute(INSERT, place)


DELETE = "DELETE FROM drains WHERE place = $1"


async def delete(connection: Connection, place: str) -> None:
    """It is a place like others again."""
    await connection.execute(DELETE, place)


SELECT = "SELECT place FROM drains ORDER BY place"


async def select(connection: Connection) -> Sequence[str]:
    """All of them."""
    return [row["place"] for row in await connection.fetch(SELECT)]
