"""What arrives in a bucket is whole, however often its end was interrupted."""

import asyncio
import secrets

from drs_service.blobs.arriving import Arriving, Sizes
from drs_service.blobs.s3 import LEAST_PART, S3Bucket
from drs_service.blobs.spool import Room, Spool
from tests.support.bucket import Bucket
from tests.support.driving import collect
from tests.support.s3 import S3Server

CONTENT = secrets.token_bytes(LEAST_PART + 10)
STEPS = 8  # of the end, more or less, at each of which it may be cancelled


async def test_an_end_that_was_cancelled_loses_nothing_when_it_comes_again(s3: S3Server) -> None:
    place = Bucket(s3)
    bucket = S3Bucket(place.name, place.prefix, place.access)
    turns = asyncio.Semaphore(1)

    async def name() -> str:
        return secrets.token_hex(4)

    sizes = Sizes(part=LEAST_PART, parts_at_once=1)
    async with asyncio.timeout(10):
        arriving = Arriving(bucket, name, turns=turns, spool=Spool(Room(sizes.waiting)), sizes=sizes)
        await arriving.write([CONTENT])
        await turns.acquire()  # the first part has come; the last one waits for us
        for steps in range(STEPS):
            closing = asyncio.create_task(arriving.close())
            for _ in range(steps):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
        turns.release()
        [source] = await arriving.close()
        assert source.size == len(CONTENT)
        assert await collect(bucket.read(source.name, 0, source.size)) == CONTENT
    await bucket.close()
