"""Work that must read what lies in an archive waits for it; work that need not leaves it there."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from drs_service.db import archived
from drs_service.domain.digest import Digest
from drs_service.errors import BytesArchived
from drs_service.jobs import listing
from drs_service.jobs.kinds import ReplicateBlob, enqueue
from drs_service.settings import Secret, Settings
from drs_service.usecases.checksumming import Checksumming
from drs_service.usecases.placekeeping import Placekeeping
from drs_service.usecases.scrubbing import Scrubbing
from drs_service.usecases.thawing import Thawing
from tests.places.conftest import Parts, is_good
from tests.places.test_draining import only_there
from tests.places.test_scrubbing import make_due
from tests.support.deadline import once
from tests.support.frozen import SOON, Frozen, tasks, thawing, working
from tests.support.glacier import glacier
from tests.support.s3 import S3Server
from worker.tasks.replicate_blob import replicate_blob

CONTENT = secrets.token_bytes(300_000)


@pytest.fixture
async def frozen(s3: S3Server) -> AsyncIterator[Frozen]:
    async with glacier(s3) as behind:
        yield Frozen(behind)


@pytest.fixture
def settings(settings: Settings, frozen: Frozen) -> Settings:
    """The mirror is in the archive."""
    access = frozen.glacier.access.s3
    options = f"endpoint_url={access.endpoint_url}&access_key_id={quote(access.access_key_id or '')}"
    return replace(
        settings,
        places=(f"mirror={frozen.bucket.url}?{options}",),
        place_secrets=Secret(f"mirror={access.secret_access_key}"),
        replicas="mirror",
    )


@pytest.fixture
async def digest(parts: Parts, frozen: Frozen) -> Digest:
    """A blob whose copy in the mirror lies in an archive, which nobody knows yet."""
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    frozen.put_away(digest)
    return digest


def thawing_of(parts: Parts) -> Thawing:
    return thawing(parts.database, parts.places, parts.settings)


async def nothing(_: int) -> None: ...


def scrubbing(parts: Parts) -> Scrubbing:
    return Scrubbing(parts.database, parts.places, parts.reading, timedelta(days=30), nothing)


async def test_a_copy_that_is_only_there_is_made_once_it_was_brought_back(
    parts: Parts, frozen: Frozen, digest: Digest
) -> None:
    await only_there(parts, digest)
    async with parts.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO replicas (digest, place, key, damaged_at, damage) VALUES ($1, 'primary', 'k', now(), 'gone')",
            digest.raw,
        )
        await enqueue(connection, ReplicateBlob(digest.hex, "primary"))
    todo = {
        **tasks(thawing_of(parts)),
        ReplicateBlob: replace(replicate_blob(parts.replicating), attempts=0, look_again=SOON),
    }

    async def waiting() -> list[listing.Listed]:
        async with parts.database.connection() as connection:
            return await listing.page(connection, state=None, kind=None, after=0, limit=10)

    async with working(parts.database, todo):
        jobs = await once(lambda jobs: len(jobs) == 2 and all(one.error for one in jobs), waiting)
        assert {one.kind for one in jobs} == {"replicate_blob", "thaw_blob"}
        assert {(one.error and one.error.code, one.attempts) for one in jobs} == {("bytes_archived", 0)}
        frozen.glacier.give_back()
        await once(lambda jobs: not jobs, waiting)
    assert is_good(parts.file("primary", digest), digest)
    assert len(frozen.glacier.restores) == 1


async def test_a_place_is_emptied_of_what_it_has_put_away(parts: Parts, frozen: Frozen, digest: Digest) -> None:
    await only_there(parts, digest)
    await parts.draining.begin("mirror")
    for _ in range(2):
        with pytest.raises(BytesArchived):
            await parts.draining.move(digest, "mirror")
    assert await parts.jobs("thaw_blob") == 1
    with pytest.raises(BytesArchived):
        await thawing_of(parts).thaw(digest, "mirror")
    frozen.glacier.give_back()
    await thawing_of(parts).thaw(digest, "mirror")
    await parts.draining.move(digest, "mirror")
    assert is_good(parts.file("primary", digest), digest)
    assert (await parts.copies(digest)).keys() == {"primary"}


async def test_a_copy_elsewhere_is_enough_to_do_without(parts: Parts, frozen: Frozen, digest: Digest) -> None:
    await parts.draining.begin("mirror")
    await parts.draining.move(digest, "mirror")
    assert (await parts.copies(digest)).keys() == {"primary"}
    assert frozen.bucket.blobs() == []
    assert await parts.jobs("thaw_blob") == 0


async def test_scrubbing_leaves_it_there_and_calls_it_neither_bad_nor_verified(
    parts: Parts, frozen: Frozen, digest: Digest
) -> None:
    await make_due(parts)
    before = (await parts.copies(digest))["mirror"].verified
    for _ in range(2):
        await scrubbing(parts).verify(digest, "mirror")
    copy = (await parts.copies(digest))["mirror"]
    assert (copy.archived, copy.damage, copy.verified) == (True, None, before)
    await scrubbing(parts).take_up()
    assert await parts.jobs("verify_blob") == 1  # the other one
    status = {one.place: one for one in await Placekeeping(parts.database, parts.places, ()).status()}
    assert (status["mirror"].archived, status["primary"].archived) == (1, 0)
    assert await parts.jobs("thaw_blob") == 0
    assert frozen.glacier.restores == []


async def test_nothing_is_brought_back_for_a_checksum(parts: Parts, digest: Digest) -> None:
    await only_there(parts, digest)
    async with parts.database.transaction() as connection:
        await archived.refused(connection, digest, "mirror")
    await Checksumming(parts.database, parts.store, ["md5"], parts.reading).take_up("")
    assert await parts.jobs("checksum_blob") == 0


async def test_the_sweep_notices_what_has_been_put_away_and_what_was_brought_back_stays_readable(
    parts: Parts, frozen: Frozen, digest: Digest
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await parts.sweep.run(before=later)
    assert (await parts.copies(digest))["mirror"].archived
    assert not (await parts.copies(digest))["primary"].archived
    with pytest.raises(BytesArchived):
        await thawing_of(parts).thaw(digest, "mirror")
    frozen.glacier.give_back()
    await thawing_of(parts).thaw(digest, "mirror")
    await parts.sweep.run(before=later)
    assert not (await parts.copies(digest))["mirror"].archived
    await parts.reading.archived(digest, parts.places.others[0])  # it was over sooner than it was said
    assert (await parts.copies(digest))["mirror"].archived


async def test_what_the_archive_has_lost_is_a_damaged_copy(parts: Parts, frozen: Frozen, digest: Digest) -> None:
    async with parts.database.transaction() as connection:
        await archived.refused(connection, digest, "mirror")
    [key] = frozen.bucket.blobs()
    frozen.bucket.server.client.delete_object(Bucket=frozen.bucket.name, Key=frozen.bucket.prefix + key)
    await thawing_of(parts).thaw(digest, "mirror")
    assert (await parts.copies(digest))["mirror"].damage == "the bytes are missing"
    await parts.replicating.replicate(digest, "mirror")
    copy = (await parts.copies(digest))["mirror"]
    assert (copy.damage, copy.archived) == (None, False)
