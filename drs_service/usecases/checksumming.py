"""Checksums that the operator wants of every blob, worked out from its bytes by workers."""

from collections.abc import AsyncIterable, Collection, Mapping

import structlog

from drs_service.blobs.driver import Buffer
from drs_service.blobs.hashing import Hashing
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs, replicas
from drs_service.db.pool import Database
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.errors import ChecksumUnknown, DigestMismatch
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.jobs.kinds import ChecksumBacklog, ChecksumBlob, enqueue, enqueue_all
from drs_service.usecases.places import Places
from drs_service.usecases.progressing import watched
from drs_service.usecases.reading import Reading

log = structlog.get_logger()

BATCH = 500  # blobs looked up at once
WHILE_WAITING = 1024**3  # bytes that are read for a request that waits

Missing = Mapping[Blob, Collection[str]]
"""Algorithms whose checksums were never worked out, by blob."""


class Unverified(Exception):
    """Checksums were stated of bytes here that nobody has worked out."""

    def __init__(self, missing: Missing) -> None:
        self.missing = missing


class Checksumming:
    def __init__(
        self, database: Database, store: BlobStore, algorithms: Collection[str], reading: Reading | None = None
    ) -> None:
        """reading: of all places, if there are others than the store."""
        self.database = database
        self.algorithms = algorithms
        self._reading = reading or Reading(database, Places(database, store))

    async def provide(self, missing: Missing) -> None:
        """Publish checksums that somebody states and nobody has worked out: what is stated must be compared.

        ChecksumUnknown if that would take too long, BlobCorrupt, StorageUnavailable.
        """
        if sum(blob.size for blob in missing) > WHILE_WAITING:
            raise ChecksumUnknown
        for blob, algorithms in missing.items():
            await self.work_out(blob.digest, algorithms)

    async def work_out(
        self, digest: Digest, algorithms: Collection[str] | None = None, *, attempt: Attempt = UNQUEUED
    ) -> None:
        """Publish the checksums that are missing of a blob, of the operator's algorithms or of others.

        Nothing if it has gone. BlobCorrupt, StorageUnavailable. The bytes are read once, and held to their digest on
        the way: what is published of other bytes would be a lie.
        """
        async with self.database.connection() as connection:
            known = (await blobs.checksums(connection, [digest]))[digest]
            size = (await blobs.sizes(connection, [digest])).get(digest)
            copies = await replicas.of(connection, digest)
        missing = set(self.algorithms if algorithms is None else algorithms) - known.keys()
        if size is None or not missing:
            return
        blob = Blob(digest, size)
        good = [name for name, copy in copies.items() if copy.damage is None]
        hashing = await self._reading.from_a_good_copy(
            blob, good, lambda store, pieces: hashed(store, pieces, blob, missing, attempt), job=attempt
        )
        async with self.database.transaction() as connection:
            await blobs.lock(connection, [digest])
            await attempt.conclude(connection)
            if await blobs.known(connection, [digest]):
                await blobs.insert_checksums(connection, digest, hashing.checksums())

    async def take_up(self, after: str, attempt: Attempt = UNQUEUED) -> None:
        """Enqueue the work on blobs behind a digest (in hexadecimal; empty: on all) that lack a checksum.

        Those of before an algorithm was asked for, and those whose job was lost. Batch by batch, in jobs of their own.
        """
        if not self.algorithms:
            return
        async with self.database.transaction() as connection:
            lacking = await blobs.lacking(connection, sorted(self.algorithms), after=after, limit=BATCH)
            await enqueue_all(connection, [ChecksumBlob(one.hex) for one in lacking])
            if len(lacking) == BATCH:
                await enqueue(connection, ChecksumBacklog(after=lacking[-1].hex))
            attempt.progress(len(lacking), None, "blobs")
            await attempt.conclude(connection)
        log.info("checksums are missing", blobs=len(lacking))


async def hashed(
    store: BlobStore, pieces: AsyncIterable[Buffer], blob: Blob, algorithms: Collection[str], attempt: Attempt
) -> Hashing:
    """What has seen all bytes of a blob. DigestMismatch if they are others."""
    hashing = Hashing(algorithms)
    await store.hash(watched(pieces, attempt, blob.size), hashing)
    if hashing.blob() != blob:
        raise DigestMismatch
    return hashing
