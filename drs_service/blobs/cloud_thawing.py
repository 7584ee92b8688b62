"""Buckets whose objects may lie in an archive, from which they are brought back before they are read."""

from drs_service.blobs.arriving import Sizes
from drs_service.blobs.bucket import ThawingBucket
from drs_service.blobs.cloud import SIZES, CloudDriver
from drs_service.blobs.driver import Condition
from drs_service.domain.thawing import Thaw


class ThawingCloudDriver(CloudDriver):
    """A `CloudDriver` with that power more."""

    def __init__(self, bucket: ThawingBucket, *, sizes: Sizes = SIZES) -> None:
        super().__init__(bucket, sizes=sizes)
        self._thawing = bucket

    async def condition(self, key: str) -> Condition:
        return await self._thawing.condition(key)

    async def thaw(self, key: str, how: Thaw) -> None:
        await self._thawing.thaw(key, how)
