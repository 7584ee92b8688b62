"""One real PostgreSQL, with a database made from a migrated template for whoever asks."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import asyncpg

from drs_service.db.embedded import EmbeddedPostgres
from drs_service.db.migrate import migrate

TEMPLATE = "template_drs"
# What is lost in a crash of the machine is no loss to a test.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_size": "256MB",
}
MEMORY = Path("/dev/shm")
ROOM = 2 * 1024**3  # bytes: far more than it needs


def memory() -> Path | None:
    """Where to keep it instead of on a disk, if there is room: each test has a database, of hundreds of files."""
    usable = MEMORY.is_dir() and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    return MEMORY if usable and shutil.disk_usage(MEMORY).free >= ROOM else None


class Postgres:
    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._made = 0

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Iterator[Self]:
        server = EmbeddedPostgres(directory, settings=FAST)
        server.start()
        try:
            server.create_database(TEMPLATE)
            migrate(server.url(TEMPLATE))
            yield cls(server)
        finally:
            server.stop()

    @contextmanager
    def database(self, *, template: str = TEMPLATE) -> Iterator[str]:
        """The URL of a database nobody else uses, dropped at the end of the block: hundreds would fill a disk."""
        self._made += 1
        name = f"test_{self._made}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self._server.url(name)
        finally:
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _execute(self, sql: str) -> None:
        # A thread of its own: fixtures ask from inside of event loops as well.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, execute(self._server.url("postgres"), sql)).result()


async def execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
