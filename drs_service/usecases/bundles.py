"""What is in a bundle: read page by page, for there may be many, and all the way down if that is asked for."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from drs_service.db import members, objects
from drs_service.db.pool import Database
from drs_service.domain.access import Principal
from drs_service.domain.objects import DrsObject, Kind, Member
from drs_service.errors import ArchiveImpossible, DrsServiceError
from drs_service.usecases.objects import check_readable

PAGE = 1000  # members read in one round trip
AHEAD = 10_000  # members of nested bundles read in one round trip


@dataclass(frozen=True, slots=True)
class Enter:
    """The members of this one follow, up to Leave."""

    member: Member


@dataclass(frozen=True, slots=True)
class Leave:
    """The end of the bundle that was entered last."""


Step = Member | Enter | Leave


@dataclass(frozen=True, slots=True)
class File:
    """A file of a bundle, or an empty bundle in it."""

    path: str
    object: DrsObject
    """Of a file, with its blob."""


class Bundles:
    """The contents of bundles that `Objects.get` has let the principal read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def walk(self, bundle_id: str, *, expand: bool) -> AsyncGenerator[Step, None]:
        """The members of a bundle in their order. Nested bundles are entered if expand, and are members else."""
        async for step in self._walk(bundle_id, None, (bundle_id,), expand=expand):
            yield step

    async def _walk(
        self, bundle_id: str, known: Sequence[Member] | None, above: tuple[str, ...], *, expand: bool
    ) -> AsyncGenerator[Step, None]:
        """above: the bundles around. A bundle never comes to lie in itself; should one, it is not entered again."""
        start = 0
        while page := known[start:] if known is not None else await self._page(bundle_id, start):
            start += len(page)
            if not expand:
                for member in page:
                    yield member
                continue
            nested = [one for one in page if one.kind is Kind.BUNDLE and one.id not in above]
            ahead = await self._ahead(nested)
            entered = {one.name for one in nested}
            for member in page:
                if member.name not in entered or member.id is None:
                    yield member
                    continue
                yield Enter(member)
                async for step in self._walk(member.id, ahead.get(member.id), (*above, member.id), expand=True):
                    yield step
                yield Leave()

    async def _page(self, bundle_id: str, start: int) -> list[Member]:
        async with self._database.connection() as connection:
            return await members.page(connection, bundle_id, start=start, limit=PAGE)

    async def _ahead(self, nested: Sequence[Member]) -> Mapping[str, list[Member]]:
        """The direct members of as many of these bundles, from the first on, as are few together."""
        ids: list[str] = []
        total = 0
        for one in nested:
            total += one.entries
            if total > AHEAD or one.id is None:
                break
            ids.append(one.id)
        if not ids:
            return {}
        async with self._database.connection() as connection:
            return await members.of_many(connection, ids)

    async def files(self, principal: Principal, bundle: DrsObject) -> list[File]:
        """Every file of a bundle, all the way down, under the path that its names make.

        ArchiveImpossible names the first that is not here, or may not be read.
        """
        paths: list[str] = []
        found: list[tuple[str, str]] = []
        async for step in self.walk(bundle.id, expand=True):
            match step:
                case Enter(member):
                    paths.append(member.name)
                case Leave():
                    paths.pop()
                case Member(id=None):
                    raise ArchiveImpossible(f"{'/'.join([*paths, step.name])} is not kept by this service.")
                case Member(id=str(member_id)):
                    found.append(("/".join([*paths, step.name]), member_id))
        files: list[File] = []
        for first in range(0, len(found), AHEAD):
            some = found[first : first + AHEAD]
            async with self._database.connection() as connection:
                rows = await objects.select(connection, [member_id for _, member_id in some])
            files += [File(path, sendable(principal, path, rows.get(member_id))) for path, member_id in some]
        return files


def sendable(principal: Principal, path: str, drs_object: DrsObject | None) -> DrsObject:
    """ArchiveImpossible unless it has bytes here that principal may read."""
    if drs_object is None:
        raise ArchiveImpossible(f"{path} was deleted.")
    try:
        check_readable(principal, drs_object)
    except DrsServiceError as error:
        raise ArchiveImpossible(f"{path}: {error}") from error
    if drs_object.blob is None:
        raise ArchiveImpossible(f"The bytes of {path} are not kept by this service.")
    return drs_object
