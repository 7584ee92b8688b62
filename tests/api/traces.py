"""What a request has left in the store and in the database, seen behind the service's back."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg

from drs_service.settings import Settings
from tests.support.deadline import PATIENCE, POLL, until

TABLES = ("blobs", "replicas", "objects")  # those that an upload writes to


def store(settings: Settings) -> Path:
    """The directory of the local store."""
    assert settings.storage_url is not None
    return Path(unquote(urlsplit(settings.storage_url).path))


def blob_file(settings: Settings, content: bytes) -> Path:
    """Where the store keeps content."""
    name = hashlib.sha256(content).hexdigest()
    return store(settings) / "sha256" / name[:2] / name[2:4] / name


def blob_files(settings: Settings) -> set[Path]:
    return {path for path in (store(settings) / "sha256").rglob("*") if path.is_file()}


def staged_files(settings: Settings) -> list[Path]:
    return [path for path in (store(settings) / "staging").glob("*/*") if path.is_file()]


async def query(settings: Settings, sql: str, *arguments: object) -> list[asyncpg.Record]:
    assert settings.database_url is not None
    connection = await asyncpg.connect(settings.database_url.reveal())
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        await connection.close()


async def rows(settings: Settings) -> dict[str, int]:
    """How many rows each of the TABLES has."""
    counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in TABLES)
    [record] = await query(settings, f"SELECT {counts}")
    return dict(record)


@asynccontextmanager
async def nothing_stored(settings: Settings) -> AsyncIterator[None]:
    """What happens in the block leaves no trace, at its end or soon after: the answer may come before the cleaning."""
    files, counts = blob_files(settings), await rows(settings)
    yield
    await until(lambda: not staged_files(settings) and blob_files(settings) == files)
    assert await rows(settings) == counts


def open_descriptors(path: Path) -> int:
    """How many descriptors of this process, and so of the service in it, are open on a file."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += os.path.samestat(descriptor.stat(), path.stat())
        except FileNotFoundError:
            continue
    return count


async def until_known(fact: Callable[[], Awaitable[bool]]) -> None:
    """Return when what fact finds out is true."""
    async with asyncio.timeout(PATIENCE):
        while not await fact():
            await asyncio.sleep(POLL)
