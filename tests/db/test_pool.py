"""Nothing waits for the database without a limit, and what goes wrong with it is told apart."""

import asyncio
import errno
from collections.abc import AsyncIterator

import asyncpg
import pytest

from drs_service.db import objects, pool
from drs_service.db.migrate import migrate
from drs_service.db.pool import Connection, Database, open_database, wait_for
from drs_service.errors import DatabaseRefused, DatabaseUnavailable
from tests.support.rows import new_object, record

SOON = 5.0  # seconds: less than any patience


@pytest.fixture
async def small(database_url: str) -> AsyncIterator[Database]:
    """Four connections, hence two transactions at a time."""
    async with open_database(database_url, name="small", size=4, statement_cache=0) as database:
        yield database


async def test_a_statement_takes_so_long_and_no_longer(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "COMMAND_PATIENCE", 0.1)
    async with open_database(database_url, name="slow", size=2, statement_cache=0) as database:
        with pytest.raises(DatabaseUnavailable):
            async with asyncio.timeout(SOON), database.connection() as connection:
                await connection.execute("SELECT pg_sleep(60)")
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_connection_is_waited_for_so_long_and_no_longer(
    small: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "ACQUIRE_PATIENCE", 0.1)
    async with small.connection(), small.connection(), small.connection(), small.connection():
        with pytest.raises(DatabaseUnavailable):
            async with asyncio.timeout(SOON), small.connection():
                pass
    async with small.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_transactions_leave_half_of_the_connections_to_others(
    small: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "TRANSACTION_PATIENCE", 0.1)
    async with small.transaction(), small.transaction():
        with pytest.raises(DatabaseUnavailable):
            async with asyncio.timeout(SOON), small.transaction():
                pass
        async with asyncio.timeout(SOON), small.connection() as one, small.connection() as other:
            assert await one.fetchval("SELECT 1") == await other.fetchval("SELECT 1")
    async with asyncio.timeout(SOON), small.transaction():
        pass


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ConnectionResetError(), LookupError(), ValueError()])
async def test_an_error_of_the_block_leaves_as_it_is(database: Database, error: Exception) -> None:
    for begin in (database.connection, database.transaction):
        with pytest.raises(type(error)) as caught:
            async with begin():
                raise error
        assert caught.value is error


async def test_of_two_that_wait_for_each_other_one_may_try_again(database: Database) -> None:
    """As when the same blobs are let go of in two orders: the row of a release is one for all."""
    contents = {name: name[0].encode() for name in ("a1", "b1", "a2", "b2")}
    new = {name: new_object(content) for name, content in contents.items()}
    async with database.transaction() as connection:
        await record(connection, *new.values())
    both = asyncio.Barrier(2)

    async def delete(first: str, second: str) -> None:
        async with database.transaction() as connection:
            await objects.delete(connection, [new[first].id])
            await both.wait()
            await objects.delete(connection, [new[second].id])

    outcomes = await asyncio.gather(delete("a1", "b1"), delete("b2", "a2"), return_exceptions=True)
    assert [type(one) for one in outcomes if one is not None] == [DatabaseUnavailable]
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM objects") == 2


async def test_a_connection_that_breaks_is_no_error_of_the_system(database: Database, connection: Connection) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as broken:
            pid = await broken.fetchval("SELECT pg_backend_pid()")
            await connection.execute("SELECT pg_terminate_backend($1)", pid)
            await broken.fetchval("SELECT 1")


async def ask(url: str) -> None:
    async with open_database(url, name="refused", size=2, statement_cache=0) as database, database.connection():
        pass


@pytest.mark.parametrize("how", ["an absent database", "an unknown user", "no URL", "no port"])
async def test_a_database_that_refuses_is_not_waited_for(database_url: str, how: str) -> None:
    url = {
        "an absent database": database_url.replace("/test_", "/absent_"),
        "an unknown user": database_url.replace("postgres@", "stranger@"),
        "no URL": "mysql://localhost/drs",
        "no port": "postgresql://me:secret@localhost:port/drs",
    }[how]
    async with asyncio.timeout(SOON):
        with pytest.raises(DatabaseRefused) as refused:
            await wait_for(url, patience=60)
        with pytest.raises(DatabaseRefused):
            await ask(url)
        with pytest.raises(DatabaseRefused):
            await asyncio.to_thread(migrate, url)
    assert refused.value.facts["reason"]
    assert "secret" not in str(refused.value.facts)


async def test_no_right_to_connect_is_a_refusal(database_url: str, connection: Connection) -> None:
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"CREATE ROLE {name} LOGIN; REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    try:
        with pytest.raises(DatabaseRefused):
            await wait_for(database_url.replace("postgres@", f"{name}@"), patience=60)
    finally:
        await connection.execute(f"DROP ROLE {name}")


async def test_a_database_that_does_not_answer_is_waited_for(unused_tcp_port: int) -> None:
    url = f"postgresql://localhost:{unused_tcp_port}/drs"
    with pytest.raises(DatabaseUnavailable):
        await wait_for(url, patience=0.1)


def test_the_driver_still_says_what_we_go_by() -> None:
    assert issubclass(asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)
    assert not issubclass(asyncpg.PostgresConnectionError, OSError)
