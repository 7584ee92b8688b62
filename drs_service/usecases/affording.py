"""What is brought back from archives is paid for: so much in a day, and no more."""

from collections.abc import Mapping

from drs_service.db import blobs, restores
from drs_service.db.pool import Connection
from drs_service.domain.digest import Digest
from drs_service.errors import BytesPutAway, TooMuchThawed
from drs_service.jobs.kinds import ThawBlob


async def affordable(
    connection: Connection, jobs: Mapping[str, ThawBlob], *, most: int | None, patient: bool
) -> Mapping[str, ThawBlob]:
    """Those that there is room for today, if it has an end; all if they are patient, for they wait then.

    TooMuchThawed if there is room for none. BytesPutAway if one is longer than what is brought back in any day.
    """
    if most is None:
        return jobs
    digests = [Digest.from_hex(job.digest) for job in jobs.values()]
    sizes = await blobs.sizes(connection, digests)
    if longest := [size for size in sizes.values() if size > most]:
        raise too_long(max(longest), most)
    if patient:
        return jobs
    spent, asked = await restores.spent(connection), await restores.asked(connection, digests)
    left = max(most - spent.bytes, 0)
    found = {}
    for digest, (name, job) in zip(digests, jobs.items(), strict=True):
        size = 0 if (digest, job.place) in asked else sizes.get(digest, 0)
        if size <= left:
            left -= size
            found[name] = job
    if not found:
        raise TooMuchThawed(retry_after=max(spent.seconds, 1))
    return found


def too_long(size: int, most: int) -> BytesPutAway:
    return BytesPutAway(f"{size} bytes lie in an archive, and no more than {most} are brought back in a day here.")
