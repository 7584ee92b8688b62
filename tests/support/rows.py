"""Rows, and what sends them."""

import hashlib
import secrets
from collections.abc import AsyncIterator

from drs_service.blobs.driver import Buffer
from drs_service.db import blobs, objects
from drs_service.db.pool import Connection
from drs_service.domain.blob import Blob
from drs_service.domain.digest import Digest
from drs_service.domain.names import file_name
from drs_service.domain.objects import DrsObject, NewObject
from drs_service.usecases.uploads import Incoming


def digest_of_bytes(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).digest())


def blob_of(one: NewObject | DrsObject) -> Blob:
    """The blob of an object that is known to have one."""
    assert one.blob is not None
    return one.blob


def digest_of(one: NewObject | DrsObject) -> Digest:
    return blob_of(one).digest


def new_object(content: bytes | None = None, *, name: str = "reads.bam") -> NewObject:
    """An object that nobody has recorded yet."""
    content = secrets.token_bytes(16) if content is None else content
    return NewObject(
        id=secrets.token_hex(13),
        blob=Blob(digest_of_bytes(content), len(content)),
        name=name,
        file_name=name,
        media_type="application/octet-stream",
        owner="anonymous",
        space="default",
    )


async def record(connection: Connection, *new: NewObject) -> None:
    """Rows as an upload leaves them, of bytes that are nowhere."""
    await blobs.insert(connection, "primary", [(blob_of(one), digest_of(one).hex) for one in new])
    await objects.insert(connection, new)


def incoming(*chunks: Buffer, name: str = "reads.bam", error: Exception | None = None) -> Incoming:
    """A file that is sent in these chunks; then its sender fails with error."""

    async def source() -> AsyncIterator[Buffer]:
        for chunk in chunks:
            yield chunk
        if error is not None:
            raise error

    return Incoming(name=file_name(name), media_type="application/octet-stream", source=source())
