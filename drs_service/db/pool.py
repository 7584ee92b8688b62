"""Connections to the one Postgres."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from drs_service.db.translate import translating

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool


class Database:
    """A pool of connections. Every error of the driver leaves here as one of ours."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for single statements. DatabaseUnavailable."""
        with translating():
            async with self.pool.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction, committed at the end of the block. DatabaseUnavailable."""
        with translating():
            async with self.pool.acquire() as connection, connection.transaction():
                yield connection


@asynccontextmanager
async def open_database(url: str, *, name: str, size: int, statement_cache: int) -> AsyncIterator[Database]:
    """Connect to url under an application name, with at most size connections.

    statement_cache is how many prepared statements a connection keeps: 0 behind pgbouncer in transaction mode.
    """
    with translating():
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            statement_cache_size=statement_cache,
            # Connections carry no state here: the reset query of every release would only cost a round trip.
            reset=leave_as_is,
            server_settings={"application_name": name},
            timeout=10,
        )
    try:
        yield Database(pool)
    finally:
        await pool.close()


async def leave_as_is(_: object) -> None:
    pass
