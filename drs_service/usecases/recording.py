"""Rows for bytes that were kept, and the work that follows on them."""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Sequence

from drs_service.blobs.receiving import Arrival
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs
from drs_service.db.pool import Connection
from drs_service.domain.replication import places_for
from drs_service.jobs.kinds import ChecksumBlob, Job, ReplicateBlob, enqueue_all

AT_ONCE = 16  # arrivals that are looked after at the same time


async def record(
    connection: Connection, store: BlobStore, arrivals: Sequence[Arrival], *, algorithms: Collection[str]
) -> None:
    """Record the blobs of arrivals that were kept in a store. Whoever calls this holds the locks of their digests.

    Of blobs that nobody had, workers work out the checksums of algorithms that did not come with them, and make the
    copies that are wanted elsewhere. A copy here that was known to be bad is a good one again.
    """
    # Bytes first, rows second: an orphan blob is swept, a row without bytes is a lie. A sweep may have come between;
    # from here on the lock keeps it away.
    for first in range(0, len(arrivals), AT_ONCE):
        await all_of(arrival.keep_still() for arrival in arrivals[first : first + AT_ONCE])
    new, bad = await blobs.insert(connection, store.place, [(arrival.blob, arrival.key) for arrival in arrivals])
    for arrival in arrivals:
        if arrival.blob.digest in bad:
            await arrival.keep_anew()
        if arrival.checksums:
            await blobs.insert_checksums(connection, arrival.blob.digest, arrival.checksums)
    here = {arrival.blob.digest: {one.algorithm for one in arrival.checksums} for arrival in arrivals}
    sizes = {arrival.blob.digest: arrival.blob.size for arrival in arrivals}
    jobs: list[Job] = [ChecksumBlob(one.hex) for one in new if set(algorithms) - here[one]]
    jobs += [ReplicateBlob(one.hex, place) for one in new for place in places_for(store.replicas, sizes[one])]
    await enqueue_all(connection, jobs)


async def all_of(work: Iterable[Coroutine[None, None, None]]) -> None:
    """Return, or raise what one of them raises, when all have ended."""
    for error in await asyncio.gather(*work, return_exceptions=True):
        if error is not None:
            raise error
