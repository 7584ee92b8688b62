"""An external place, and what becomes of the files in it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from drs_service.blobs.external import PassedOver
from drs_service.db import objects
from drs_service.db.adoptions import Told, Wanted
from drs_service.domain.objects import DrsObject
from drs_service.jobs.kinds import Adopt
from drs_service.parts import open_enlisting
from drs_service.settings import Settings
from drs_service.usecases.adopting import Adopting
from drs_service.usecases.enlisting import Enlisting, Listing
from tests.places.conftest import Parts
from tests.support.queue import taken


@dataclass(slots=True)
class Adoption:
    """`drs-service adopt`, and a worker that does its jobs."""

    parts: Parts
    settings: Settings
    source: str
    passed: list[PassedOver] = field(default_factory=list)

    async def find(self, below: str = "", *, copy: bool = False, tags: Mapping[str, str] | None = None) -> Listing:
        async with self._enlisting(below) as (enlisting, path):
            wanted = Wanted(
                place=enlisting.place, below=path, copying=copy, owner="anonymous", space="default", tags=tags or {}
            )
            return await enlisting.enlist(wanted, lambda _: None, self.passed.append)

    async def work(self) -> None:
        """Do all jobs that are queued. What the first error is, is raised when all have been tried."""
        adopting = Adopting(self.parts.database, self.parts.places, self.settings.checksums)
        for job in await taken(self.parts.database, Adopt):
            await adopting.adopt(job.place, job.files)

    async def run(self, below: str = "", *, copy: bool = False, tags: Mapping[str, str] | None = None) -> Listing:
        listing = await self.find(below, copy=copy, tags=tags)
        await self.work()
        return listing

    async def told(self, below: str = "") -> dict[str, Told]:
        async with self._enlisting(below) as (enlisting, path):
            return {one.path: one async for one in enlisting.told(path)}

    async def objects(self) -> dict[str, DrsObject]:
        """By path, what was made of the files."""
        told = await self.told()
        async with self.parts.database.connection() as connection:
            rows = await objects.select(connection, [one.object_id for one in told.values() if one.object_id])
        return {path: rows[one.object_id] for path, one in told.items() if one.object_id}

    async def count(self, table: str) -> int:
        async with self.parts.database.connection() as connection:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # of constants

    def _enlisting(self, below: str) -> AbstractAsyncContextManager[tuple[Enlisting, str]]:
        return open_enlisting(self.settings, f"{self.source}/{below}" if below else self.source)
