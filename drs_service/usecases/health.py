"""Is every part there that an answer may need?"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace

import structlog

from drs_service.blobs.store import BlobStore
from drs_service.db import schema
from drs_service.db.pool import Database
from drs_service.errors import DrsServiceError
from drs_service.usecases.places import Places

log = structlog.get_logger()

PATIENCE = 3.0  # seconds a part may take to answer


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a part; None if nothing is."""

    part: str
    fault: str | None
    needed: bool = True
    """Whether the service can do nothing right while it is wrong."""
    seen: str | None = None
    """The same, with what was seen: for the operator, since it may name paths and hosts."""


class Health:
    def __init__(self, database: Database, store: BlobStore, places: Places | None = None) -> None:
        self._database = database
        self._store = store
        self._places = places or Places(database, store)

    async def examine(self) -> list[Finding]:
        """Look at each part on its own, all at once. Raises nothing."""
        needed = asyncio.gather(
            examine("database", self._ask_database()),
            examine("schema", self._check_schema()),
            examine("storage", self._store.probe()),
        )
        others = asyncio.gather(*(examine(f"storage {one.place}", self._try(one)) for one in self._places.others))
        return [*await needed, *(replace(finding, needed=False) for finding in await others)]

    async def _try(self, store: BlobStore) -> str | None:
        await self._places.check(store)
        return await store.probe()

    async def _ask_database(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute("SELECT 1")

    async def _check_schema(self) -> None:
        async with self._database.connection() as connection:
            await schema.check(connection)


async def examine(part: str, question: Awaitable[str | None]) -> Finding:
    """What question returns is a fault that one can live with."""
    try:
        async with asyncio.timeout(PATIENCE):
            return Finding(part, await question, needed=False)
    except TimeoutError:
        return Finding(part, f"does not answer within {PATIENCE:g} seconds")
    except DrsServiceError as error:
        return Finding(part, f"{error.code}: {error}", seen=f"{error.code}: {error.in_full}")
    except Exception as error:  # whatever it is, it is what is wrong with the part
        log.exception("a part does not answer as it should", part=part)
        return Finding(part, type(error).__name__)
