"""How it stands with the places, for the operator."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from drs_service.db import drains, replicas
from drs_service.db.pool import Database
from drs_service.domain.replication import Rule
from drs_service.errors import PlaceUnsuitable
from drs_service.jobs.kinds import ReplicaBacklog, enqueue_once
from drs_service.usecases.health import Health
from drs_service.usecases.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceStatus:
    place: str
    state: str
    """ok, external, what is wrong with it, draining, drained, or that the settings do not know it."""
    copies: int
    bytes: int
    missing: int
    """Blobs that a rule wants there, and that are not."""
    damaged: int
    archived: int
    """Copies that are brought back before they are read, and that nobody verifies."""
    oldest_verification: datetime | None


@dataclass(frozen=True, slots=True)
class Placekeeping:
    database: Database
    places: Places
    rules: Sequence[Rule]

    async def status(self) -> list[PlaceStatus]:
        """Of every place of the settings, and of those that copies are in all the same."""
        faults, known = await asyncio.gather(self._faults(), self._figures())
        async with self.database.connection() as connection:
            draining = await self.places.leaving(connection)
            missing = {
                name: await replicas.count_lacking(connection, name, self.rules)
                for name in self.places.names
                if name not in draining
            }
        found = []
        for name in [*self.places.names, *(name for name in known if name not in self.places.names)]:
            figures = known.get(name)
            store = self.places.get(name)
            well = "external" if store is not None and store.external is not None else "ok"
            state = faults.get(name, "not in the settings") or well
            if name in draining and state == well:
                state = "draining" if figures is not None else "drained"
            found.append(
                PlaceStatus(
                    place=name,
                    state=state,
                    copies=figures.copies if figures is not None else 0,
                    bytes=figures.bytes if figures is not None else 0,
                    missing=missing.get(name, 0),
                    damaged=figures.damaged if figures is not None else 0,
                    archived=figures.archived if figures is not None else 0,
                    oldest_verification=figures.oldest if figures is not None else None,
                )
            )
        return found

    async def add(self, name: str) -> PlaceStatus:
        """See that a place can be used, take it if it is new, and have workers copy to it what the rules want there.

        How it stands then. May be said again. PlaceUnsuitable if the settings do not know it; StoreMismatch,
        StorageUnavailable, StorageFull.
        """
        store = self.places.get(name)
        if store is None:
            raise PlaceUnsuitable(f"There is no place {name} in the settings: give it a name and a URL in DRS_PLACES.")
        await self.places.check(store)
        await store.probe()
        async with self.database.transaction() as connection:
            await drains.delete(connection, name)
            await enqueue_once(connection, ReplicaBacklog())
        [added] = [one for one in await self.status() if one.place == name]
        return added

    async def _faults(self) -> dict[str, str | None]:
        findings = await Health(self.database, self.places.primary, self.places).examine()
        faults = {finding.part: finding.seen or finding.fault for finding in findings}
        others = {store.place: faults[f"storage {store.place}"] for store in self.places.others}
        return {self.places.primary.place: faults["storage"], **others}

    async def _figures(self) -> dict[str, replicas.Figures]:
        async with self.database.connection() as connection:
            return await replicas.figures(connection)
