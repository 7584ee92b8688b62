"""The jobs of the service, for whoever watches them, and for the operator who decides what becomes of the dead."""

from collections.abc import Sequence
from dataclasses import dataclass

from drs_service.db.pool import Database
from drs_service.errors import JobNotFound
from drs_service.jobs import listing, workers
from drs_service.jobs.listing import Listed, Scheduled, State
from drs_service.jobs.workers import Worker
from drs_service.usecases.numbered_pages import make_token, read_token

MARK = b"j1:"


@dataclass(frozen=True, slots=True)
class Page:
    jobs: Sequence[Listed]
    next_token: str | None
    """None at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that an operator sees at a glance."""

    workers: Sequence[Worker]
    schedules: Sequence[Scheduled]
    jobs: Sequence[Listed]
    more: bool
    """There are jobs behind these."""


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, *, state: State | None, kind: str | None, size: int, token: str | None) -> Page:
        """Jobs in the order in which they were added. PageInvalid."""
        after = read_token(MARK, token) if token is not None else 0
        async with self._database.connection() as connection:
            # One more than asked for tells whether there is a next page.
            found = await listing.page(connection, state=state, kind=kind, after=after, limit=size + 1)
        return Page(found[:size], make_token(MARK, found[size - 1].id) if len(found) > size else None)

    async def overview(self, *, state: State | None, kind: str | None, limit: int) -> Overview:
        """What runs comes first, then the dead."""
        async with self._database.connection() as connection:
            found: list[Listed] = []
            for one in [state] if state else [State.RUNNING, State.DEAD, State.QUEUED, State.SCHEDULED]:
                left = limit + 1 - len(found)
                found += await listing.page(connection, state=one, kind=kind, after=0, limit=left)
            return Overview(
                workers=await workers.seen(connection),
                schedules=await listing.schedules(connection),
                jobs=found[:limit],
                more=len(found) > limit,
            )

    async def requeue(self, ids: Sequence[int] | None) -> Sequence[int]:
        """Do jobs that were given up once more, all of them or none; None: whatever there is. JobNotFound."""
        async with self._database.transaction() as connection:
            return found(await listing.requeue(connection, ids), ids)

    async def forget(self, ids: Sequence[int] | None) -> Sequence[int]:
        """Forget jobs that were given up, all of them or none; None: whatever there is. JobNotFound."""
        async with self._database.transaction() as connection:
            return found(await listing.forget(connection, ids), ids)

    async def workers(self) -> Sequence[Worker]:
        """Those that work."""
        async with self._database.connection() as connection:
            return await workers.seen(connection)


def found(there: Sequence[int], wanted: Sequence[int] | None) -> Sequence[int]:
    missing = set(wanted or ()) - set(there)
    if missing:
        raise JobNotFound(f"No job {', '.join(map(str, sorted(missing)))} was given up.")
    return there
