"""Checksums that the operator wants come to every blob, once its bytes have been read."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from drs_service.blobs.keys import key_for
from drs_service.blobs.opening import open_store
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs
from drs_service.db.pool import Connection, Database
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.digest import Digest
from drs_service.errors import BlobCorrupt, JobTakenOver
from drs_service.jobs.kinds import ChecksumBacklog, enqueue
from drs_service.parts import check_store
from drs_service.settings import Settings
from drs_service.usecases.checksumming import Checksumming
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.uploads import Uploads
from tests.support.rows import digest_of, incoming
from tests.support.serve import PATIENCE
from tests.support.server import running
from tests.support.tus import Tus, metadata
from tests.worker.test_worker import database, worker

CONTENT = secrets.token_bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA512 = hashlib.sha512(CONTENT).hexdigest()


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    async with database(settings) as db:
        yield db


@pytest.fixture
async def store(settings: Settings, db: Database) -> AsyncIterator[BlobStore]:
    assert settings.storage_url is not None
    store = open_store(settings.storage_url, max_bytes=1024**3)
    await check_store(db, store)
    yield store
    await store.close()


async def kept(db: Database, store: BlobStore, content: bytes, checksums: Collection[str] = ()) -> Digest:
    uploads = Uploads(db, store, Sweep(db, store), checksums=checksums)
    return digest_of(await uploads.put(ANONYMOUS, incoming(content)))


async def published(db: Database, digest: Digest) -> dict[str, str]:
    async with db.connection() as connection:
        return (await blobs.checksums(connection, [digest]))[digest]


async def eventually_published(db: Database, digest: Digest, algorithms: set[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        while set(await published(db, digest)) != algorithms:
            await asyncio.sleep(0.02)


async def test_checksums_that_are_wanted_of_bytes_that_are_here_come_by_a_worker(
    settings: Settings, own_environment: dict[str, str], db: Database
) -> None:
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        await client.put("/upload/a", content=CONTENT)
        tus, digest = Tus(client), hashlib.sha256(CONTENT).hexdigest()
        path = await tus.begin(len(CONTENT), metadata({"sha-256": digest, "checksums": "md5, sha-512"}))
        assert await tus.offset(path) == len(CONTENT)
        assert (await tus.content_of(path)) == CONTENT
        with worker(settings, own_environment):
            await eventually_published(db, Digest.from_hex(digest), {"md5", "sha-512"})
        made = (await client.get(await tus.object_of(path))).json()
        assert {one["checksum"] for one in made["checksums"]} == {digest, MD5, SHA512}
        # What is known by now is nobody's work.
        await tus.begin(len(CONTENT), metadata({"sha-256": digest, "checksums": "md5"}))
        assert await queued(db) == 0


async def queued(db: Database) -> int:
    async with db.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint LIKE 'checksum%'"))


async def test_a_worker_works_out_what_the_operator_wants(
    settings: Settings, own_environment: dict[str, str], db: Database, store: BlobStore
) -> None:
    wanting = replace(settings, checksums=("md5", "sha-512"))
    old = await kept(db, store, b"before anybody wanted it")
    new = await kept(db, store, CONTENT, wanting.checksums)
    assert await queued(db) == 1
    async with db.transaction() as connection:
        await enqueue(connection, ChecksumBacklog())
    with worker(wanting, own_environment):
        for digest in (old, new):
            await eventually_published(db, digest, {"md5", "sha-512"})
    assert await published(db, new) == {"md5": MD5, "sha-512": SHA512}


async def test_bytes_that_are_here_already_make_no_work(db: Database, store: BlobStore) -> None:
    for _ in range(2):
        await kept(db, store, CONTENT, ["md5"])
    assert await queued(db) == 1


async def test_what_nobody_asks_for_makes_no_work(db: Database, store: BlobStore) -> None:
    await kept(db, store, CONTENT)
    await Checksumming(db, store, ()).take_up("")
    assert await queued(db) == 0


async def test_the_backlog_is_taken_up_batch_by_batch(
    db: Database, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drs_service.usecases.checksumming.BATCH", 2)
    digests = sorted([await kept(db, store, b"%d" % number) for number in range(5)], key=lambda one: one.raw)
    checksumming = Checksumming(db, store, ["md5"])
    await checksumming.work_out(digests[0])
    await checksumming.take_up("")
    assert await queued(db) == 3  # two blobs, and the rest of the backlog
    await checksumming.take_up(digests[2].hex)
    assert await queued(db) == 6


async def test_nothing_is_published_of_bytes_that_are_damaged(
    db: Database, store: BlobStore, settings: Settings
) -> None:
    digest = await kept(db, store, CONTENT)
    assert settings.storage_url is not None
    path = Path(urlsplit(settings.storage_url).path) / key_for(digest)
    path.chmod(0o600)
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(BlobCorrupt):
        await Checksumming(db, store, ["md5"]).work_out(digest)
    assert await published(db, digest) == {}


async def test_a_blob_that_has_gone_is_no_fault(db: Database, store: BlobStore) -> None:
    await Checksumming(db, store, ["md5"]).work_out(Digest(bytes(32)))


class Watched:
    """An attempt at a job that somebody watches, and that another worker may have by now."""

    def __init__(self, *, taken_over: bool = False) -> None:
        self.told: list[tuple[int, int | None, str]] = []
        self._taken_over = taken_over

    def progress(self, done: int, total: int | None, unit: str) -> None:
        self.told.append((done, total, unit))

    async def hold(self, connection: Connection) -> None:
        await self.conclude(connection)

    async def conclude(self, connection: Connection) -> None:
        if self._taken_over:
            raise JobTakenOver


async def test_who_reads_a_blob_tells_how_far_it_is(db: Database, store: BlobStore) -> None:
    digest, attempt = await kept(db, store, CONTENT), Watched()
    await Checksumming(db, store, ["md5"]).work_out(digest, attempt=attempt)
    assert attempt.told[-1] == (len(CONTENT), len(CONTENT), "bytes")
    assert [done for done, _, _ in attempt.told] == sorted({done for done, _, _ in attempt.told})


async def test_a_sweep_tells_how_far_it_is(db: Database, store: BlobStore) -> None:
    for content in (b"a", b"b"):
        await kept(db, store, content)
    attempt = Watched()
    await Sweep(db, store).run(before=datetime.now(UTC) - timedelta(days=1), attempt=attempt)
    assert attempt.told == [(1, None, "blobs"), (2, None, "blobs")]


async def test_who_comes_too_late_publishes_nothing(db: Database, store: BlobStore) -> None:
    digest, checksumming = await kept(db, store, CONTENT), Checksumming(db, store, ["md5"])
    late = Watched(taken_over=True)
    with pytest.raises(JobTakenOver):
        await checksumming.work_out(digest, attempt=late)
    assert await published(db, digest) == {}
    before = await queued(db)
    with pytest.raises(JobTakenOver):
        await checksumming.take_up("", late)
    assert await queued(db) == before
