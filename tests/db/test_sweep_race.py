"""Deletion cannot race a re-upload: what was acknowledged keeps its bytes, whatever sweeps meanwhile."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.keys import key_for
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs
from drs_service.db.pool import Database
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.candidates import Candidate, FromDigest
from drs_service.errors import CandidateInvalid, StorageFull, UploadInterrupted
from drs_service.usecases.changing import Changing
from drs_service.usecases.checksumming import Checksumming
from drs_service.usecases.objects import Kept
from drs_service.usecases.registering import Registering
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.uploads import Incoming, Uploads
from tests.support.driving import put
from tests.support.faults import FailAfter, Slow
from tests.support.places import LocalPlace, MemoryPlace, Place
from tests.support.rows import digest_of, digest_of_bytes, incoming

ROUNDS = 300
DELETIONS = 150
AT_ONCE = 15
GAP = 0.003  # seconds between asking the place and acting on its answer
LATER = timedelta(hours=1)


def slowly(driver: BlobDriver) -> BlobDriver:
    return Slow(driver, GAP)


@pytest.fixture(params=["memory", "local"])
async def slow_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    place = LocalPlace(tmp_path / "slow", wrap=slowly) if request.param == "local" else MemoryPlace(wrap=slowly)
    yield place
    await place.driver.close()


async def test_an_upload_keeps_its_bytes_while_a_sweep_forgets_them(database: Database, slow_place: Place) -> None:
    store = BlobStore(slow_place.driver, place="primary", max_bytes=1024**2)
    sweep = Sweep(database, store)
    uploads = Uploads(database, store, sweep)
    lost: list[bytes] = []
    swept = 0

    async def race(number: int) -> None:
        nonlocal swept
        content = secrets.token_bytes(100)
        key = key_for(digest_of_bytes(content))
        await put(slow_place.driver, key, content)  # an orphan, left by somebody who died
        uploading = asyncio.create_task(uploads.put(ANONYMOUS, incoming(content)))
        # At every stage of the upload, from before its first write to after its commit.
        await asyncio.wait([uploading], timeout=GAP * (number % AT_ONCE) / 2)
        swept += await sweep.forget(digest_of_bytes(content))
        await uploading
        if slow_place.raw_get(key) != content:
            lost.append(content)

    for first in range(0, ROUNDS, AT_ONCE):
        await asyncio.gather(*(race(number) for number in range(first, first + AT_ONCE)))
    assert len(lost) == 0, f"{len(lost)} of {ROUNDS} acknowledged objects lost their bytes"
    assert 0 < swept < ROUNDS, "the two never raced"


async def test_an_upload_keeps_its_bytes_while_the_last_that_had_them_is_deleted_with_them(
    database: Database, slow_place: Place
) -> None:
    store = BlobStore(slow_place.driver, place="primary", max_bytes=1024**2)
    sweep = Sweep(database, store)
    uploads = Uploads(database, store, sweep)
    changing = Changing(database, sweep, Kept(0), Checksumming(database, store, ()), verify_external=False)
    registering = Registering(database, Checksumming(database, store, ()), max_entries=10, verify_external=False)
    lost: list[bytes] = []
    refused = 0

    async def race(number: int) -> None:
        nonlocal refused
        content = secrets.token_bytes(100)
        first = await uploads.put(ANONYMOUS, incoming(content))
        candidate = Candidate(source=FromDigest(digest_of(first)), size=None, checksums=())
        # By its bytes or by its digest, at every stage of the deletion.
        again: asyncio.Task[object]
        if number % 2:
            again = asyncio.create_task(uploads.put(ANONYMOUS, incoming(content)))
        else:
            again = asyncio.create_task(registering.register(ANONYMOUS, [candidate]))
        await asyncio.wait([again], timeout=GAP * (number % AT_ONCE) / 2)
        await changing.delete(ANONYMOUS, [first.id], reason=None, for_good=number % 3 == 0, bytes_too=True)
        try:
            await again
        except CandidateInvalid:  # by then nobody had these bytes: nothing was promised
            refused += 1
            return
        async with database.connection() as connection:
            assert await blobs.known(connection, [digest_of(first)])
        if slow_place.raw_get(key_for(digest_of(first))) != content:
            lost.append(content)

    for first in range(0, DELETIONS, AT_ONCE):
        await asyncio.gather(*(race(number) for number in range(first, first + AT_ONCE)))
    assert len(lost) == 0, f"{len(lost)} of {DELETIONS} acknowledged objects lost their bytes"
    assert 0 < refused < DELETIONS / 2, "the two never raced"


async def test_uploads_keep_their_bytes_while_whole_sweeps_run(database: Database, slow_place: Place) -> None:
    store = BlobStore(slow_place.driver, place="primary", max_bytes=1024**2)
    sweep = Sweep(database, store)
    uploads = Uploads(database, store, sweep)
    done = asyncio.Event()
    forgotten = 0

    async def keep_sweeping() -> None:
        nonlocal forgotten
        while not done.is_set():
            forgotten += (await sweep.run(before=datetime.now(UTC) + LATER)).forgotten

    async def upload() -> list[bytes]:
        contents: list[bytes] = []
        # On a slow machine a dozen may all be in before a sweep gets round to one.
        while len(contents) < 12 or forgotten == 0:
            content = secrets.token_bytes(100)
            contents.append(content)
            await put(slow_place.driver, key_for(digest_of_bytes(content)), content)  # an orphan, for the sweeps
            await uploads.put(ANONYMOUS, incoming(content))
        return contents

    sweeping = [asyncio.create_task(keep_sweeping()) for _ in range(3)]
    try:
        async with asyncio.timeout(15):  # seconds; past it the sweeps never came between
            uploaded = await asyncio.gather(*(upload() for _ in range(8)))
    finally:
        done.set()
        await asyncio.gather(*sweeping)
    for contents in uploaded:
        for content in contents:
            assert slow_place.raw_get(key_for(digest_of_bytes(content))) == content


@pytest.fixture
def local(tmp_path: Path) -> LocalPlace:
    return LocalPlace(tmp_path / "store")


@pytest.fixture
async def local_store(local: LocalPlace) -> AsyncIterator[BlobStore]:
    store = BlobStore(local.driver, place="primary", max_bytes=1024**2)
    yield store
    await store.close()


async def test_a_sweep_forgets_old_orphans_and_nothing_else(
    database: Database, local: LocalPlace, local_store: BlobStore
) -> None:
    sweep = Sweep(database, local_store)
    kept = await Uploads(database, local_store, sweep).put(ANONYMOUS, incoming(b"has a row"))
    orphans = [key_for(digest_of_bytes(b"%d" % number)) for number in range(5)]
    for key in orphans:
        await put(local.driver, key, b"orphan")
    await put(local.driver, "sha256/readme", b"of somebody else")

    spared = await sweep.run(before=datetime.now(UTC) - LATER)
    assert (spared.seen, spared.forgotten) == (6, 0)
    swept = await sweep.run(before=datetime.now(UTC) + LATER)
    assert (swept.seen, swept.forgotten) == (6, 5)
    assert local.raw_keys() == sorted([key_for(digest_of(kept)), "sha256/readme"])


async def test_a_sweep_goes_through_more_blobs_than_one_batch(database: Database) -> None:
    place = MemoryPlace()
    store = BlobStore(place.driver, place="primary", max_bytes=1024**2)
    uploads = Uploads(database, store, Sweep(database, store))
    kept = [await uploads.put(ANONYMOUS, incoming(b"kept %d" % number)) for number in range(10)]
    for number in range(1100):
        await put(place.driver, key_for(digest_of_bytes(b"%d" % number)), b"orphan")
    swept = await Sweep(database, store).run(before=datetime.now(UTC) + LATER)
    assert (swept.seen, swept.forgotten) == (1110, 1100)
    assert place.raw_keys() == sorted(key_for(digest_of(one)) for one in kept)
    await store.close()


async def form(*files: Incoming) -> AsyncIterator[Incoming]:
    for file in files:
        yield file


async def test_a_form_that_fails_leaves_no_bytes_but_those_that_others_have(
    database: Database, local: LocalPlace, local_store: BlobStore
) -> None:
    uploads = Uploads(database, local_store, Sweep(database, local_store))
    others = await uploads.put(ANONYMOUS, incoming(b"others"))
    with pytest.raises(UploadInterrupted):
        await uploads.put_all(
            ANONYMOUS,
            form(incoming(b"others"), incoming(b"new"), incoming(b"half", error=UploadInterrupted()), incoming(b"end")),
        )
    assert local.raw_keys() == [key_for(digest_of(others))]
    assert local.leftovers() == []
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM objects") == 1
        assert await connection.fetchval("SELECT count(*) FROM blobs") == 1


async def test_a_form_is_kept_whole_and_the_same_bytes_once(
    database: Database, local: LocalPlace, local_store: BlobStore
) -> None:
    uploads = Uploads(database, local_store, Sweep(database, local_store))
    kept = await uploads.put_all(ANONYMOUS, form(incoming(b"a", name="1"), incoming(b"b", name="2"), incoming(b"a")))
    assert [one.name for one in kept] == ["1", "2", "reads.bam"]
    assert len({one.id for one in kept}) == 3
    assert local.raw_keys() == sorted(key_for(digest_of_bytes(content)) for content in (b"a", b"b"))


async def test_a_disk_that_fills_up_in_a_form_leaves_nothing(database: Database, local: LocalPlace) -> None:
    store = BlobStore(FailAfter(local.driver, 2, StorageFull()), place="primary", max_bytes=1024**2)
    uploads = Uploads(database, store, Sweep(database, store))
    with pytest.raises(StorageFull):
        await uploads.put_all(ANONYMOUS, form(*(incoming(b"%d" % number) for number in range(4))))
    assert local.raw_keys() == local.leftovers() == []
    await store.close()
