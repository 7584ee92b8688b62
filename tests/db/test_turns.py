"""Where a place keeps nobody out, the row of an upload says whose turn it is, and a lock whether he lives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from drs_service.db import changes, uploads
from drs_service.db.pool import Connection, Database
from drs_service.errors import UploadBusy
from drs_service.usecases.turns import Turns
from tests.support.deadline import PATIENCE

LISTENERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'drs-service changes'
        AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')
"""
CUT_OFF = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'drs-service changes'
"""
NEW = """
    INSERT INTO uploads (id, owner_id, space_id, name, file_name, media_type, size, checksums, expires_at)
    VALUES ('u', 'anonymous', 'default', 'n', 'n', 'a/b', 1, '{}', now() + interval '1 hour')
"""


@pytest.fixture
async def turns(database: Database, database_url: str) -> AsyncIterator[Turns]:
    """Of a process that listens, and an upload that it may go on with."""
    turns = Turns(database)
    listening = asyncio.create_task(changes.listen(database_url, turns, new_node=turns.new_node))
    async with database.connection() as connection:
        await connection.execute(NEW)
        await until_listening(connection)
    yield turns
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening


async def until_listening(connection: Connection) -> None:
    async with asyncio.timeout(PATIENCE):
        while await connection.fetchval(LISTENERS) != 1:
            await asyncio.sleep(0.02)


async def test_one_at_a_time(database: Database, turns: Turns) -> None:
    other = Turns(database)
    async with turns.had("u"):
        for who in (turns, other):
            with pytest.raises(UploadBusy):
                async with who.had("u"):
                    pass
    async with other.had("u"):
        pass


async def test_who_lost_his_connection_has_nothing_when_he_has_another(database: Database, turns: Turns) -> None:
    """What it should have let go of while the database was away, it could not."""
    async with turns.had("u"), database.connection() as connection:
        await connection.execute(CUT_OFF)
        await until_listening(connection)
        assert await uploads.take(connection, "u", "1 another")
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT turn FROM uploads") == "1 another"
