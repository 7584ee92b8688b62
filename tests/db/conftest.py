"""What the tests of rows, and of what keeps them in memory, stand on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from drs_service.blobs.local import LocalDriver
from drs_service.blobs.store import BlobStore
from drs_service.db.pool import Connection, Database, open_database


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection of somebody else's."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, name="drs-service tests", size=20, statement_cache=100) as database:
        yield database


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BlobStore]:
    store = BlobStore(LocalDriver(tmp_path / "store"), place="primary", max_bytes=1024**3)
    yield store
    await store.close()
