"""Connections to the one Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from drs_service.db.translate import connecting, translating
from drs_service.errors import DatabaseUnavailable

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

log = structlog.get_logger()

# Seconds. Nothing waits for a database without a limit.
CONNECT_PATIENCE = 10.0
ACQUIRE_PATIENCE = 10.0
TRANSACTION_PATIENCE = 30.0  # longer than for a connection: an upload that comes to here has sent all its bytes
COMMAND_PATIENCE = 30.0
ALL_ROWS_PATIENCE = 600.0  # for one that looks at all rows of a large table
CLOSE_PATIENCE = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How many connections there are."""

    open: int
    in_use: int


class Database:
    """A pool of at most size connections. Every error of the driver leaves here as one of ours.

    What the caller's own block raises leaves as it is, except for a TimeoutError: see `translating`.
    """

    def __init__(self, pool: Pool, *, size: int) -> None:
        self.pool = pool
        # A transaction may wait for another's lock: those that do must leave connections for reads.
        self._transactions = asyncio.Semaphore(max(1, size // 2))

    def usage(self) -> Usage:
        open_now = self.pool.get_size()
        return Usage(open=open_now, in_use=open_now - self.pool.get_idle_size())

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for single statements. DatabaseUnavailable, DatabaseRefused."""
        with translating():
            with connecting():
                connection = await self.pool.acquire(timeout=ACQUIRE_PATIENCE)
            try:
                yield connection
            finally:
                await self.pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction, committed at the end of the block. DatabaseUnavailable, DatabaseRefused.

        One transaction must not begin another: there may be no room for it.
        """
        await self._begin()
        try:
            async with self.connection() as connection, connection.transaction():
                yield connection
        finally:
            self._transactions.release()

    async def _begin(self) -> None:
        """Wait for room among the transactions."""
        with translating():
            async with asyncio.timeout(TRANSACTION_PATIENCE):
                await self._transactions.acquire()


@asynccontextmanager
async def open_database(url: str, *, name: str, size: int, statement_cache: int) -> AsyncIterator[Database]:
    """Be ready to connect to url under an application name, with at most size connections.

    statement_cache is how many prepared statements a connection keeps: 0 behind pgbouncer in transaction mode.
    """
    with connecting():
        pool = await asyncpg.create_pool(
            url,
            min_size=0,  # connect when first asked: what is wrong then is said by whoever asks
            max_size=size,
            statement_cache_size=statement_cache,
            # Connections carry no state here: the reset query of every release would only cost a round trip.
            reset=leave_as_is,
            server_settings={"application_name": name},
            timeout=CONNECT_PATIENCE,
            command_timeout=COMMAND_PATIENCE,
        )
    try:
        yield Database(pool, size=size)
    finally:
        with suppress(TimeoutError):  # a server that has gone silent does not say goodbye
            await asyncio.wait_for(pool.close(), CLOSE_PATIENCE)


async def wait_for(url: str, *, patience: float) -> None:
    """Return when the database at url lets us in. DatabaseRefused at once, DatabaseUnavailable after patience seconds.

    A database and its service are often started together: that it does not answer yet is no fault.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            with connecting():
                connection = await asyncpg.connect(url, timeout=CONNECT_PATIENCE, statement_cache_size=0)
            connection.terminate()
            return
        except DatabaseUnavailable as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            log.warning("waiting for the database", **error.facts)
        await asyncio.sleep(1)


async def leave_as_is(_: object) -> None:
    pass
