"""What is in a bundle: read page by page, for there may be many, and all the way down if that is asked for."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
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
    """A file of a bundle. Bundles in it are never empty: those are refused."""

    path: str
    object: DrsObject
    """With its blob."""


class Bundles:
    """The contents of bundles that `Objects.get` has let the principal read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def walk(self, bundle_id: str, *, expand: bool) -> AsyncGenerator[Step, None]:
        """The members of a bundle in their order. Nested bundles are entered if expand, and are members else."""
        async with aclosing(self._walk(bundle_id, None, (bundle_id,), expand=expand)) as steps:
            async for step in steps:
                yield step

    async def entered(self, bundle_id: str) -> int:
        """How many bundles `walk` enters, each counted once. It only ever becomes less: members do not change, but
        bundles among them may be deleted."""
        async with self._database.connection() as connection:
            return await members.bundles_within(connection, bundle_id)

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
                within = self._walk(member.id, ahead.get(member.id), (*above, member.id), expand=True)
                async with aclosing(within) as steps:
                    async for step in steps:
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

        ArchiveImpossible names the first file, or bundle in it, that is not here, or may not be read.
        """
        above: list[str] = []
        found: list[tuple[str, Enter | Member]] = []
        async for step in self.walk(bundle.id, expand=True):
            match step:
                case Enter(member):
                    above.append(member.name)
                    found.append(("/".join(above), step))
                case Leave():
                    above.pop()
                case Member():
                    found.append(("/".join([*above, step.name]), step))
        files: list[File] = []
        for first in range(0, len(found), PAGE):
            files += await self._files(principal, found[first : first + PAGE])
        return files

    async def _files(self, principal: Principal, found: Sequence[tuple[str, Enter | Member]]) -> list[File]:
        """Those of the steps that are files, once all have been seen to be readable."""
        ids = [member.id for _, step in found if (member := member_of(step)).id is not None]
        async with self._database.connection() as connection:
            rows = await objects.select(connection, ids)
        files: list[File] = []
        for path, step in found:
            drs_object = readable(principal, path, member_of(step), rows)
            if isinstance(step, Enter):
                continue
            if drs_object.blob is None:
                raise ArchiveImpossible(f"The bytes of {path} are not kept by this service.")
            files.append(File(path, drs_object))
        return files


def member_of(step: Enter | Member) -> Member:
    return step.member if isinstance(step, Enter) else step


def readable(principal: Principal, path: str, member: Member, rows: Mapping[str, DrsObject]) -> DrsObject:
    """ArchiveImpossible unless it is an object here that principal may read."""
    if member.id is None:
        raise ArchiveImpossible(f"{path} is not kept by this service.")
    drs_object = rows.get(member.id)
    if drs_object is None:
        raise ArchiveImpossible(f"{path} was deleted.")
    try:
        check_readable(principal, drs_object)
    except DrsServiceError as error:
        raise ArchiveImpossible(f"{path}: {error}") from error
    return drs_object
