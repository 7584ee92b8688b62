"""Parts that go past us, in buckets whose requests can be signed beforehand.

They are brought to one object of those that wait (`chain.py`), which is not there before all of them are joined. From
then on no signed URL leads to it: what is verified is what is published.
"""

from collections.abc import Sequence
from datetime import timedelta

from drs_service.blobs.arriving import Sizes
from drs_service.blobs.bucket import DirectBucket, Overrides
from drs_service.blobs.chain import Chain, Segment, new_name
from drs_service.blobs.cloud import SIZES, WAITING
from drs_service.blobs.cloud_thawing import ThawingCloudDriver
from drs_service.blobs.driver import PartHere
from drs_service.domain.uploads import Mark
from drs_service.errors import UploadLost


class DirectCloudDriver(ThawingCloudDriver):
    """A `ThawingCloudDriver` with two powers more. What is begun by parts is named by its segment and its multipart."""

    async def presign_read(self, key: str, *, valid: timedelta, content_type: str, content_disposition: str) -> str:
        said = Overrides(content_type=content_type, content_disposition=content_disposition)
        return await self.bucket.presign_read(key, expires_in=valid, overrides=said)

    def __init__(self, bucket: DirectBucket, *, sizes: Sizes = SIZES) -> None:
        super().__init__(bucket, sizes=sizes)
        self._direct = bucket

    async def begin_parts(self, handle: str) -> str:
        name = new_name(0)
        return f"{name} {await self._direct.begin(located(handle, name))}"

    async def presign_part(self, handle: str, parts: str, number: int, *, size: int, valid: timedelta) -> str:
        name, multipart = parts.split(" ")
        return await self._direct.presign_part(located(handle, name), multipart, number, size=size, expires_in=valid)

    async def parts(self, handle: str, parts: str) -> Sequence[PartHere]:
        name, multipart = parts.split(" ")
        try:
            return await self._direct.parts(located(handle, name), multipart)
        except KeyError as error:
            raise UploadLost(parts=name) from error

    async def complete_parts(self, handle: str, parts: str, here: Sequence[PartHere]) -> Mark:
        name, multipart = parts.split(" ")
        try:
            await self._direct.complete_brought(located(handle, name), multipart, [one.tag for one in here])
        except KeyError as error:
            raise UploadLost(parts=name) from error
        return mark(name, sum(one.size for one in here))

    async def joined(self, handle: str, parts: str) -> Mark | None:
        name, _ = parts.split(" ")
        try:
            return mark(name, await self._direct.size(located(handle, name)))
        except KeyError:
            return None

    async def forget_parts(self, handle: str, parts: str) -> None:
        name, multipart = parts.split(" ")
        await self._direct.abort(located(handle, name), multipart)


def located(handle: str, name: str) -> str:
    return f"{WAITING}{handle}/{name}"


def mark(name: str, size: int) -> Mark:
    return Mark(size, Chain((Segment(name, size),)).notes)
