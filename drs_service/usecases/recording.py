"""Rows for bytes that were kept, and the work that follows on them."""

from collections.abc import Collection, Sequence

from drs_service.blobs.receiving import Arrival
from drs_service.db import blobs
from drs_service.db.pool import Connection
from drs_service.jobs.kinds import ChecksumBlob, enqueue_all


async def record(
    connection: Connection, place: str, arrivals: Sequence[Arrival], *, algorithms: Collection[str]
) -> None:
    """Record the blobs of arrivals that were kept in place. Whoever calls this holds the locks of their digests.

    Of blobs that nobody had, a worker works out the checksums of algorithms that did not come with them.
    """
    # Bytes first, rows second: an orphan blob is swept, a row without bytes is a lie. A sweep may have come between;
    # from here on the lock keeps it away.
    for arrival in arrivals:
        await arrival.keep_still()
    new = await blobs.insert(connection, place, [(arrival.blob, arrival.key) for arrival in arrivals])
    for arrival in arrivals:
        if arrival.checksums:
            await blobs.insert_checksums(connection, arrival.blob.digest, arrival.checksums)
    here = {arrival.blob.digest: {one.algorithm for one in arrival.checksums} for arrival in arrivals}
    await enqueue_all(connection, [ChecksumBlob(one.hex) for one in new if set(algorithms) - here[one]])
