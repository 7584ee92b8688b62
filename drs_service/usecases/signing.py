"""URLs of copies that are signed for a reader, so that the bytes do not go through us."""

from collections.abc import Collection
from datetime import timedelta

import structlog

from drs_service.domain.media_types import UNKNOWN
from drs_service.domain.names import FileName, content_disposition
from drs_service.domain.objects import DrsObject
from drs_service.errors import AccessMethodNotFound, BytesArchived, Unavailable
from drs_service.usecases.places import Places
from drs_service.usecases.reading import Reading

log = structlog.get_logger()


class Signing:
    """names: the places whose copies may be read so. Objects are those that `Objects.get` let the principal read."""

    def __init__(
        self, places: Places, reading: Reading, names: Collection[str], *, valid: timedelta, redirects: bool
    ) -> None:
        """redirects: whether readers of the bytes are sent there."""
        self._places = places
        self._reading = reading
        self._names = frozenset(names)
        self._valid = valid
        self._redirects = redirects

    async def url(self, drs_object: DrsObject, place: str, *, begin: bool = True) -> str | None:
        """A URL under which whoever has it reads the bytes, for a while; None if that copy lies in an archive, and
        another can be read. AccessMethodNotFound, StorageUnavailable, and as `Reading.ready`.
        """
        try:
            return await self._signed(drs_object, place)
        except BytesArchived:
            assert drs_object.blob is not None, "it has copies"
            await self._reading.ready([drs_object.blob.digest], begin=begin)
            return None

    async def _signed(self, drs_object: DrsObject, place: str) -> str:
        """The same, and BytesArchived."""
        store = self._places.get(place)
        if drs_object.blob is None or store is None or place not in self._names & drs_object.places:
            raise AccessMethodNotFound
        try:
            url = await store.presign(
                drs_object.blob.digest,
                valid=self._valid,
                content_type=drs_object.media_type or UNKNOWN,
                content_disposition=content_disposition(FileName(drs_object.file_name, drs_object.name)),
            )
        except BytesArchived:
            await self._reading.archived(drs_object.blob.digest, store)
            raise
        if url is None:
            raise AccessMethodNotFound
        return url

    async def ready(self, drs_object: DrsObject, place: str | None = None, *, begin: bool = True) -> None:
        """As `Reading.ready`."""
        if drs_object.blob is not None and (place in drs_object.archived if place else not drs_object.places):
            await self._reading.ready([drs_object.blob.digest], place, begin=begin)

    async def redirection(self, drs_object: DrsObject) -> str | None:
        """Where a reader of the bytes is sent to; None if nowhere else."""
        if not self._redirects or drs_object.blob is None:
            return None
        for store in self._places.in_order(self._names & drs_object.places):
            try:
                return await self._signed(drs_object, store.place)
            except (AccessMethodNotFound, Unavailable) as error:
                log.warning("a URL was not signed", place=store.place, error=str(error))
        return None
