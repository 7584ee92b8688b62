"""Owners and spaces have limits of their own. Over HTTP there is one of each as yet, so this asks the use case."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from drs_service.db import holdings
from drs_service.db.pool import Database, open_database
from drs_service.domain.limits import Limits
from drs_service.errors import QuotaExceeded, TooManyAtOnce, TooManyRequests, TooManyUploads
from drs_service.usecases.limiting import Limiting, Room
from drs_service.usecases.turns import Interruption

HELD = "INSERT INTO holding_changes (owner_id, space_id, kept, staged, uploads) VALUES ($1, $2, $3, $4, $5)"
PIECE = b"x" * 100


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, name="drs-service tests", size=4, statement_cache=100) as database:
        async with database.connection() as connection:
            await connection.execute(HELD, "ada", "default", 60, 10, 3)
            await connection.execute(HELD, "bob", "default", 20, 0, 1)
            await connection.execute(HELD, "bob", "lab", 5, 0, 0)
        yield database


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield PIECE


async def test_every_owner_has_a_quota_of_his_own(database: Database) -> None:
    limiting = Limiting(database, Limits(bytes_of_owner=100))
    assert await limiting.room("ada", "default", size=30) == Room(30)
    assert await limiting.room("bob", "default", size=75) == Room(75)
    assert await limiting.room("eve", "default", size=None) == Room(100)
    with pytest.raises(QuotaExceeded, match="room for 30 more bytes, not for 31"):
        await limiting.room("ada", "default", size=31)
    with pytest.raises(QuotaExceeded):
        await limiting.room("ada", "lab", size=31)


async def test_every_space_has_a_quota_of_its_own(database: Database) -> None:
    limiting = Limiting(database, Limits(bytes_of_space=100))
    assert await limiting.room("eve", "default", size=10) == Room(10)
    assert await limiting.room("eve", "lab", size=95) == Room(95)
    with pytest.raises(QuotaExceeded):
        await limiting.room("eve", "default", size=11)


async def test_who_has_too_much_may_still_send_nothing(database: Database) -> None:
    limiting = Limiting(database, Limits(bytes_of_owner=10))
    assert (await limiting.room("ada", "default", size=0)).left == -60
    with pytest.raises(QuotaExceeded, match="room for 0 more bytes"):
        await limiting.room("ada", "default", size=1)
    async with database.connection() as connection:
        with pytest.raises(QuotaExceeded):
            await limiting.check(connection, "ada", "lab")
        await limiting.check(connection, "eve", "default")


async def test_unfinished_uploads_are_counted_for_each_owner(database: Database) -> None:
    limiting = Limiting(database, Limits(unfinished_uploads=4))
    await limiting.room("ada", "default", size=None, uploads=1)
    await limiting.room("bob", "default", size=None, uploads=3)
    with pytest.raises(TooManyUploads, match="There are 3 unfinished uploads") as caught:
        await limiting.room("ada", "lab", size=None, uploads=2)
    assert caught.value.facts == {"retry_after": 60}
    await limiting.room("ada", "default", size=10**12)  # of what is there already more may come


async def test_what_has_no_limit_asks_nobody(database: Database) -> None:
    await database.pool.close()
    limiting = Limiting(database, Limits(unfinished_uploads=4, uploads_at_once=1))
    assert await limiting.room("ada", "default", size=1) == Room(None)
    source = pieces(1)
    assert limiting.metered("ada", source, Room(None)) is source


async def test_who_reads_very_many_changes_folds_them(database: Database) -> None:
    async with database.connection() as connection:
        for _ in range(holdings.FOLD_AT):
            await connection.execute(HELD, "ada", "default", 1, 0, 0)
    limiting = Limiting(database, Limits(bytes_of_owner=2000))
    for _ in range(2):
        assert (await limiting.room("ada", "default", size=0)).left == 2000 - 70 - holdings.FOLD_AT
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM holding_changes WHERE owner_id = 'ada'") == 1


async def test_a_source_ends_at_the_first_byte_that_has_no_room(database: Database) -> None:
    limiting = Limiting(database)
    room = Room(250)
    assert [piece async for piece in limiting.metered("ada", pieces(2), room)] == [PIECE, PIECE]
    metered = aiter(limiting.metered("ada", pieces(1), room))
    assert await anext(metered) == PIECE[:50]
    with pytest.raises(QuotaExceeded):
        await anext(metered)
    assert room.left == 0


async def test_requests_of_one_owner_do_not_slow_another_down(database: Database) -> None:
    clock = Clock()
    limiting = Limiting(database, Limits(requests_per_minute=2), clock=clock)
    for owner in ("ada", "bob", "ada", "bob"):
        with limiting.admitted(owner):
            pass
    with pytest.raises(TooManyRequests) as caught, limiting.admitted("ada"):
        pass
    assert caught.value.facts == {"retry_after": 30}
    clock.now += 29.5
    with pytest.raises(TooManyRequests) as caught, limiting.admitted("ada"):
        pass
    assert caught.value.facts == {"retry_after": 1}
    clock.now += 0.5
    with limiting.admitted("ada"):
        pass


async def test_a_place_is_free_again_however_its_upload_ended(database: Database) -> None:
    limiting = Limiting(database, Limits(uploads_at_once=1))
    with pytest.raises(ZeroDivisionError), limiting.admitted("ada"):
        with pytest.raises(TooManyAtOnce) as caught, limiting.admitted("bob"):
            pass
        assert caught.value.facts == {"retry_after": 1}
        raise ZeroDivisionError
    with limiting.admitted("bob"):
        pass


async def test_a_call_for_the_turn_ends_the_wait_for_the_pace(database: Database) -> None:
    limiting = Limiting(database, Limits(bytes_per_second=1))
    interruption = Interruption()
    metered = aiter(limiting.metered("ada", pieces(2), Room(None), interruption))
    assert await anext(metered) == PIECE
    waiting = asyncio.ensure_future(anext(metered))  # for 99 seconds
    await asyncio.sleep(0)
    assert not waiting.done()
    interruption.call()
    assert await asyncio.wait_for(waiting, 5) == PIECE
