"""Changing what is known of objects, and deleting them. Several are changed all or none."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from drs_service.db import objects
from drs_service.db.changes import Listener, ObjectChanged
from drs_service.db.pool import Connection, Database
from drs_service.domain.access import Action, Principal, may
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import COMPUTABLE, MAX_CHECKSUMS, Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.external_access import fresh, is_same, lasting
from drs_service.domain.object_ids import is_object_id
from drs_service.domain.objects import DrsObject, ExternalAccess, Kind
from drs_service.errors import (
    AccessMethodInvalid,
    BundleInvalid,
    ChecksumConflict,
    Forbidden,
    ObjectDeleted,
    ObjectNotFound,
    TooMany,
    Unavailable,
)
from drs_service.jobs.kinds import VerifyExternal, enqueue
from drs_service.usecases.checksumming import Checksumming, Unverified
from drs_service.usecases.objects import epitaph
from drs_service.usecases.sweep import Sweep

log = structlog.get_logger()


class Changing:
    """What is changed here is heard of by listener before it is acknowledged; other processes hear of it soon after."""

    def __init__(
        self,
        database: Database,
        sweep: Sweep,
        listener: Listener,
        checksumming: Checksumming,
        *,
        verify_external: bool,
    ) -> None:
        self._database = database
        self._sweep = sweep
        self._listener = listener
        self._checksumming = checksumming
        self._verify_external = verify_external

    async def replace_access(
        self, principal: Principal, access: Mapping[str, Sequence[ExternalAccess]]
    ) -> list[DrsObject]:
        """Replace the ways to the bytes that are not ours, by object id; ours stays as long as the bytes are here.

        ObjectNotFound, ObjectDeleted, Forbidden, AccessMethodInvalid.
        """
        async with self._changing(principal, list(access)) as (connection, found):
            for object_id, ways in access.items():
                if found[object_id].kind is Kind.BUNDLE:
                    raise AccessMethodInvalid("A bundle has no bytes of its own, and no access methods.")
                if not ways and found[object_id].kind is Kind.EXTERNAL:
                    raise AccessMethodInvalid("No way to the bytes would be left: they are not kept here.")
                urls = fresh(ways, known=found[object_id].external_access) if self._verify_external else ()
                if urls:
                    await enqueue(connection, VerifyExternal(object_id=object_id, urls=urls))
                verifying = must_wait(found[object_id], ways, looked_at=bool(urls))
                await objects.replace_access(connection, object_id, ways, verifying=verifying)
            return await reread(connection, access)

    async def add_checksums(self, principal: Principal, stated: Mapping[str, Sequence[Checksum]]) -> list[DrsObject]:
        """Add checksums by object id; those that are there already change nothing. Those of bytes here are compared.

        ObjectNotFound, ObjectDeleted, Forbidden, ChecksumConflict, ChecksumUnknown, BundleInvalid, TooMany.
        """
        try:
            return await self._add_checksums(principal, stated)
        except Unverified as unverified:
            # Reading bytes takes long: not in the transaction.
            await self._checksumming.provide(unverified.missing)
        return await self._add_checksums(principal, stated)

    async def _add_checksums(self, principal: Principal, stated: Mapping[str, Sequence[Checksum]]) -> list[DrsObject]:
        async with self._changing(principal, list(stated)) as (connection, found):
            check_verified(found, stated)
            for object_id, checksums in stated.items():
                known = {one.algorithm: one.value for one in found[object_id].checksums}
                for one in checksums:
                    if known.get(one.algorithm, one.value) != one.value:
                        raise ChecksumConflict(
                            f"The {one.algorithm} of {object_id} is {known[one.algorithm]}, not {one.value}."
                        )
                new = [one for one in checksums if one.algorithm not in known]
                if len(known) + len(new) > MAX_CHECKSUMS:
                    raise TooMany(f"An object has at most {MAX_CHECKSUMS} checksums.")
                if found[object_id].kind is Kind.BUNDLE and any(one.algorithm in COMPUTABLE for one in new):
                    raise BundleInvalid(f"The checksums of {object_id} follow from those of its members.")
                if new:
                    await objects.add_checksums(connection, object_id, new)
            return await reread(connection, stated)

    async def replace_tags(self, principal: Principal, object_id: str, tags: Mapping[str, str]) -> DrsObject:
        """ObjectNotFound, ObjectDeleted, Forbidden."""
        async with self._changing(principal, [object_id]) as (connection, _):
            await objects.replace_tags(connection, object_id, tags.items())
            [changed] = await reread(connection, [object_id])
            return changed

    async def delete(
        self, principal: Principal, object_ids: Sequence[str], *, reason: str | None, for_good: bool, bytes_too: bool
    ) -> None:
        """Leave a tombstone of each, or nothing at all if for_good.

        Bytes that nothing refers to any more go with the next sweep that comes after its grace time, or at once if
        bytes_too. Deleting a tombstone again changes nothing, unless for_good. ObjectNotFound, Forbidden.
        """
        async with self._database.transaction() as connection:
            found = await objects.select_locked(connection, [one for one in object_ids if is_object_id(one)])
            check_all(principal, Action.DELETE, object_ids, found)
            if for_good:
                await objects.delete(connection, object_ids)
            else:
                await objects.bury(connection, object_ids, reason=reason)
        self._tell(object_ids)
        if bytes_too:
            for digest in {digest for one in found.values() if (digest := digest_of(one)) is not None}:
                # The objects are gone as promised; what cannot be deleted now, the sweep will.
                with suppress(Unavailable):
                    await self._sweep.settle(digest)

    @asynccontextmanager
    async def _changing(
        self, principal: Principal, object_ids: Sequence[str]
    ) -> AsyncIterator[tuple[Connection, Mapping[str, DrsObject]]]:
        """A transaction in which nobody else changes these objects."""
        async with self._database.transaction() as connection:
            found = await objects.select_locked(connection, [one for one in object_ids if is_object_id(one)])
            check_all(principal, Action.CHANGE, object_ids, found)
            for one in found.values():
                if one.tombstone is not None:
                    raise ObjectDeleted(f"{one.id}: {epitaph(one.tombstone)}")
            yield connection, found
        self._tell(object_ids)

    def _tell(self, object_ids: Sequence[str]) -> None:
        for object_id in object_ids:
            self._listener.on_change(ObjectChanged(object_id))


def digest_of(one: DrsObject) -> Digest | None:
    """Of the bytes that were kept here for it: a tombstone remembers the digest of those that it has let go of."""
    if one.blob is not None:
        return one.blob.digest
    remembered = {known.algorithm: known.value for known in one.checksums} if one.kind is Kind.BLOB else {}
    return Digest.from_hex(remembered["sha-256"]) if "sha-256" in remembered else None


def check_verified(found: Mapping[str, DrsObject], stated: Mapping[str, Sequence[Checksum]]) -> None:
    """Unverified unless every checksum that is stated of bytes here can be compared, if it can be worked out at all."""
    missing: dict[Blob, set[str]] = {}
    for object_id, checksums in stated.items():
        one = found[object_id]
        lacking = {each.algorithm for each in checksums} & COMPUTABLE - {each.algorithm for each in one.checksums}
        if one.blob is not None and lacking:
            missing.setdefault(one.blob, set()).update(lacking)
    if missing:
        raise Unverified(missing)


def must_wait(old: DrsObject, ways: Sequence[ExternalAccess], *, looked_at: bool) -> bool:
    """Whether readers of an object with these ways must wait until somebody has looked at its bytes.

    looked_at: whether new ways are going to be. Who adds a mirror takes nothing from those who read already; but where
    no way stays, nothing that has been looked at would be left.
    """
    if old.kind is not Kind.EXTERNAL:
        return False
    if not any(is_same(one, other) for one in ways for other in old.external_access):
        return looked_at
    return old.verifying and (looked_at or bool(lasting(ways, old.external_access)))


def check_all(principal: Principal, action: Action, object_ids: Sequence[str], found: Mapping[str, DrsObject]) -> None:
    """ObjectNotFound names those that are not there or may not be seen; Forbidden if one may only be seen."""
    unseen = [
        object_id
        for object_id in object_ids
        if object_id not in found or not may(principal, Action.READ, space=found[object_id].space)
    ]
    if unseen:
        few = ", ".join(unseen[:10]) + (", …" if len(unseen) > 10 else "")
        raise ObjectNotFound(f"There are no objects with these ids: {few}. Nothing was changed.")
    if not all(may(principal, action, space=one.space) for one in found.values()):
        raise Forbidden


async def reread(connection: Connection, object_ids: Mapping[str, object] | Sequence[str]) -> list[DrsObject]:
    """The objects as they have become, in the order asked."""
    rows = await objects.select(connection, list(object_ids))
    return [rows[object_id] for object_id in object_ids]
