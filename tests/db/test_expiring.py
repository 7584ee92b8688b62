"""What nobody registered in time goes, and its bytes with it; what was registered stays, however close it was."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from drs_service.blobs.store import BlobStore
from drs_service.db import uploads
from drs_service.db.pool import Database
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.candidates import Candidate, FromUpload
from drs_service.domain.checksums import Checksum
from drs_service.domain.names import file_name
from drs_service.domain.objects import DrsObject
from drs_service.errors import BlobNotFound, CandidateInvalid
from drs_service.usecases.announcing import Announcement, Announcing
from drs_service.usecases.checksumming import Checksumming
from drs_service.usecases.registering import IdempotencyKey, Registering
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.tidying import BATCH, Tidying
from tests.support.deadline import PATIENCE
from tests.support.rows import digest_of_bytes, incoming

ROUNDS = 60
AT_ONCE = 6
LATER = timedelta(hours=1)


class Parts:
    """The use cases on one database and one store."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self.store = store
        self.sweep = Sweep(database, store)
        self.announcing = Announcing(database, store, self.sweep, lifetime=timedelta(hours=1))
        self.registering = Registering(
            database, Checksumming(database, store, ()), max_entries=100, verify_external=False
        )
        self.tidying = Tidying(database, store)

    async def sent(self, content: bytes) -> str:
        """The id of an upload whose bytes have come."""
        checksum = Checksum("sha-256", digest_of_bytes(content).hex)
        [upload] = await self.announcing.announce(
            ANONYMOUS,
            [Announcement(name=file_name("a"), size=len(content), media_type="text/plain", checksums=(checksum,))],
        )
        await self.announcing.receive(upload.id, incoming(content))
        return upload.id

    async def register(self, *ids: str, key: IdempotencyKey | None = None) -> list[DrsObject]:
        candidates = [Candidate(source=FromUpload(one), size=None, checksums=()) for one in ids]
        return await self.registering.register(ANONYMOUS, candidates, key)

    async def keeps(self, content: bytes) -> bool:
        try:
            return (await self.store.stat(digest_of_bytes(content))).size == len(content)
        except BlobNotFound:
            return False


@pytest.fixture
def parts(database: Database, store: BlobStore) -> Parts:
    return Parts(database, store)


EXPIRE_SOON = "UPDATE uploads SET expires_at = clock_timestamp() + $2::interval WHERE id = $1"


async def expire(database: Database, upload_id: str, *, soon: timedelta = timedelta()) -> None:
    async with database.connection() as connection:
        await connection.execute(EXPIRE_SOON, upload_id, soon)


async def left(database: Database, table: str) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def test_an_expired_upload_is_forgotten_and_its_bytes_are_swept(database: Database, parts: Parts) -> None:
    gone, shared, waiting = await parts.sent(b"gone"), await parts.sent(b"shared"), await parts.sent(b"waiting")
    [kept] = await parts.register(await parts.sent(b"shared"))
    await expire(database, gone)
    await expire(database, shared)
    await parts.tidying.run()
    async with database.connection() as connection:
        assert set(await uploads.select(connection, [gone, shared, waiting])) == {waiting}
    assert await left(database, "uploads") == 1
    # Their bytes have the grace time that all bytes have.
    assert (await parts.sweep.run(before=datetime.now(UTC) - LATER)).released == 0
    assert (await parts.sweep.run(before=datetime.now(UTC) + LATER)).released == 1
    assert [await parts.keeps(one) for one in (b"gone", b"shared", b"waiting")] == [False, True, True]
    assert await left(database, "releases") == 0
    assert kept.blob is not None


FILL = """
    INSERT INTO uploads (id, owner_id, space_id, name, file_name, media_type, size, checksums, expires_at)
    SELECT 'upload-' || n, 'anonymous', 'default', 'a', 'a', 'text/plain', 0, '{}', now() - interval '1 s'
    FROM generate_series(1, $1) AS n
"""


async def test_more_uploads_than_one_batch_are_forgotten_at_once(database: Database, parts: Parts) -> None:
    waiting = await parts.sent(b"waiting")
    async with database.connection() as connection:
        await connection.execute(FILL, 2 * BATCH + 1)
    await parts.tidying.run()
    assert await left(database, "uploads") == 1
    assert await parts.register(waiting)


async def test_an_upload_that_somebody_uses_is_not_waited_for(database: Database, parts: Parts) -> None:
    used, unused = await parts.sent(b"used"), await parts.sent(b"unused")
    await expire(database, used)
    await expire(database, unused)
    async with database.transaction() as connection:
        await connection.execute(uploads.LOCK, [used])
        async with asyncio.timeout(5):
            await parts.tidying.run()
        assert await left(database, "uploads") == 1
    await parts.tidying.run()
    assert await left(database, "uploads") == 0


async def test_a_key_is_kept_for_a_day(database: Database, parts: Parts) -> None:
    key = IdempotencyKey("key", b"request")
    first = await parts.register(await parts.sent(b"once"), key=key)
    age = "UPDATE idempotency_keys SET created_at = now() - $1::interval"
    for hours, remembered in ((23, True), (25, False)):
        async with database.connection() as connection:
            await connection.execute(age, timedelta(hours=hours))
        await parts.tidying.run()
        assert await left(database, "idempotency_keys") == int(remembered)
        if remembered:
            assert await parts.register("whatever", key=key) == first


async def test_registering_an_upload_while_it_expires_is_all_or_nothing(database: Database, parts: Parts) -> None:
    outcomes: list[bool] = []

    async def race(number: int) -> None:
        closing, open_still = secrets.token_bytes(100), secrets.token_bytes(100)
        ids = [await parts.sent(closing), await parts.sent(open_still)]
        # From before the registration begins to after it has ended.
        await expire(database, ids[0], soon=timedelta(milliseconds=1.5 * (number % AT_ONCE)))
        registering = asyncio.create_task(parts.register(*ids))
        while not registering.done():
            await parts.tidying.run()
            await parts.sweep.run(before=datetime.now(UTC) + LATER)
        try:
            registered = await registering
        except CandidateInvalid:
            registered = []
        # What another round is just about to forget is skipped here.
        async with asyncio.timeout(PATIENCE):
            while await parts.keeps(closing) != bool(registered):
                await parts.tidying.run()
                await parts.sweep.run(before=datetime.now(UTC) + LATER)
        async with database.connection() as connection:
            waiting = set(await uploads.select(connection, ids))
        assert len(registered) in {0, 2}
        assert waiting == (set() if registered else {ids[1]})
        assert await parts.keeps(open_still)
        outcomes.append(bool(registered))

    for first in range(0, ROUNDS, AT_ONCE):
        await asyncio.gather(*(race(number) for number in range(first, first + AT_ONCE)))
    assert {True, False} == set(outcomes), "the two never raced"
    assert await left(database, "objects") == 2 * sum(outcomes)
