"""Copies that are files of others: nobody makes one anew, but it may be back, or another file may have its bytes."""

from collections.abc import Sequence
from contextlib import aclosing

import structlog

from drs_service.blobs.external import ExternalFile
from drs_service.blobs.hashing import INLINE_SIZE, Hashing
from drs_service.blobs.store import BlobStore
from drs_service.db import adoptions, blobs, external
from drs_service.db.pool import Connection, Database
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.errors import BytesArchived, FileChanged, FileUnreadable
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.usecases.alerting import report
from drs_service.usecases.progressing import watched

log = structlog.get_logger()


async def look_again(
    database: Database, store: BlobStore, blob: Blob, attempt: Attempt = UNQUEUED, *, alerts: bool = False
) -> None:
    """See whether a file in an external place has the bytes of a blob whose copy there was bad. Nothing if none has.

    StorageUnavailable.
    """
    async with database.connection() as connection:
        paths = await adoptions.with_digest(connection, blob.digest, store.place)
    for path in sorted(paths):
        file = await found(store, path, blob, attempt)
        if file is not None:
            async with database.transaction() as connection:
                await blobs.lock(connection, [blob.digest])
                if await blobs.known(connection, [blob.digest]):
                    seen = [(blob.digest, file.path, file.stamp)]
                    await record_seen(connection, store.place, seen, alerts=alerts)
            log.info("a copy is good again", digest=blob.digest.hex, place=store.place, path=path)
            return
    log.warning("no file has these bytes any more", digest=blob.digest.hex, place=store.place)


async def record_seen(
    connection: Connection, place: str, seen: Sequence[tuple[Digest, str, str]], *, alerts: bool
) -> None:
    """The same as `external.record`; what has turned out to be lost by that is reported, and looked for elsewhere."""
    lost = await external.record(connection, place, seen)
    await report(connection, lost, place, external.REPLACED, alerts=alerts)


async def found(store: BlobStore, path: str, blob: Blob, attempt: Attempt) -> ExternalFile | None:
    """The file at path, if it has the bytes of a blob."""
    assert store.external is not None
    try:
        file = await store.external.look(path)
        if file.size != blob.size:
            return None
        hashing = await hashed(store, file, Hashing(), attempt)
    except (KeyError, FileUnreadable, FileChanged, BytesArchived):
        return None
    return file if hashing.blob() == blob else None


async def hashed(store: BlobStore, file: ExternalFile, hashing: Hashing, attempt: Attempt) -> Hashing:
    """What has seen all bytes of a file. KeyError, FileUnreadable, FileChanged, BytesArchived, StorageUnavailable."""
    assert store.external is not None
    async with aclosing(store.external.read(file, 0, file.size)) as reading:
        pieces = watched(reading, attempt, file.size)
        if file.size > INLINE_SIZE:
            await store.hash(pieces, hashing)
        else:
            async for piece in pieces:
                hashing.update([piece])
    return hashing
