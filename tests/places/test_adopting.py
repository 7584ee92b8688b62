"""Files of others become objects, and stay what they are."""

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from drs_service.blobs.driver import Buffer
from drs_service.blobs.external import ExternalFile
from drs_service.blobs.external_directory import ExternalDirectory
from drs_service.blobs.external_driver import ExternalDriver
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs, objects
from drs_service.domain.digest import Digest
from drs_service.domain.paths import spelled, unspelled
from drs_service.domain.ranges import ByteRange
from drs_service.domain.replication import parse_rules
from drs_service.errors import BlobCorrupt, PlaceUnsuitable, StorageUnavailable
from drs_service.jobs.kinds import Adopt, Alert, ReplicateBlob
from drs_service.settings import Settings
from drs_service.usecases.adopting import Adopting
from drs_service.usecases.placekeeping import Placekeeping
from drs_service.usecases.places import Places
from drs_service.usecases.reading import Reading
from drs_service.usecases.scrubbing import Pace, Scrubbing
from tests.places.adoption import Adoption
from tests.places.conftest import Parts, is_good
from tests.support.driving import collect
from tests.support.queue import taken
from tests.support.server import running

WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    return root


@pytest.fixture
def settings(settings: Settings, archive: Path) -> Settings:
    return replace(settings, places=(*settings.places, f"archive={archive.as_uri()}?external=true"), replicas="")


@pytest.fixture
async def adoption(parts: Parts, settings: Settings, archive: Path) -> AsyncIterator[Adoption]:
    yield Adoption(parts, settings, str(archive))


def write(path: Path, content: bytes) -> Digest:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Digest(hashlib.sha256(content).digest())


def untouched(root: Path) -> dict[Path, tuple[int, ...]]:
    """What a write would change, of each file."""
    found = {path: path.stat() for path in root.rglob("*")}
    return {path: (one.st_ino, one.st_mode, one.st_mtime_ns, one.st_ctime_ns) for path, one in found.items()}


async def test_files_become_objects_where_they_lie(adoption: Adoption, archive: Path) -> None:
    digest = write(archive / "runs" / "a b.bam", b"aligned")
    assert write(archive / "again.txt", b"aligned") == digest
    write(archive / "empty", b"")
    before = untouched(archive)
    listing = await adoption.run(tags={"study": "7"})
    assert (listing.found, listing.wanted, listing.missed) == (3, 3, 0)
    made = await adoption.objects()
    assert made.keys() == {"runs/a b.bam", "again.txt", "empty"}
    one = made["runs/a b.bam"]
    assert (one.file_name, one.name, one.media_type) == ("a b.bam", "a_b.bam", "application/vnd.ga4gh.bam")
    assert (one.aliases, one.tags, one.size) == (("runs/a b.bam",), {"study": "7"}, 7)
    assert one.blob is not None and one.blob.digest == digest and one.places == {"archive"}
    assert one.id != made["again.txt"].id
    assert await adoption.count("blobs") == 2
    assert untouched(archive) == before
    reading = adoption.parts.reading
    assert await collect(await reading.open(digest, ByteRange(2, 5), one.places)) == b"ign"
    status = await Placekeeping(adoption.parts.database, adoption.parts.places, ()).status()
    [told] = [place for place in status if place.place == "archive"]
    assert (told.state, told.copies, told.bytes) == ("external", 2, 7)


async def test_what_was_adopted_is_adopted_once(adoption: Adoption, archive: Path) -> None:
    write(archive / "sub" / "one", b"one")
    write(archive / "two", b"two")
    assert (await adoption.find()).wanted == 2
    assert (await adoption.find()).waiting == 2  # and no second job
    await adoption.work()
    again = await adoption.run()
    assert (again.found, again.wanted, again.waiting) == (2, 0, 0)
    before = await adoption.objects()
    write(archive / "two", b"another")
    write(archive / "sub" / "three", b"three")
    os.utime(archive / "sub" / "one", (1, 1))  # touched: looked at, and found to be as it was
    assert (await adoption.run("sub")).wanted == 2
    assert (await adoption.run()).wanted == 1
    after = await adoption.objects()
    assert after["sub/one"].id == before["sub/one"].id
    assert after["two"].id != before["two"].id
    assert await adoption.count("objects") == 4
    # The first object of the changed file never has its new bytes.
    old = before["two"].blob
    assert old is not None
    with pytest.raises(BlobCorrupt):
        await adoption.parts.reading.open(old.digest, ByteRange(0, 3), {"archive"})


async def test_a_job_that_is_done_twice_makes_nothing_twice(adoption: Adoption, archive: Path) -> None:
    for number in range(70):
        write(archive / str(number), b"%d" % (number // 2))
    await adoption.find()
    [job] = await taken(adoption.parts.database, Adopt)
    both = [Adopting(adoption.parts.database, adoption.parts.places) for _ in range(2)]
    await asyncio.gather(*(one.adopt(job.place, job.files) for one in both))
    assert await adoption.count("objects") == 70
    assert await adoption.count("blobs") == 35
    assert await adoption.count("replicas") == 35


async def test_what_has_no_copy_any_more_is_adopted_again_unless_it_was_deleted(
    adoption: Adoption, archive: Path
) -> None:
    digests = {name: write(archive / name, name.encode()) for name in ("gone", "copied", "deleted", "there")}
    await adoption.run()
    before = await adoption.objects()
    parts = adoption.parts
    await adoption.run("copied", copy=True)
    async with parts.database.transaction() as connection:
        await objects.bury(connection, [before["deleted"].id], reason=None)
        gone = [digests[name].raw for name in ("gone", "copied", "deleted")]
        away = "DELETE FROM replicas WHERE place = 'archive' AND digest = ANY($1::bytea[])"
        await connection.execute(away, gone)  # as after it was emptied, and is wanted again
    assert (await adoption.find()).wanted == 1
    await adoption.work()
    assert (await parts.copies(digests["gone"])).keys() == {"archive"}
    assert (await adoption.objects())["gone"].id == before["gone"].id
    async with parts.database.transaction() as connection:
        await connection.execute("DELETE FROM replicas WHERE place = 'primary'")
    assert (await adoption.run("copied", copy=True)).wanted == 1
    assert (await parts.copies(digests["copied"])).keys() == {"primary"}
    assert (await adoption.find()).wanted == 0


async def test_a_copy_that_turns_out_to_be_lost_is_reported(adoption: Adoption, archive: Path) -> None:
    parts, path = adoption.parts, archive / "one"
    first = write(path, b"first")
    await adoption.run()
    second = write(path, b"second")
    await adoption.find()
    [job] = await taken(parts.database, Adopt)
    with capture_logs() as logs:
        await Adopting(parts.database, parts.places, alerts=True).adopt(job.place, job.files)
    told = {"digest": first.hex, "place": "archive", "damage": "the file has other bytes by now", "log_level": "error"}
    assert {"event": "a copy is damaged", **told} in logs
    assert [one.digest for one in await taken(parts.database, ReplicateBlob)] == [first.hex]
    assert len(await taken(parts.database, Alert)) == 1
    # The first bytes are back, and the second ones gone by that.
    write(path, b"first")
    reading = Reading(parts.database, parts.places, alerts=True)
    await replace(parts.replicating, reading=reading).replicate(first, "archive")
    assert [(await parts.copies(one))["archive"].damage is None for one in (first, second)] == [True, False]
    assert [one.digest for one in await taken(parts.database, ReplicateBlob)] == [second.hex]
    assert len(await taken(parts.database, Alert)) == 1


async def test_what_another_worker_records_meanwhile_stays(adoption: Adoption, archive: Path) -> None:
    write(archive / "one", b"one")
    await adoption.find()
    database = adoption.parts.database
    async with database.transaction() as connection:
        await connection.execute("UPDATE adopted_files SET state = 'adopted', digest = sha256('x'), object_id = 'x'")
        working = asyncio.create_task(adoption.work())
        async with database.connection() as observer:
            while not await observer.fetchval(WAITS):
                await asyncio.sleep(0.002)
    await working
    assert await adoption.count("objects") == 0


async def test_a_file_that_is_to_be_copied_while_it_is_adopted_in_place_is_copied(
    adoption: Adoption, archive: Path
) -> None:
    digest = write(archive / "one", b"content")
    await adoption.find()
    parts = adoption.parts
    [job] = await taken(parts.database, Adopt)
    adopting = Adopting(parts.database, parts.places)
    async with parts.database.transaction() as connection, parts.database.connection() as observer:
        await blobs.lock(connection, [digest])
        working = asyncio.create_task(adopting.adopt(job.place, job.files))
        while not await observer.fetchval(WAITS):
            await asyncio.sleep(0.002)
        assert (await adoption.find(copy=True)).waiting == 1
    with pytest.raises(StorageUnavailable, match="otherwise while they were read: one"):
        await working
    assert await adoption.count("objects") == 0
    await adopting.adopt(job.place, job.files)
    assert (await parts.copies(digest)).keys() == {"primary"}


async def test_a_changed_file_is_noticed_before_it_is_read(adoption: Adoption, archive: Path) -> None:
    digest = write(archive / "one", b"content")
    write(archive / "other", b"content")
    await adoption.run()
    (archive / "one").write_bytes(b"CONTENT")
    reading = adoption.parts.reading
    with pytest.raises(BlobCorrupt):
        await reading.open(digest, ByteRange(0, 7), {"archive"})
    await reading.close()
    assert (await adoption.parts.copies(digest))["archive"].damage == "the file has changed"
    # Another file has the same bytes: it is found, and read from then on.
    for job in await taken(adoption.parts.database, ReplicateBlob):
        await adoption.parts.replicating.replicate(Digest.from_hex(job.digest), job.place)
    assert await collect(await reading.open(digest, ByteRange(0, 7), {"archive"})) == b"content"
    assert (archive / "one").read_bytes() == b"CONTENT"


async def test_a_file_that_changes_while_it_is_read_breaks_off(adoption: Adoption, archive: Path) -> None:
    content = bytes(5 * 1024**2)
    digest = write(archive / "one", content)
    await adoption.run()
    reading = adoption.parts.reading
    pieces = await reading.open(digest, ByteRange(0, len(content)), {"archive"})
    got = len(await anext(pieces))
    with (archive / "one").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    with pytest.raises(BlobCorrupt):
        async for piece in pieces:
            got += len(piece)
    assert got < len(content)
    await reading.close()


async def test_scrubbing_says_what_has_changed_vanished_or_rotted(adoption: Adoption, archive: Path) -> None:
    digests = [write(archive / name, name.encode()) for name in ("changed", "gone", "rotten", "touched")]
    await adoption.run()
    (archive / "changed").write_bytes(b"longer than it was")
    (archive / "gone").unlink()
    rotten = (archive / "rotten").stat()
    (archive / "rotten").write_bytes(b"ROTTEN")
    os.utime(archive / "rotten", ns=(rotten.st_atime_ns, rotten.st_mtime_ns))
    os.utime(archive / "touched", (1, 1))
    scrubbing = Scrubbing(
        adoption.parts.database, adoption.parts.places, adoption.parts.reading, timedelta(0), Pace(1e9)
    )
    for digest in digests:
        await scrubbing.verify(digest, "archive")
    found = [(await adoption.parts.copies(digest))["archive"].damage for digest in digests]
    assert found == [
        "the bytes are too few or too many",
        "the bytes are missing",
        "the bytes are others",
        "the file has changed",
    ]
    for digest in digests:
        await adoption.parts.replicating.replicate(digest, "archive")
    found = [(await adoption.parts.copies(digest))["archive"].damage for digest in digests]
    assert [one is None for one in found] == [False, False, False, True]


async def test_nothing_is_ever_deleted_there(adoption: Adoption, archive: Path) -> None:
    digest = write(archive / "one", b"content")
    kept = write(archive / "two", b"other")
    await adoption.run()
    parts = adoption.parts
    made = await adoption.objects()
    async with parts.database.transaction() as connection:
        await objects.bury(connection, [made["one"].id], reason="consent withdrawn")
    await parts.sweep.run(before=datetime.now(UTC) + timedelta(days=1))
    assert await parts.copies(digest) == {}
    # Emptied: what is only there is copied to the primary, and then it is a place of nothing.
    await parts.draining.begin("archive")
    await parts.draining.move(kept, "archive")
    assert (await parts.copies(kept)).keys() == {"primary"}
    assert is_good(parts.file("primary", kept), kept)
    assert {path.name: path.read_bytes() for path in archive.iterdir()} == {"one": b"content", "two": b"other"}
    with pytest.raises(PlaceUnsuitable, match="being emptied"):
        await adoption.find()
    # What was deleted stays deleted, until its file is another.
    assert (await adoption.find(copy=True)).found == 2


async def test_copies_of_files_are_made_elsewhere(adoption: Adoption, archive: Path) -> None:
    digest = write(archive / "one", b"content")
    parts = replace(adoption.parts, settings=replace(adoption.settings, replicas="mirror"))
    parts.places.primary.replicas = parse_rules("mirror")
    await adoption.run()
    [job] = await taken(parts.database, ReplicateBlob)
    await parts.replicating.replicate(Digest.from_hex(job.digest), job.place)
    assert is_good(parts.file("mirror", digest), digest)
    (archive / "one").unlink()
    reading = parts.reading
    assert await collect(await reading.open(digest, ByteRange(0, 7), {"archive", "mirror"})) == b"content"
    await reading.close()


async def test_files_are_copied_in(adoption: Adoption, archive: Path) -> None:
    big = secrets.token_bytes(17 * 1024**2)
    digests = [write(archive / "one", b"content"), write(archive / "big", big), write(archive / "same", b"content")]
    await adoption.run()
    before = await adoption.objects()
    await adoption.run(copy=True)
    shutil.rmtree(archive)
    assert await adoption.objects() == {
        path: msgspec.structs.replace(one, places=frozenset({"archive", "primary"})) for path, one in before.items()
    }
    assert all(is_good(adoption.parts.file("primary", digest), digest) for digest in digests)


async def test_odd_names_and_what_is_no_file(adoption: Adoption, archive: Path, tmp_path: Path) -> None:
    names = [b"\xff.bam", b"50%.txt", b"a\nb", "ä".encode(), b"-rf", b"x" * 255, b" "]
    for name in names:
        Path(os.fsdecode(os.fsencode(archive) + b"/" + name)).write_bytes(name)
    deep = "/".join(["d" * 200] * 3)
    write(archive / deep / "deep", b"deep")
    write(tmp_path / "secret", b"secret")
    (archive / "link").symlink_to(tmp_path / "secret")
    (archive / "directory").symlink_to(tmp_path)
    os.mkfifo(archive / "pipe")
    assert (await adoption.run()).found == 8
    assert {one.path for one in adoption.passed} == {"link", "directory", "pipe"}
    made = await adoption.objects()
    assert {unspelled(path): path for path in made} == {
        **{name: spelled(name) for name in names},
        f"{deep}/deep".encode(): f"{deep}/deep",
    }
    assert (made["%FF.bam"].file_name, made["%FF.bam"].aliases) == ("\ufffd.bam", ("%FF.bam",))
    assert made["a%0Ab"].file_name == "a_b"
    assert made[f"{deep}/deep"].description == f"{deep}/deep"
    for path, one in made.items():
        assert one.blob is not None
        got = await collect(await adoption.parts.reading.open(one.blob.digest, ByteRange(0, one.size), {"archive"}))
        assert got == (unspelled(path) if path != f"{deep}/deep" else b"deep")


async def test_what_cannot_be_adopted_is_told(adoption: Adoption, archive: Path) -> None:
    for name in ("gone", "linked", "fine"):
        write(archive / name, name.encode())
    await adoption.find()
    (archive / "gone").unlink()
    (archive / "linked").unlink()
    (archive / "linked").symlink_to("/etc/passwd")
    await adoption.work()
    told = await adoption.told()
    assert {path: (one.state, one.problem) for path, one in told.items()} == {
        "fine": ("adopted", None),
        "gone": ("failed", "The file has vanished."),
        "linked": ("failed", "The file has vanished."),
    }
    write(archive / "gone", b"back")
    assert (await adoption.run()).wanted == 1
    assert (await adoption.told())["gone"].state == "adopted"


class Restless(ExternalDirectory):
    """One whose files are written to whenever somebody looks."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._path = root

    async def read(self, file: ExternalFile, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        with (self._path / file.path).open("ab") as written:
            written.write(b"x")
        async for piece in super().read(file, start, end):
            yield piece


async def nowhere(_: Digest) -> None:
    return None


async def test_a_file_that_goes_on_changing_is_left_for_later(adoption: Adoption, archive: Path) -> None:
    write(archive / "log", b"")
    await adoption.find()
    [job] = await taken(adoption.parts.database, Adopt)
    restless = BlobStore(ExternalDriver(Restless(archive), nowhere), place="archive", max_bytes=0)
    places = Places(adoption.parts.database, adoption.parts.store, [restless])
    adopting = Adopting(adoption.parts.database, places)
    with pytest.raises(StorageUnavailable, match="log"):
        await adopting.adopt(job.place, job.files)
    assert (await adoption.told())["log"].state == "found"
    await adopting.give_up(job.files, "too often")
    assert (await adoption.told())["log"].problem == "too often"
    assert (await adoption.run()).wanted == 1
    assert await adoption.count("objects") == 1


async def test_an_archive_that_is_not_mounted_has_lost_nothing(adoption: Adoption, archive: Path) -> None:
    digest = write(archive / "one", b"content")
    await adoption.run()
    archive.rename(archive.with_name("elsewhere"))
    archive.mkdir()
    reading = adoption.parts.reading
    with pytest.raises(BlobCorrupt):
        await reading.open(digest, ByteRange(0, 7), {"archive"})
    await reading.close()
    assert (await adoption.parts.copies(digest))["archive"].damage is None
    with pytest.raises(PlaceUnsuitable, match="no file"):
        await adoption.find()


async def test_where_it_cannot_be_done_it_is_said(adoption: Adoption, tmp_path: Path, archive: Path) -> None:
    write(archive / "one", b"one")
    with pytest.raises(PlaceUnsuitable, match="nothing at this path"):
        await adoption.find("nowhere")
    (archive / "store").symlink_to(tmp_path / "store")
    for source, said in (
        (tmp_path / "store" / "sha256", "its own bytes"),
        (archive / "store", "its own bytes"),
        (tmp_path, "its own bytes"),
        (tmp_path / "data", r"archive=file:///.*/data\?external=true"),
    ):
        with pytest.raises(PlaceUnsuitable, match=said):
            await replace(adoption, source=str(source)).find()
    database = replace(adoption.settings, storage_url="s3://bucket", data_dir=archive / "data")
    with pytest.raises(PlaceUnsuitable, match="its own bytes"):
        await replace(adoption, settings=database).find()


async def test_readers_get_the_files_and_a_node_that_does_not_know_them_says_so(
    adoption: Adoption, archive: Path
) -> None:
    write(archive / "one.txt", b"content")
    await adoption.run()
    object_id = (await adoption.objects())["one.txt"].id
    async with running(adoption.settings) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        answer = await client.get(f"/data/{object_id}", headers={"Range": "bytes=3-5"})
        assert (answer.status_code, answer.content) == (206, b"ten")
        (archive / "one.txt").write_bytes(b"CONTENT")
        answer = await client.get(f"/data/{object_id}")
        assert (answer.status_code, answer.json()["code"]) == (502, "blob_corrupt")
    os.utime(archive / "one.txt", (2, 2))
    async with running(replace(adoption.settings, places=())) as service, httpx.AsyncClient(timeout=20) as client:
        async with adoption.parts.database.connection() as connection:
            await connection.execute("UPDATE replicas SET damaged_at = NULL, damage = NULL")
        answer = await client.get(f"{service.url}/data/{object_id}")
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert "archive" in answer.json()["msg"]
