"""What places of other protocols promise over a network, and what only there can go wrong. The network is SFTP's."""

import asyncio
import errno
import secrets
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import paramiko
import pytest
from fsspec.implementations.local import LocalFileSystem

from drs_service.blobs.access import Access, FsspecAccess
from drs_service.blobs.arriving import Sizes
from drs_service.blobs.bucket import Source
from drs_service.blobs.fsspec_bucket import FsspecBucket
from drs_service.blobs.fsspec_connecting import connecting
from drs_service.blobs.lanes import LANES, told
from drs_service.blobs.opening import open_driver
from drs_service.domain.uploads import Mark
from drs_service.errors import BlobCorrupt, SettingsInvalid, StorageFull, StorageUnavailable
from tests.conformance.test_waiting import handles, resumed, sent
from tests.support.deadline import until
from tests.support.driving import collect, fetch, keys, new_key, put, staging
from tests.support.places import CloudPlace
from tests.support.sftp import SftpServer

SIZES = Sizes(part=256 * 1024, largest=512 * 1024, waiting=1024**2)
SOME = secrets.token_bytes(4 * SIZES.part + 17)


@pytest.fixture
async def place(sftp: SftpServer) -> AsyncIterator[CloudPlace]:
    place = CloudPlace(sftp, sizes=SIZES)
    yield place
    await until(lambda: not place.leftovers())
    await place.driver.close()


async def test_what_is_published_can_be_read_listed_and_deleted(place: CloudPlace) -> None:
    driver, made = place.driver, {new_key(): content for content in (b"", b"few", SOME)}
    for key, content in made.items():
        await put(driver, key, content)
        assert place.raw_get(key) == await fetch(driver, key) == content
        assert await driver.size(key) == len(content)
    assert await keys(driver) == await keys(driver, "sha256/") == sorted(made)
    long = next(key for key, content in made.items() if content is SOME)
    assert await collect(driver.read(long, 1_000, 1_000_001)) == SOME[1_000:1_000_001]
    reading = driver.read(long, 0, len(SOME))
    first = bytes(await anext(reading))
    await driver.delete(long)
    await driver.delete(long)
    assert first + await collect(reading) == SOME
    for asked in (driver.size(long), fetch(driver, long, 0, 1)):
        with pytest.raises(KeyError):
            await asked
    assert place.raw_keys() == await keys(driver) == sorted(made.keys() - {long})


async def test_who_looks_behind_the_back_sees_all_or_nothing(place: CloudPlace) -> None:
    to_come, done = [new_key() for _ in range(4)], threading.Event()

    def watch() -> set[bytes | None]:
        seen: set[bytes | None] = set()
        while not done.is_set():
            seen |= {place.raw_get(key) for key in to_come}
        return seen

    watching = asyncio.get_running_loop().run_in_executor(None, watch)
    for number, key in enumerate(to_come):
        await put(place.driver, key, SOME if number % 2 else SOME[:100_000])
    done.set()
    assert await watching <= {None, SOME, SOME[:100_000]}
    assert [len(place.raw_get(key) or b"") for key in to_come] == [100_000, len(SOME)] * 2


async def test_of_several_that_publish_one_key_all_succeed(place: CloudPlace) -> None:
    others = [place.another() for _ in range(4)]
    for key in [new_key() for _ in range(5)]:
        await asyncio.gather(*[put(other, key, SOME[:100_000]) for other in others])
        assert place.raw_get(key) == SOME[:100_000]
    await asyncio.gather(*[other.close() for other in others])


async def test_what_waits_goes_on_in_another_process(place: CloudPlace) -> None:
    another, key = place.another(), new_key()
    handle = await place.driver.begin()
    half = await sent(place.driver, handle, Mark(), SOME)
    whole = await sent(another, handle, half, b"end")
    assert await handles(another) == [handle]
    async with resumed(place.driver, handle, whole) as waiting:
        assert await collect(waiting.reread(len(SOME) - 1, len(SOME) + 3)) == SOME[-1:] + b"end"
        await waiting.publish(key)
        await waiting.discard()
    assert place.raw_get(key) == SOME + b"end"
    await another.close()


async def test_a_writer_cancelled_at_any_moment_leaves_nothing(place: CloudPlace) -> None:
    loop = asyncio.get_running_loop()
    before, tried = loop.time(), [new_key() for _ in range(10)]
    await put(place.driver, new_key(), SOME)
    duration = loop.time() - before
    for number, key in enumerate(tried):
        writing = asyncio.create_task(put(place.driver, key, SOME))
        await asyncio.wait([writing], timeout=duration * number / len(tried))
        writing.cancel()
        await asyncio.wait([writing])
    await until(lambda: not place.leftovers())
    assert {place.raw_get(key) for key in tried} <= {None, SOME}


async def test_a_server_that_goes_away_is_missed_soon_and_used_when_it_is_back(
    place: CloudPlace, sftp: SftpServer
) -> None:
    key = new_key()
    async with staging(place.driver, SOME) as staged, asyncio.timeout(20):
        sftp.go_away()
        try:
            for asked in (place.driver.probe(), staged.publish(key), fetch(place.driver, key, 0, 1)):
                with pytest.raises(StorageUnavailable):
                    await asked
        finally:
            sftp.come_back()
        await staged.publish(key)
        # As when it was started again while nobody asked.
        sftp.go_away()
        sftp.come_back()
        await asyncio.gather(*[place.driver.size(key) for _ in range(20)])
    assert place.raw_get(key) == SOME


async def test_a_server_that_says_nothing_is_not_waited_for(sftp: SftpServer) -> None:
    access = sftp.access().fsspec
    root, connect = connecting(f"sftp://{sftp.bucket}/{secrets.token_hex(8)}", access)
    bucket = FsspecBucket(root, connect, seconds=0.5)
    await bucket.put("a", b"some")
    sftp.stop()
    try:
        for _ in range(2):
            with pytest.raises(StorageUnavailable) as caught:
                await bucket.size("a")
            assert "no answer" in str(caught.value.facts)
    finally:
        sftp.go_on()
    assert await bucket.size("a") == 4
    await bucket.close()


async def test_who_is_not_let_in_is_told(place: CloudPlace, sftp: SftpServer) -> None:
    driver = place.another(secret="wrong")
    with pytest.raises(StorageUnavailable) as caught:
        await driver.probe()
    assert str(sftp.wrong_secret) in str(caught.value.facts)
    await driver.close()


@pytest.mark.parametrize(("told_of", "why"), [("wrong", "does not match"), (None, "not found in known_hosts")])
async def test_a_server_whose_key_is_not_known_learns_nothing(
    place: CloudPlace, sftp: SftpServer, told_of: str | None, why: str
) -> None:
    driver = place.another()
    sftp.tell_of(told_of)
    try:
        with pytest.raises(StorageUnavailable) as caught:
            await driver.probe()
    finally:
        sftp.tell_of("host")
    assert why in str(caught.value.facts)
    await driver.close()


async def test_a_file_of_the_settings_that_is_missing_is_not_a_missing_key(place: CloudPlace) -> None:
    driver = place.another(secret="nothing")
    with pytest.raises(StorageUnavailable):
        await driver.size(new_key())
    await driver.close()


async def test_a_publication_that_fails_leaves_nothing(place: CloudPlace, sftp: SftpServer) -> None:
    await place.driver.probe()
    (sftp.directory / place.prefix / "sha256").write_bytes(b"in the way")
    for content in (b"few", SOME):
        with pytest.raises(StorageUnavailable):
            await put(place.driver, new_key(), content)
    await until(lambda: not place.leftovers())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "full"), StorageFull),
        (OSError(errno.ENOENT, "missing"), KeyError),
        (FileNotFoundError(), KeyError),
        (KeyError("of the library"), StorageUnavailable),
        (EOFError(), StorageUnavailable),
        (BlobCorrupt(), BlobCorrupt),
    ],
)
def test_what_libraries_raise_is_told_in_our_words(error: Exception, said: type[Exception]) -> None:
    assert type(told(error)) is said


async def test_a_place_that_is_closed_holds_no_connection(sftp: SftpServer) -> None:
    driver = CloudPlace(sftp).driver
    await until(lambda: not connections())
    await asyncio.gather(*[put(driver, new_key(), b"some") for _ in range(20)])
    assert len(connections()) == LANES
    await driver.close()
    await until(lambda: not connections())


class Strict(LocalFileSystem):  # type: ignore[misc]  # which has no types
    """A rename into a directory that is missing becomes a copy if somebody else makes the directory just then."""

    cachable = False

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        assert self.isdir(self._parent(path2))
        super().mv(path1, path2, **kwargs)


class Silent(LocalFileSystem):  # type: ignore[misc]
    """Which moves, and does not say so every other time."""

    cachable = False
    moves = count()

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        super().mv(path1, path2, **kwargs)
        if next(self.moves) % 2:
            raise ConnectionResetError


async def test_what_is_published_is_never_copied_to_where_it_can_be_seen(tmp_path: Path) -> None:
    bucket = FsspecBucket(str(tmp_path), Strict)
    await bucket.put("staging/a", SOME)
    await bucket.concatenate("sha256/00/11/2", [Source("staging/a", len(SOME))])
    assert await collect(bucket.read("sha256/00/11/2", 0, len(SOME))) == SOME
    await bucket.close()


async def test_an_answer_to_a_move_that_is_lost_loses_nothing(tmp_path: Path) -> None:
    bucket, names = FsspecBucket(str(tmp_path), Silent), [f"sha256/00/1{number}/2" for number in range(3)]
    for name in names:
        await bucket.put("staging/a", SOME)
        await bucket.concatenate(name, [Source("staging/a", len(SOME))])
        assert await collect(bucket.read(name, 0, len(SOME))) == SOME
    await bucket.delete("staging/a")
    assert [found.name async for found in bucket.objects("")] == names
    await bucket.close()


async def test_what_others_leave_among_what_is_hidden_is_passed_over(tmp_path: Path) -> None:
    bucket = FsspecBucket(str(tmp_path), Strict)
    multipart = await bucket.begin("sha256/00/11/2")
    await bucket.put_part("sha256/00/11/2", multipart, 1, b"content")
    (tmp_path / "staging" / "hidden" / ".nfs00000000000012").touch()
    assert [(one.name, one.multipart) async for one in bucket.unfinished("")] == [("sha256/00/11/2", multipart)]
    await bucket.close()


def connections() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if isinstance(one, paramiko.Transport)]


async def test_a_protocol_that_was_not_named_is_refused(sftp: SftpServer) -> None:
    for access in (Access(), Access(fsspec=FsspecAccess(protocols=frozenset({"smb"})))):
        with pytest.raises(SettingsInvalid):
            open_driver(f"sftp://{sftp.bucket}", access)


@pytest.mark.parametrize(("protocol", "why"), [("nothing", "not known"), ("http", "no rename"), ("smb", "install")])
def test_a_protocol_that_cannot_keep_bytes_is_refused(protocol: str, why: str) -> None:
    access = Access(fsspec=FsspecAccess(protocols=frozenset({protocol})))
    with pytest.raises(SettingsInvalid, match=why):
        open_driver(f"{protocol}://host/path", access)


WITHOUT = """
import sys
sys.modules["paramiko"] = None
from drs_service.blobs.access import Access, FsspecAccess
from drs_service.blobs.lanes import LANES, told
from drs_service.blobs.opening import open_driver
from drs_service.errors import SettingsInvalid
try:
    open_driver("sftp://host/path", Access(fsspec=FsspecAccess(protocols=frozenset({"sftp"}))))
except SettingsInvalid as error:
    print(error)
"""


def test_what_is_not_installed_is_named() -> None:
    said = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True).stdout
    assert "drs-service[sftp]" in said
