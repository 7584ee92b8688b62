"""Files in an external place are found, and workers are told to make objects of them.

    unknown, or other than it was     found: a job adopts it
    found before, not adopted yet     its job is still queued
    failed before                     found again
    adopted, and as it was            nothing
    the same, without a copy          found again, unless its object was deleted

A file and its job are noted in one transaction: whoever is killed here begins again, and what was noted goes on.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from drs_service.blobs.external import ExternalFiles, PassedOver
from drs_service.db import adoptions, drains
from drs_service.db.adoptions import Noted, Told, Wanted
from drs_service.db.pool import Database
from drs_service.domain.paths import spelled
from drs_service.domain.places import PlaceSaid, overlap, path_within
from drs_service.errors import PlaceUnsuitable
from drs_service.jobs import workers
from drs_service.jobs.kinds import Adopt, enqueue_all, kind_of

PAGE = 500  # files noted by one transaction
MOST_FILES = 200  # of one job
MOST_BYTES = 64 * 1024**2  # of one job, unless a single file has more


@dataclass(frozen=True, slots=True)
class Listing:
    """What has been found so far."""

    found: int = 0
    bytes: int = 0
    wanted: int = 0
    """Those of which a job makes objects."""
    waiting: int = 0
    """Those of which a job was to make one already."""
    passed_over: int = 0
    missed: int = 0
    """Passed over though there may be files."""


class Enlisting:
    def __init__(self, database: Database, place: str, files: ExternalFiles) -> None:
        self.place = place
        self._database = database
        self._files = files

    async def enlist(
        self, wanted: Wanted, told: Callable[[Listing], None], passed: Callable[[PassedOver], None]
    ) -> Listing:
        """Find all files below a path. told hears how far that is, passed what was no file.

        PlaceUnsuitable if there is nothing, or it cannot be adopted as is wanted. StorageUnavailable.
        """
        number = await self._begin(wanted)
        listing = Listing()
        page: dict[str, Noted] = {}  # what is renamed meanwhile may be listed twice
        try:
            async for one in self._files.files(wanted.below):
                if isinstance(one, PassedOver):
                    passed(one)
                    listing = replace(
                        listing, passed_over=listing.passed_over + 1, missed=listing.missed + int(one.wrong)
                    )
                    continue
                page[one.path] = Noted(one.path, one.size, one.stamp)
                if len(page) == PAGE:
                    listing = await self._note(number, listing, list(page.values()))
                    told(listing)
                    page = {}
        except KeyError as error:
            raise PlaceUnsuitable(f"There is nothing at this path of {self.place}: {wanted.below!r}.") from error
        listing = await self._note(number, listing, list(page.values()))
        if not listing.found and not listing.passed_over:
            raise PlaceUnsuitable(f"There is no file at this path of {self.place}: {wanted.below!r}.")
        async with self._database.transaction() as connection:
            await adoptions.listed(connection, number)
        return listing

    async def _begin(self, wanted: Wanted) -> int:
        async with self._database.transaction() as connection:
            if not wanted.copying and self.place in await drains.select(connection):
                raise PlaceUnsuitable(f"{self.place} is being emptied.")
            number = await adoptions.begin(connection, wanted)
        if number is None:
            raise PlaceUnsuitable(f"There is no space {wanted.space!r}.")
        return number

    async def _note(self, number: int, listing: Listing, page: Sequence[Noted]) -> Listing:
        async with self._database.transaction() as connection:
            new, waiting = await adoptions.enlist(connection, number, self.place, page)
            await enqueue_all(connection, [Adopt(self.place, tuple(ids)) for ids in bundled(new)])
        return replace(
            listing,
            found=listing.found + len(page),
            bytes=listing.bytes + sum(one.size for one in page),
            wanted=listing.wanted + len(new),
            waiting=listing.waiting + waiting,
        )

    async def left(self, below: str) -> tuple[int, int]:
        """Files that wait to be adopted, and their bytes."""
        async with self._database.connection() as connection:
            return await adoptions.left(connection, self.place, below)

    async def is_worked_on(self) -> bool:
        """Whether there is a worker that adopts."""
        async with self._database.connection() as connection:
            return any(kind_of(Adopt) in one.kinds for one in await workers.seen(connection))

    async def tally(self, below: str) -> dict[str, int]:
        """How many files are found, adopted and failed."""
        async with self._database.connection() as connection:
            return await adoptions.tally(connection, self.place, below)

    async def told(self, below: str, *, state: str | None = None) -> AsyncIterator[Told]:
        """Every file, and what has become of it."""
        after = 0
        while True:
            async with self._database.connection() as connection:
                page = await adoptions.page(connection, self.place, below, state=state, after=after, limit=PAGE)
            for one in page:
                yield one
            if len(page) < PAGE:
                return
            after = page[-1].id


def bundled(files: Iterable[tuple[int, int]]) -> list[list[int]]:
    """(id, size) of files as the ids of what one job does: a million jobs of one small file each would take long."""
    bundles: list[list[int]] = []
    small: list[int] = []
    size = 0
    for number, length in files:
        if length >= MOST_BYTES:
            bundles.append([number])
            continue
        small.append(number)
        size += length
        if len(small) == MOST_FILES or size >= MOST_BYTES:
            bundles.append(small)
            small, size = [], 0
    return [*bundles, small] if small else bundles


def find_source(url: str, external: Iterable[tuple[PlaceSaid, str]], own: Iterable[str]) -> tuple[PlaceSaid, str]:
    """Which external place has what is at url, and its path there. external: each with its URL. PlaceUnsuitable."""
    places = list(own)
    found = [(place, at, path) for place, at in external if (path := path_within(at, url)) is not None]
    if any(overlap(url, one) for one in places) or any(overlap(at, one) for _, at, _ in found for one in places):
        raise PlaceUnsuitable(f"{url} is where the service keeps its own bytes, or has that below it.")
    if not found:
        raise PlaceUnsuitable(
            f"{url} is in no external place. Name one in DRS_PLACES of every node and worker, for instance: "
            f"archive={url.rstrip('/')}?external=true"
        )
    place, _, path = found[0]
    return place, spelled(path.encode(errors="surrogateescape"))
