"""Bytes go out again."""

from collections.abc import AsyncGenerator, Iterable

from drs_service.blobs.driver import Buffer
from drs_service.domain.blob import Blob
from drs_service.domain.objects import DrsObject
from drs_service.domain.ranges import ByteRange
from drs_service.errors import BytesElsewhere
from drs_service.usecases.reading import Reading


class Downloads:
    """The bytes of objects that `Objects.get` has let the principal read."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def open(self, drs_object: DrsObject, span: ByteRange) -> AsyncGenerator[Buffer, None]:
        """The bytes of span, begun: what cannot be read raises here.

        BytesElsewhere, BlobCorrupt, StorageUnavailable, BytesPutAway; BytesArchived, which has begun to bring back.

        Midway, the generator raises the same errors; the bytes given out by then are right. The caller closes it.
        """
        return await self._reading.open(blob_of(drs_object).digest, span, drs_object.places)

    async def ready(self, drs_objects: Iterable[DrsObject], *, begin: bool = True) -> None:
        """BytesArchived if some of them cannot be read at once: all of these are being brought back then, if it may
        begin. BytesPutAway if nobody has them brought back by reading.
        """
        put_away = [blob_of(one).digest for one in drs_objects if one.archived and not one.places]
        if put_away:
            await self._reading.ready(put_away, begin=begin)


def blob_of(drs_object: DrsObject) -> Blob:
    """The blob of an object that is kept here. BytesElsewhere."""
    if drs_object.blob is None:
        raise BytesElsewhere
    return drs_object.blob
