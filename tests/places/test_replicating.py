"""Copies come to the places that should have them, whatever happens meanwhile."""

import asyncio
import secrets
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drs_service.db import objects
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.digest import Digest
from drs_service.domain.names import file_name
from drs_service.domain.ranges import ByteRange
from drs_service.errors import BlobCorrupt, StorageUnavailable, StoreMismatch
from drs_service.settings import Settings
from drs_service.usecases.uploads import Incoming
from tests.places.conftest import Parts, flip, is_good, opened
from tests.support.driving import collect
from tests.support.rows import incoming
from tests.support.serve import PATIENCE
from tests.worker.test_worker import worker

CONTENT = secrets.token_bytes(3_000_000)
LATER = datetime.now(UTC) + timedelta(hours=1)


async def test_a_blob_and_the_job_of_its_copy_are_born_together(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    await parts.keep(CONTENT)
    assert await parts.jobs() == 1
    await parts.replicating.replicate(digest, "mirror")
    assert is_good(parts.file("mirror", digest), digest)
    assert (await parts.copies(digest)).keys() == {"primary", "mirror"}


async def test_a_worker_makes_the_copy(settings: Settings, own_environment: dict[str, str], parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    with worker(settings, own_environment):
        await eventually_copied(parts, digest, "mirror")
    assert is_good(parts.file("mirror", digest), digest)


async def eventually_copied(parts: Parts, digest: Digest, place: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while place not in (found := await parts.copies(digest)) or found[place].damage is not None:
            await asyncio.sleep(0.02)


async def test_several_told_to_do_the_same_make_one_copy(parts: Parts, settings: Settings, tmp_path: Path) -> None:
    digest = await parts.keep(CONTENT)
    async with opened(settings, tmp_path) as another:
        await asyncio.gather(
            *(one.replicating.replicate(digest, "mirror") for one in (parts, another) for _ in range(5))
        )
    assert is_good(parts.file("mirror", digest), digest)
    assert not list((tmp_path / "mirror" / "staging").glob("*/*"))


async def test_bytes_that_lay_in_the_way_are_not_taken_for_a_copy(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    path = parts.file("mirror", digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    flip(path)
    await parts.replicating.replicate(digest, "mirror")
    assert is_good(path, digest)


async def test_a_source_whose_bytes_are_others_is_no_source(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    flip(parts.file("primary", digest))
    with pytest.raises(BlobCorrupt):
        await parts.replicating.replicate(digest, "mirror")
    assert not parts.file("mirror", digest).exists()
    copies = await parts.copies(digest)
    assert copies.keys() == {"primary"}
    assert copies["primary"].damage == "the bytes are others"


@pytest.mark.parametrize("harm", ["flip", "cut", "unlink"])
async def test_a_bad_copy_is_made_good_from_another(parts: Parts, harm: str) -> None:
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    path = parts.file("primary", digest)
    if harm == "flip":
        flip(path)
    elif harm == "cut":
        path.chmod(0o600)
        path.write_bytes(CONTENT[:1000])
    else:
        path.unlink()
    await parts.reading.damaged(digest, parts.store, "it was seen")
    assert (await parts.copies(digest))["primary"].damage == "it was seen"
    await parts.replicating.replicate(digest, "primary")
    assert is_good(path, digest)
    assert (await parts.copies(digest))["primary"].damage is None


async def test_an_upload_of_the_same_bytes_makes_a_bad_copy_good(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    flip(parts.file("primary", digest))
    await parts.reading.damaged(digest, parts.store, "it was seen")
    await parts.keep(CONTENT)
    assert is_good(parts.file("primary", digest), digest)
    assert (await parts.copies(digest))["primary"].damage is None


async def test_the_backlog_finds_what_was_here_before_the_place(
    settings: Settings, own_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drs_service.usecases.replicating.BATCH", 2)
    async with opened(replace(settings, places=(), replicas=""), tmp_path) as before:
        digests = [await before.keep(b"%d" % number) for number in range(5)]
        assert await before.jobs() == 0
    async with opened(settings, tmp_path) as parts:
        await parts.replicating.take_up(0, "")
        assert (await parts.jobs(), await parts.jobs("replica_backlog")) == (2, 1)
        async with parts.database.transaction() as connection:
            await connection.execute("DELETE FROM pgqueuer")
        with worker(settings, own_environment):  # it begins with that, and not with the next hour
            for digest in digests:
                await eventually_copied(parts, digest, "mirror")


async def test_no_copy_is_ordered_in_a_place_that_is_away(parts: Parts) -> None:
    bad = await parts.keep(b"one")
    await parts.replicating.replicate(bad, "mirror")
    await parts.reading.damaged(bad, parts.places.others[0], "it was seen")
    await parts.keep(b"two")
    async with parts.database.transaction() as connection:
        await connection.execute("DELETE FROM pgqueuer")
    (parts.root / "mirror").rename(parts.root / "away")
    (parts.root / "mirror").mkdir()
    for rule in (None, 0):
        await parts.replicating.take_up(rule, "")
    assert (await parts.jobs(), await parts.jobs("replica_backlog")) == (0, 0)
    (parts.root / "mirror").rmdir()
    (parts.root / "away").rename(parts.root / "mirror")
    await parts.replicating.take_up(None, "")
    assert (await parts.jobs(), await parts.jobs("replica_backlog")) == (1, 1)
    await parts.replicating.take_up(None, "")
    assert await parts.jobs() == 1  # it is being worked off
    async with parts.database.transaction() as connection:
        await connection.execute("UPDATE pgqueuer SET execute_after = now() + interval '1 hour'")
    await parts.replicating.take_up(None, "")
    assert await parts.jobs() == 2  # what waits for its next attempt holds nothing up


async def test_a_rule_asks_for_size_type_and_space(settings: Settings, tmp_path: Path) -> None:
    choosy = replace(settings, replicas="cold:size>=4,type=image/* mirror:space=other")
    async with opened(choosy, tmp_path) as parts:
        image, text, small = [
            (await parts.uploads.put(ANONYMOUS, typed(content, media_type))).blob
            for content, media_type in ((b"image", "Image/PNG; a=b"), (b"a text", "text/plain"), (b"tny", "image/png"))
        ]
        assert image is not None and text is not None and small is not None
        for blob in (image, text, small):
            for place in ("cold", "mirror"):
                await parts.replicating.replicate(blob.digest, place)
        assert [(await parts.copies(blob.digest)).keys() - {"primary"} for blob in (image, text, small)] == [
            {"cold"},
            set(),
            set(),
        ]
        async with parts.database.transaction() as connection:
            await connection.execute("INSERT INTO spaces (id) VALUES ('other')")
            await connection.execute("UPDATE objects SET space_id = 'other' WHERE digest = $1", text.digest.raw)
        await parts.replicating.take_up(1, "")
        assert await parts.jobs() == 2 + 2 + 1 + 1  # by size, when they came; and the one that the backlog found
        await parts.replicating.replicate(text.digest, "mirror")
        assert "mirror" in await parts.copies(text.digest)


def typed(content: bytes, media_type: str) -> Incoming:
    return replace(incoming(content), media_type=media_type, name=file_name("a"))


async def test_what_is_deleted_goes_from_every_place(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    await let_go(parts, digest)
    assert (await parts.sweep.run(before=LATER)).released == 1
    assert not parts.file("primary", digest).exists()
    assert not parts.file("mirror", digest).exists()


async def let_go(parts: Parts, digest: Digest) -> None:
    async with parts.database.transaction() as connection:
        ids = await connection.fetch("SELECT id FROM objects WHERE digest = $1", digest.raw)
        await objects.delete(connection, [row["id"] for row in ids])


async def test_what_was_deleted_while_a_place_was_away_goes_when_it_is_back(parts: Parts, tmp_path: Path) -> None:
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    mirror = tmp_path / "mirror"
    mirror.rename(tmp_path / "away")
    await let_go(parts, digest)
    await parts.sweep.run(before=LATER)
    assert not parts.file("primary", digest).exists()
    (tmp_path / "away").rename(mirror)
    await parts.sweep.run(before=LATER)
    assert not parts.file("mirror", digest).exists()


async def test_orphans_are_swept_in_every_place_and_copies_are_not(parts: Parts) -> None:
    digest, orphan = await parts.keep(CONTENT), Digest(bytes(32))
    await parts.replicating.replicate(digest, "mirror")
    for place in ("mirror", "cold"):
        path = parts.file(place, orphan)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"nobody's")
    assert (await parts.sweep.run(before=LATER)).forgotten == 2
    assert is_good(parts.file("mirror", digest), digest)
    assert not parts.file("cold", orphan).exists()


async def test_a_place_that_is_not_mounted_is_not_written_to_and_has_lost_nothing(
    parts: Parts, settings: Settings, tmp_path: Path
) -> None:
    first, second = await parts.keep(CONTENT), await parts.keep(b"second")
    await parts.replicating.replicate(first, "mirror")
    mirror = tmp_path / "mirror"
    mirror.rename(tmp_path / "away")
    mirror.mkdir()
    with pytest.raises(StorageUnavailable):
        await parts.replicating.replicate(second, "mirror")
    store = parts.places.get("mirror")
    assert store is not None
    with pytest.raises(StorageUnavailable):
        await parts.reading.damaged(first, store, "the bytes are missing")
    async with opened(settings, tmp_path) as begun_meanwhile:
        with pytest.raises(StorageUnavailable, match="mounted"):
            await begun_meanwhile.replicating.replicate(second, "mirror")
    assert not list(mirror.rglob("*/*"))
    shutil.rmtree(mirror)
    (tmp_path / "away").rename(mirror)
    await parts.replicating.replicate(second, "mirror")
    assert is_good(parts.file("mirror", second), second)
    assert (await parts.copies(first))["mirror"].damage is None


async def test_a_place_of_another_database_is_refused(parts: Parts, settings: Settings, tmp_path: Path) -> None:
    digest = await parts.keep(CONTENT)
    [identity] = (tmp_path / "mirror" / "identity").iterdir()
    identity.rename(identity.with_name("6d1f1a3e-9b6c-4a52-b1d4-000000000000"))
    with pytest.raises(StoreMismatch):
        await parts.replicating.replicate(digest, "mirror")
    with pytest.raises(StoreMismatch):
        async with opened(settings, tmp_path):
            pass


async def test_a_copy_is_made_of_what_was_accepted_under_a_higher_limit(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    for one in (parts.store, *parts.places.others):
        one.max_bytes = 10
    await parts.replicating.replicate(digest, "mirror")
    assert is_good(parts.file("mirror", digest), digest)


async def test_what_one_reads_comes_from_another_place_when_the_first_has_not_got_it(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    parts.file("primary", digest).unlink()
    reading = parts.reading
    found = await collect(await reading.open(digest, ByteRange(0, len(CONTENT)), {"primary", "mirror"}))
    assert found == CONTENT
    await reading.close()
    assert (await parts.copies(digest))["primary"].damage == "the bytes are missing"
    assert await parts.jobs() == 2


async def test_a_place_that_is_not_mounted_is_no_source_and_keeps_nobody_from_another(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    (parts.root / "store").rename(parts.root / "away")
    (parts.root / "store").mkdir()
    await parts.replicating.bring(digest, "cold")
    assert is_good(parts.file("cold", digest), digest)
    assert (await parts.copies(digest))["primary"].damage is None
    (parts.root / "store").rmdir()
    (parts.root / "away").rename(parts.root / "store")
