"""Uploads that are ready at the same time share a transaction, and nothing of what becomes of the others."""

import asyncio
import secrets
from pathlib import Path

import pytest

from drs_service.blobs.local import LocalDriver
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs
from drs_service.db.pool import Database
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.limits import Limits
from drs_service.domain.objects import DrsObject
from drs_service.errors import QuotaExceeded
from drs_service.usecases.limiting import Limiting
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.uploads import Uploads
from tests.support.rows import digest_of_bytes, incoming

COUNT = 40
XIDS = "SELECT count(DISTINCT xmin::text) FROM objects"


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(LocalDriver(tmp_path / "store"), place="primary", max_bytes=1024**2)


async def test_uploads_that_are_ready_together_are_recorded_together(database: Database, store: BlobStore) -> None:
    uploads = Uploads(database, store, Sweep(database, store))
    contents = [secrets.token_bytes(100) for _ in range(COUNT)] + [b"the same"] * 3
    kept = await asyncio.gather(*(uploads.put(ANONYMOUS, incoming(content)) for content in contents))
    assert [one.blob and one.blob.digest for one in kept] == [digest_of_bytes(content) for content in contents]
    assert len({one.id for one in kept}) == len(contents)
    async with database.connection() as connection:
        assert await connection.fetchval(XIDS) < COUNT
    await store.close()


async def test_nobody_waits_for_the_lock_of_another(database: Database, store: BlobStore) -> None:
    uploads = Uploads(database, store, Sweep(database, store))
    contents = [secrets.token_bytes(100) for _ in range(COUNT)]
    async with database.transaction() as connection:
        await blobs.lock(connection, [digest_of_bytes(contents[7])])
        sending = [asyncio.create_task(uploads.put(ANONYMOUS, incoming(content))) for content in contents]
        waits = sending.pop(7)
        await asyncio.gather(*sending)
        assert not waits.done()
    assert isinstance(await waits, DrsObject)
    await store.close()


async def test_what_is_too_much_is_refused_by_itself(database: Database, store: BlobStore) -> None:
    limiting = Limiting(database, Limits(bytes_of_owner=1000))
    uploads = Uploads(database, store, Sweep(database, store), limiting=limiting)
    contents = [secrets.token_bytes(100) for _ in range(COUNT)]
    results = await asyncio.gather(
        *(uploads.put(ANONYMOUS, incoming(content)) for content in contents), return_exceptions=True
    )
    # Transactions that run side by side do not see what the other one adds: a few more than fit may be kept.
    assert 10 <= [type(one) for one in results].count(DrsObject) < COUNT
    assert {type(one) for one in results} == {DrsObject, QuotaExceeded}
    await store.close()
