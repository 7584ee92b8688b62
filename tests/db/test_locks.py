"""The lock on a digest, however many digests there are."""

import asyncio

import pytest

from drs_service.db import blobs
from drs_service.db.pool import Database
from drs_service.domain.digest import Digest
from drs_service.errors import DatabaseUnavailable


def digests(count: int) -> list[Digest]:
    return [Digest(number.to_bytes(2) + bytes(30)) for number in range(count)]


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 1000), (1000, 1), (1000, 1000)])
async def test_whoever_comes_second_waits_for_the_first(database: Database, first: int, second: int) -> None:
    waited = asyncio.Event()

    async def hold() -> None:
        async with database.transaction() as connection:
            await blobs.lock(connection, digests(second))
            waited.set()

    async with database.transaction() as connection:
        await blobs.lock(connection, digests(first))
        holding = asyncio.create_task(hold())
        async with asyncio.timeout(10), database.connection() as other:
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                await asyncio.sleep(0.01)
        assert not waited.is_set()
    await holding
    assert waited.is_set()


async def test_those_with_other_digests_do_not_wait(database: Database) -> None:
    one, other = digests(2)
    async with database.transaction() as first, database.transaction() as second, asyncio.timeout(10):
        await blobs.lock(first, [one])
        await blobs.lock(second, [other])


async def test_many_digests_take_few_locks(database: Database) -> None:
    async with database.transaction() as connection:
        await blobs.lock(connection, digests(5000))
        ours = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        assert await connection.fetchval(ours) == 1


@pytest.mark.parametrize("count", [1, 1000])
async def test_a_lock_is_not_waited_for_without_end(
    database: Database, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(blobs, "PATIENCE", 0.1)
    async with database.transaction() as connection:
        await blobs.lock(connection, digests(1000))
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            async with asyncio.timeout(5), database.transaction() as other:
                await blobs.lock(other, digests(count))
    async with database.connection() as unlimited:  # the limit was the transaction's alone
        assert await unlimited.fetchval("SELECT current_setting('lock_timeout')") == "0"
