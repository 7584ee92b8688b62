"""Every kind of job, by its payload. A payload is read by workers of other releases: fields are only ever added."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from drs_service.db.pool import Connection


class SweepOrphans(msgspec.Struct, frozen=True, tag="sweep_orphans"):
    """Forget bytes that no row refers to."""

    before: datetime | None = None
    """Only what was published before; by default what is older than the grace time of the settings."""


class Tidy(msgspec.Struct, frozen=True, tag="tidy"):
    """Keep the tables small that only grow: the queue's log, changes of the totals, expired uploads and keys."""


class VerifyExternal(msgspec.Struct, frozen=True, tag="verify_external"):
    """See that the bytes to which access methods of an object lead are as stated."""

    object_id: str
    urls: tuple[str, ...]
    """Of the access methods to look at; those that are not there any more are somebody else's job."""


class ChecksumBlob(msgspec.Struct, frozen=True, tag="checksum_blob", omit_defaults=True):
    """Work out the checksums that the operator wants of a blob."""

    digest: str
    """Hexadecimal."""
    algorithms: tuple[str, ...] = ()
    """Of checksums that somebody else wants besides."""


class ChecksumBacklog(msgspec.Struct, frozen=True, tag="checksum_backlog"):
    """Find blobs that lack such a checksum."""

    after: str = ""
    """Only behind this digest, in hexadecimal."""


class FinishUpload(msgspec.Struct, frozen=True, tag="finish_upload"):
    """Make an object of an upload of which all bytes have come."""

    upload_id: str


class ReplicateBlob(msgspec.Struct, frozen=True, tag="replicate_blob"):
    """See that a place has a good copy of a blob."""

    digest: str
    """Hexadecimal."""
    place: str


class ReplicaBacklog(msgspec.Struct, frozen=True, tag="replica_backlog"):
    """Find copies that are wanted and not there, or known to be bad."""

    rule: int | None = None
    """Only what this rule of the settings wants; by default all of them, and what is bad."""
    after: str = ""
    """Only behind this digest, in hexadecimal."""


class DrainPlace(msgspec.Struct, frozen=True, tag="drain_place"):
    """Find what is to be moved out of a place."""

    place: str
    after: str = ""
    """Only behind this digest, in hexadecimal."""


class DrainBlob(msgspec.Struct, frozen=True, tag="drain_blob"):
    """Move a blob out of a place."""

    digest: str
    """Hexadecimal."""
    place: str


class VerifyBlob(msgspec.Struct, frozen=True, tag="verify_blob"):
    """Read a copy whose turn it is, and see that it is right."""

    digest: str
    """Hexadecimal."""
    place: str


class Scrub(msgspec.Struct, frozen=True, tag="scrub"):
    """Find copies whose turn it is."""


class Adopt(msgspec.Struct, frozen=True, tag="adopt"):
    """Make objects of files in an external place."""

    place: str
    files: tuple[int, ...]
    """Ids of their rows."""


class ThawBlob(msgspec.Struct, frozen=True, tag="thaw_blob"):
    """See that a copy in an archive is brought back."""

    digest: str
    """Hexadecimal."""
    place: str


class Alert(msgspec.Struct, frozen=True, tag="alert"):
    """Tell the operator of damaged copies."""


Job = (
    SweepOrphans
    | Tidy
    | VerifyExternal
    | ChecksumBlob
    | ChecksumBacklog
    | FinishUpload
    | ReplicateBlob
    | ReplicaBacklog
    | DrainPlace
    | DrainBlob
    | VerifyBlob
    | Scrub
    | Adopt
    | ThawBlob
    | Alert
)


def kind_of(job: Job | type[Job]) -> str:
    return str(job.__struct_config__.tag)


async def enqueue(connection: Connection, job: Job, *, after: timedelta | None = None) -> None:
    """Add a job to the queue. It exists once the caller's transaction commits; after says what to wait first."""
    await enqueue_all(connection, [job], after=after)


async def enqueue_all(connection: Connection, jobs: Sequence[Job], *, after: timedelta | None = None) -> None:
    """The same, of several in one statement."""
    if not jobs:
        return
    from pgqueuer import Queries

    queries = Queries.from_asyncpg_connection(connection)  # type: ignore[arg-type]  # a pooled one will do
    await queries.enqueue(
        [kind_of(job) for job in jobs],
        [msgspec.json.encode(job) for job in jobs],
        [0] * len(jobs),
        [after] * len(jobs),
    )


async def enqueue_once(connection: Connection, job: Job, *, after: timedelta | None = None) -> None:
    """The same, unless a job of its kind that was added so is still to be done: for what comes again and again."""
    await enqueue_each_once(connection, {kind_of(job): job}, after=after)


async def enqueue_each_once(connection: Connection, jobs: Mapping[str, Job], *, after: timedelta | None = None) -> None:
    """The same, of several, each under a name; unless one that was added under this name is still to be done."""
    from pgqueuer import Queries

    queries = Queries.from_asyncpg_connection(connection)  # type: ignore[arg-type]  # a pooled one will do
    await queries.enqueue(
        [kind_of(job) for job in jobs.values()],
        [msgspec.json.encode(job) for job in jobs.values()],
        [0] * len(jobs),
        [after] * len(jobs),
        dedupe_key=[f"once {name}" for name in jobs],
        on_conflict="skip",
    )
