"""Bytes go out again."""

from collections.abc import AsyncGenerator

from drs_service.blobs.driver import Buffer
from drs_service.blobs.store import BlobStore
from drs_service.domain.blob import Blob
from drs_service.domain.objects import DrsObject
from drs_service.domain.ranges import ByteRange
from drs_service.errors import BlobCorrupt, BlobNotFound, BytesElsewhere


class Downloads:
    """The bytes of objects that `Objects.get` has let the principal read."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    async def open(self, drs_object: DrsObject, span: ByteRange) -> AsyncGenerator[Buffer, None]:
        """The bytes of span, begun: what cannot be read raises here. BytesElsewhere, BlobCorrupt, StorageUnavailable.

        Midway, the generator raises the same errors; the bytes given out by then are right. The caller closes it.
        """
        try:
            return await self._store.open(blob_of(drs_object).digest, span)
        except BlobNotFound as error:
            # The row promised bytes: this is our loss, not the client's mistake.
            raise BlobCorrupt("The bytes of this object are missing from the storage.", id=drs_object.id) from error


def blob_of(drs_object: DrsObject) -> Blob:
    """The blob of an object that is kept here. BytesElsewhere."""
    if drs_object.blob is None:
        raise BytesElsewhere
    return drs_object.blob
