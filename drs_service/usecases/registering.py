"""Registering objects, all or none: of bytes that are here already, of bytes elsewhere, and bundles of objects."""

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from drs_service.db import blobs, idempotency, listing, members, objects, replicas, uploads
from drs_service.db.pool import Connection, Database
from drs_service.domain.access import DEFAULT_SPACE, Action, Principal, may, readable_spaces
from drs_service.domain.blob import Blob
from drs_service.domain.candidates import (
    MAX_DEPTH,
    Candidate,
    Content,
    Elsewhere,
    FromContents,
    FromDigest,
    FromObject,
    FromUpload,
    Source,
    contents_of,
    hold_to_sum,
    sum_of,
)
from drs_service.domain.checksums import COMPUTABLE, Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.external_access import fresh
from drs_service.domain.media_types import media_type
from drs_service.domain.names import FileName
from drs_service.domain.object_ids import is_object_id, new_object_id
from drs_service.domain.objects import DrsObject, Member, NewObject
from drs_service.domain.uploads import Upload, is_upload_id
from drs_service.errors import (
    BundleInvalid,
    CandidateInvalid,
    ChecksumMismatch,
    DrsServiceError,
    Forbidden,
    IdempotencyKeyReused,
    ObjectNotFound,
    ObjectPending,
    SizeMismatch,
    TooMany,
    UploadPending,
)
from drs_service.jobs.kinds import ChecksumBlob, VerifyExternal, enqueue, enqueue_all
from drs_service.usecases.checksumming import Checksumming, Unverified
from drs_service.usecases.limiting import Limiting
from drs_service.usecases.objects import check_readable


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A request that is done once, however often it is sent."""

    key: str
    request_digest: bytes
    """Of the request's body: the same key with another is a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The rows that a request will leave, gathered before any is written."""

    new: list[NewObject] = field(default_factory=list)
    """Members before the bundles they are in."""
    members: list[tuple[str, Sequence[Member]]] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    """Used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What the candidates refer to, locked so that it stays until the registration is written."""

    uploads: Mapping[str, Upload]
    objects: Mapping[str, DrsObject]
    by_digest: Mapping[FromDigest, str]
    """An object that the caller may read, for each source whose digest has any, and a good copy."""
    verified: Mapping[Digest, Mapping[str, str]]
    """Checksums by algorithm, read from the bytes."""


class Registering:
    def __init__(
        self,
        database: Database,
        checksumming: Checksumming,
        *,
        max_entries: int,
        verify_external: bool,
        limiting: Limiting | None = None,
    ) -> None:
        self._database = database
        self._limiting = limiting or Limiting(database)
        self._max_entries = max_entries
        self._verify_external = verify_external
        self._checksumming = checksumming

    async def register(
        self, principal: Principal, candidates: Sequence[Candidate], key: IdempotencyKey | None = None
    ) -> list[DrsObject]:
        """Record the candidates, in their order, or none of them.

        Forbidden, IdempotencyKeyReused, CandidateInvalid, SizeMismatch, ChecksumMismatch, ChecksumUnknown,
        BundleInvalid, TooMany, QuotaExceeded; and ObjectNotFound or ObjectDeleted for what was done under the key and
        is no more.
        """
        if not may(principal, Action.CREATE, space=DEFAULT_SPACE):
            raise Forbidden
        try:
            return await self._register(principal, candidates, key)
        except Unverified as unverified:
            # Reading bytes takes long: not in the transaction.
            await self._checksumming.provide(unverified.missing)
        return await self._register(principal, candidates, key)

    async def _register(
        self, principal: Principal, candidates: Sequence[Candidate], key: IdempotencyKey | None
    ) -> list[DrsObject]:
        """Unverified if checksums are stated of bytes here that nobody has worked out."""
        ids = [fresh_id() for _ in candidates]
        async with self._database.transaction() as connection:
            if key is not None:
                done = await idempotency.claim(connection, principal.id, key.key, key.request_digest, ids)
                if done is not None:
                    return await self._repeated(connection, principal, key, done)
            here = await gather(connection, principal, candidates)
            check_verified(here, candidates)
            registration = Registration()
            for number, (object_id, candidate) in enumerate(zip(ids, candidates, strict=True)):
                try:
                    self._add(registration, principal, object_id, candidate, here)
                except DrsServiceError as error:
                    said = f"Candidate {number}: {error}" if len(candidates) > 1 else str(error)
                    raise type(error)(said, **error.facts) from error
            await self._write(connection, registration)
            await enqueue_all(connection, checksums_to_come(here, candidates))
            # What came by an upload was counted as it came.
            if sum(one.blob is not None for one in registration.new) > len(registration.uploads):
                await self._limiting.check(connection, principal.id, DEFAULT_SPACE)
            rows = await objects.select(connection, ids)
        return [rows[object_id] for object_id in ids]

    async def _repeated(
        self, connection: Connection, principal: Principal, key: IdempotencyKey, done: idempotency.Done
    ) -> list[DrsObject]:
        """What was done under the key. ObjectNotFound, ObjectDeleted if it was undone since."""
        if done.request_digest != key.request_digest:
            raise IdempotencyKeyReused
        rows = await objects.select(connection, done.object_ids)
        for object_id in done.object_ids:
            if object_id not in rows:
                raise ObjectNotFound(f"The object {object_id}, which this request made, is there no more.")
            with suppress(ObjectPending):
                check_readable(principal, rows[object_id])
        return [rows[object_id] for object_id in done.object_ids]

    async def _write(self, connection: Connection, registration: Registration) -> None:
        await objects.insert(connection, registration.new)
        if registration.members:
            await members.insert(connection, registration.members)
        if registration.uploads:
            await uploads.delete(connection, registration.uploads)
        for one in registration.new:
            urls = fresh(one.external_access) if self._verify_external else ()
            if urls:
                await enqueue(connection, VerifyExternal(object_id=one.id, urls=urls))

    def _add(
        self, registration: Registration, principal: Principal, object_id: str, candidate: Candidate, here: Here
    ) -> None:
        match candidate.source:
            case FromContents(contents):
                registration.new.append(
                    self._bundle(registration, principal, object_id, candidate, contents, here, depth=1)
                )
            case FromUpload(upload_id):
                upload = here.uploads.get(upload_id)
                if upload is None or upload_id in registration.uploads:
                    raise CandidateInvalid("There is no such upload, or it was registered already.")
                if upload.finishing:
                    raise UploadPending
                if upload.blob is None:
                    raise CandidateInvalid("The bytes of the upload have not come.")
                registration.uploads.append(upload_id)
                name, kind = candidate.name or upload.name, candidate.media_type or upload.media_type
                described = described_as(candidate, description=upload.description, aliases=upload.aliases)
                registration.new.append(
                    self._blob(principal, object_id, described, upload.blob, name, kind, upload.checksums, here)
                )
            case FromObject(source_id):
                source = here.objects.get(source_id)
                if source is None or source.blob is None:
                    raise CandidateInvalid("The access method is a URL of this service, but not of bytes kept here.")
                registration.new.append(self._like(principal, object_id, candidate, source, here))
            case FromDigest() as wanted:
                source = here.objects.get(here.by_digest.get(wanted, ""))
                if source is None:
                    raise CandidateInvalid(
                        "No object that you may read has these bytes, or no good copy of them is left: upload them."
                    )
                registration.new.append(self._like(principal, object_id, candidate, source, here))
            case Elsewhere():
                registration.new.append(self._external(principal, object_id, candidate))

    def _like(
        self, principal: Principal, object_id: str, candidate: Candidate, source: DrsObject, here: Here
    ) -> NewObject:
        """An object of the bytes of another."""
        assert source.blob is not None
        name = candidate.name or FileName(source.file_name, source.name)
        kind = candidate.media_type or source.media_type or media_type(None, name=name.original)
        return self._blob(principal, object_id, candidate, source.blob, name, kind, (), here)

    def _blob(
        self,
        principal: Principal,
        object_id: str,
        candidate: Candidate,
        blob: Blob,
        name: FileName,
        kind: str,
        announced: Sequence[Checksum],
        here: Here,
    ) -> NewObject:
        if candidate.size not in (None, blob.size):
            raise SizeMismatch(f"The bytes are {blob.size}, not {candidate.size}.")
        read = {"sha-256": blob.digest.hex, **here.verified.get(blob.digest, {})}
        stated = {one.algorithm: one for one in (*announced, *candidate.checksums)}
        for one in stated.values():
            if read.get(one.algorithm, one.value) != one.value:
                raise ChecksumMismatch(
                    f"The {one.algorithm} of the bytes is {read[one.algorithm]}, not {one.value} as stated."
                )
        return new_object(
            principal,
            object_id,
            candidate,
            name,
            media_type=kind,
            blob=blob,
            stated=tuple(one for one in stated.values() if one.algorithm not in read),
        )

    def _external(self, principal: Principal, object_id: str, candidate: Candidate) -> NewObject:
        if not candidate.external_access:
            raise CandidateInvalid
        if candidate.size is None or not candidate.checksums:
            raise CandidateInvalid("Of bytes that are kept elsewhere, the size and a checksum must be stated.")
        name = candidate.name or FileName(object_id, object_id)
        return new_object(
            principal,
            object_id,
            candidate,
            name,
            media_type=candidate.media_type or media_type(None, name=name.original),
            external_size=candidate.size,
            stated=candidate.checksums,
            verifying=self._verify_external and bool(fresh(candidate.external_access)),
        )

    def _bundle(
        self,
        registration: Registration,
        principal: Principal,
        object_id: str,
        candidate: Candidate,
        contents: Sequence[Content],
        here: Here,
        *,
        depth: int,
    ) -> NewObject:
        """The bundle; its members, and the bundles among them that are yet to be made, join the registration."""
        if depth > MAX_DEPTH:
            raise BundleInvalid(f"Bundles lie in bundles more than {MAX_DEPTH} deep.")
        if len({content.name for content in contents}) < len(contents):
            raise BundleInvalid("Two members of the bundle have the same name.")
        found: list[DrsObject | NewObject | None] = []
        listed: list[Member] = []
        for content in contents:
            if content.id is not None:
                found.append(here.objects[content.id])
                listed.append(Member(name=content.name, id=content.id))
            elif content.contents is not None:
                inner = Candidate(source=FromContents(content.contents), size=None, checksums=())
                made = self._bundle(registration, principal, fresh_id(), inner, content.contents, here, depth=depth + 1)
                registration.new.append(made)
                found.append(made)
                listed.append(Member(name=content.name, id=made.id))
            else:
                found.append(None)
                listed.append(Member(name=content.name, drs_uris=content.drs_uris))
        summed = sum_of(found)
        if summed.entries > self._max_entries:
            raise TooMany(
                f"The bundle has {summed.entries} entries, all the way down; {self._max_entries} are the most."
            )
        size, checksums = hold_to_sum(summed, candidate, whole=None not in found)
        registration.members.append((object_id, listed))
        return new_object(
            principal,
            object_id,
            candidate,
            candidate.name or FileName(object_id, object_id),
            media_type=candidate.media_type,
            external_size=size,
            entries=summed.entries,
            stated=checksums,
        )


async def gather(connection: Connection, principal: Principal, candidates: Sequence[Candidate]) -> Here:
    """Lock and read what the candidates refer to. What they refer to cannot go before the transaction ends."""
    sources = [one.source for one in candidates]
    arrived = await uploads.select_locked(
        connection,
        sorted({one.upload_id for one in sources if isinstance(one, FromUpload) and is_upload_id(one.upload_id)}),
    )
    by_digest = await readable_by_digest(connection, principal, {one for one in sources if isinstance(one, FromDigest)})
    named = {one.object_id for one in sources if isinstance(one, FromObject)}
    contained = {content.id for content in contents_of(candidates) if content.id is not None}
    wanted = named | contained | set(by_digest.values())
    found = await objects.select_kept(connection, sorted(one for one in wanted if is_object_id(one)))
    readable = {object_id: one for object_id, one in found.items() if is_readable(principal, one)}
    absent = sorted(contained - set(readable))
    if absent:
        few = ", ".join(absent[:10]) + (", …" if len(absent) > 10 else "")
        raise BundleInvalid(
            f"There are no objects with these ids, or none that you may read: {few}", missing=len(absent)
        )
    found_blobs = [one.blob for one in arrived.values()] + [one.blob for one in readable.values()]
    digests = [blob.digest for blob in found_blobs if blob is not None]
    return Here(
        uploads=arrived,
        objects=readable,
        by_digest=by_digest,
        verified=await blobs.checksums(connection, digests),
    )


def blob_of(here: Here, source: Source) -> Blob | None:
    """The blob that a candidate refers to."""
    match source:
        case FromUpload(upload_id):
            return here.uploads[upload_id].blob if upload_id in here.uploads else None
        case FromObject(source_id):
            return here.objects[source_id].blob if source_id in here.objects else None
        case FromDigest():
            return blob_of(here, FromObject(here.by_digest.get(source, "")))
    return None


def check_verified(here: Here, candidates: Sequence[Candidate]) -> None:
    """Unverified unless every checksum that is stated of bytes here can be compared, if it can be worked out at all."""
    missing: dict[Blob, set[str]] = {}
    for candidate in candidates:
        blob = blob_of(here, candidate.source)
        if blob is not None:
            known = {"sha-256", *here.verified.get(blob.digest, {})}
            lacking = {one.algorithm for one in candidate.checksums} & COMPUTABLE - known
            if lacking:
                missing.setdefault(blob, set()).update(lacking)
    if missing:
        raise Unverified(missing)


def checksums_to_come(here: Here, candidates: Sequence[Candidate]) -> list[ChecksumBlob]:
    """The work on bytes here of which checksums are wanted that nobody has worked out."""
    jobs = []
    for candidate in candidates:
        blob = blob_of(here, candidate.source) if candidate.wanted else None
        if blob is not None:
            lacking = candidate.wanted - {"sha-256", *here.verified.get(blob.digest, {})}
            jobs += [ChecksumBlob(blob.digest.hex, tuple(sorted(lacking)))] if lacking else []
    return jobs


async def readable_by_digest(
    connection: Connection, principal: Principal, sources: Collection[FromDigest]
) -> dict[FromDigest, str]:
    """An object that principal may read for each of the digests of which there is a good copy, one of our own if it is
    to be that; knowing a digest opens nothing by itself.
    """
    if not sources:
        return {}
    spaces = readable_spaces(principal)
    rows = await listing.one_of_each_space(connection, sorted({one.digest.raw for one in sources}))
    found = {Digest(digest): object_id for object_id, digest, space in rows if space in spaces}
    good = await replicas.good(connection, list(found))
    return {one: found[one.digest] for one in sources if one.digest in good and (good[one.digest] or not one.instead)}


def is_readable(principal: Principal, drs_object: DrsObject) -> bool:
    try:
        check_readable(principal, drs_object)
    except DrsServiceError:
        return False
    return True


def described_as(candidate: Candidate, *, description: str | None, aliases: Sequence[str]) -> Candidate:
    """The candidate, with what was said of its upload where it says nothing itself."""
    return replace(
        candidate, description=candidate.description or description, aliases=candidate.aliases or tuple(aliases)
    )


def new_object(
    principal: Principal,
    object_id: str,
    candidate: Candidate,
    name: FileName,
    *,
    media_type: str | None,
    stated: tuple[Checksum, ...],
    blob: Blob | None = None,
    external_size: int | None = None,
    entries: int | None = None,
    verifying: bool = False,
) -> NewObject:
    return NewObject(
        id=object_id,
        name=name.portable,
        file_name=name.original,
        owner=principal.id,
        space=DEFAULT_SPACE,
        media_type=media_type,
        blob=blob,
        external_size=external_size,
        entries=entries,
        external_access=candidate.external_access,
        stated=stated,
        tags=candidate.tags,
        description=candidate.description,
        version=candidate.version,
        aliases=candidate.aliases,
        verifying=verifying,
    )


def fresh_id() -> str:
    return new_object_id(time.time_ns() // 1_000_000, secrets.token_bytes(10))
