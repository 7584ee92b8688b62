"""Objects of others in a bucket. Their stamps are the tags that the bucket gives them."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta

from drs_service.blobs.bucket import Bucket, Overrides
from drs_service.blobs.driver import Buffer
from drs_service.blobs.external import PUT_AWAY, ExternalFile, PassedOver
from drs_service.domain.paths import spelled, unspelled
from drs_service.errors import BlobCorrupt, BytesArchived, FileChanged, FileUnreadable, StorageUnavailable


class ExternalBucket:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def files(self, below: str) -> AsyncIterator[ExternalFile | PassedOver]:
        prefix = named(below)
        if prefix:
            with contextlib.suppress(KeyError):  # it is a prefix of others, as a rule
                yield await self.look(below)
            prefix += "/"
        async for found in self._bucket.objects(prefix):
            if found.size or not found.name.endswith("/"):  # otherwise it stands for a directory
                yield ExternalFile(spelled(found.name.encode()), found.size, found.tag)

    async def look(self, path: str) -> ExternalFile:
        try:
            found = await self._bucket.look(named(path))
        except StorageUnavailable as error:
            raise told(error) from error
        return ExternalFile(path, found.size, found.tag, found.condition)

    async def read(self, file: ExternalFile, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        if start == end and await self.look(file.path) != file:
            raise FileChanged
        if start == end:
            return
        try:
            async for piece in self._bucket.read(named(file.path), start, end, tag=file.stamp):
                yield piece
        except BlobCorrupt as error:
            raise FileChanged from error
        except BytesArchived as error:
            raise BytesArchived(PUT_AWAY) from error
        except StorageUnavailable as error:
            raise told(error) from error

    async def presign(self, path: str, *, valid: timedelta, content_type: str, content_disposition: str) -> str:
        said = Overrides(content_type=content_type, content_disposition=content_disposition)
        return await self._bucket.presign_read(named(path), expires_in=valid, overrides=said)

    async def probe(self) -> None:
        async for _ in self._bucket.objects(""):
            return
        raise StorageUnavailable("There is nothing at all in this place.")

    async def close(self) -> None:
        await self._bucket.close()


def named(path: str) -> str:
    return unspelled(path).decode(errors="replace")  # what is not UTF-8 no bucket has


def told(error: StorageUnavailable) -> Exception:
    """What is wrong with one object alone; what passes is the place's own trouble."""
    return FileUnreadable(f"The file cannot be read. {error}") if error.facts.get("refused") else error
