"""Rows of nodes, by which they know of each other, and of what they say to each other to be believed."""

from drs_service.db.pool import Connection

# Seconds. A node says every few seconds that it lives. One that has not for DEAD holds no tunnel; one that has not for
# FORGOTTEN is no node any more: when the database was away for a while, none of them has died of that.
DEAD = 10
FORGOTTEN = 60
CALL = 30  # for which what one says to another is good

SEEN = """
    INSERT INTO nodes (id, address) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET address = excluded.address, seen_at = now()
"""


async def seen(connection: Connection, node_id: str, address: str) -> None:
    """It is there."""
    await connection.execute(SEEN, node_id, address)


# What it held nobody holds from then on, by the foreign key.
DELETE = "DELETE FROM nodes WHERE id = $1"


async def delete(connection: Connection, node_id: str) -> None:
    await connection.execute(DELETE, node_id)


FORGET = f"""
    DELETE FROM nodes WHERE id IN (
        SELECT id FROM nodes WHERE seen_at < now() - interval '{FORGOTTEN} seconds' FOR UPDATE SKIP LOCKED
    )
"""  # noqa: S608  # of constants


async def forget(connection: Connection) -> None:
    """Those that are no more."""
    await connection.execute(FORGET)


CALLING = f"""
    INSERT INTO node_calls (hash, to_node, answer, expires_at)
    SELECT $1, id, $3, now() + interval '{CALL} seconds' FROM nodes WHERE id = $2
"""  # noqa: S608  # of constants


async def call(connection: Connection, token: bytes, to_node: str, answer: str) -> None:
    """Who shows what token is the hash of speaks to that node, and is answered so. If there is none, nobody is."""
    await connection.execute(CALLING, token, to_node, answer)


ANSWER = """
    DELETE FROM node_calls WHERE hash = $1 AND to_node = $2 AND expires_at > now() RETURNING answer
"""


async def answer(connection: Connection, token: bytes, to_node: str) -> str | None:
    """What to answer, once."""
    found: str | None = await connection.fetchval(ANSWER, token, to_node)
    return found


PURGE = "DELETE FROM node_calls WHERE expires_at < now()"


async def purge(connection: Connection) -> None:
    """Forget what nobody has answered in time."""
    await connection.execute(PURGE)
