"""What files promise beyond the contract of every driver."""

import asyncio
import os
import resource
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drs_service.blobs import files
from drs_service.blobs.files import IOV_MAX
from drs_service.blobs.keys import key_for
from drs_service.blobs.local import LocalDriver
from drs_service.domain.digest import Digest
from drs_service.errors import StorageFull, StorageUnavailable
from tests.support.deadline import until
from tests.support.driving import fetch, new_key, put, staging
from tests.support.places import LocalPlace, descriptors

SOME = secrets.token_bytes(100_000)
MIB = 1024**2
CANCELLATIONS = 30

# Stages as many files as it is told, says so, and publishes the last one when it is told to go on.
STAGER = """
import asyncio, sys
from pathlib import Path
from drs_service.blobs.local import LocalDriver

async def main(root, count, key):
    driver = LocalDriver(Path(root))
    for _ in range(int(count)):
        staged = await driver.stage()
        await staged.write([b"half of it"])
    print("staged", flush=True)
    sys.stdin.readline()
    await staged.publish(key)
    await driver.close()

asyncio.run(main(*sys.argv[1:]))
"""

# Publishes three times under one key, and says which directories it opens: there is no other reason than to sync them.
PUBLISHER = """
import asyncio, os, sys
from pathlib import Path
from drs_service.blobs.local import LocalDriver

def tell(event, arguments):
    if event == "open" and arguments[2] & os.O_DIRECTORY:
        print(arguments[0], flush=True)

sys.addaudithook(tell)

async def main(root, key):
    driver = LocalDriver(Path(root))
    for _ in range(3):
        staged = await driver.stage()
        await staged.publish(key)
        await staged.discard()
    await driver.close()

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def another_process(root: Path, *, staged: int, key: str = "unused") -> "Iterator[subprocess.Popen[str]]":
    """A process that has staged some files and waits."""
    command = [sys.executable, "-c", STAGER, str(root), str(staged), key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "staged\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def mounted(at: Path, options: str) -> Iterator[None]:
    """A file system of its own at a directory, for those who may mount one."""
    at.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


async def test_a_key_is_its_path_and_its_file_is_read_only(local: LocalPlace) -> None:
    digest = Digest(bytes.fromhex("ab" + "cd" * 31))
    await put(local.driver, key_for(digest), SOME)
    path = local.root / "sha256" / "ab" / "cd" / digest.hex
    assert path.read_bytes() == SOME
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert path.stat().st_nlink == 1


async def test_a_root_that_we_make_is_closed_to_others(local: LocalPlace) -> None:
    await local.driver.probe()
    assert stat.S_IMODE(local.root.stat().st_mode) == 0o700


async def test_a_root_that_is_there_stays_as_open_as_it_is(local: LocalPlace) -> None:
    local.root.mkdir()
    local.root.chmod(0o751)
    await local.driver.probe()
    assert stat.S_IMODE(local.root.stat().st_mode) == 0o751


async def test_what_is_staged_lies_inside_of_the_root_and_nobody_else_may_read_it(local: LocalPlace) -> None:
    async with staging(local.driver, SOME):
        [staged] = [path for path in local.root.rglob("*") if path.is_file() and path.stat().st_size]
        assert staged.is_relative_to(local.root / "staging")
        assert stat.S_IMODE(staged.stat().st_mode) == 0o600


async def test_a_file_that_exists_is_not_touched(local: LocalPlace) -> None:
    key = new_key()
    await put(local.driver, key, SOME)
    before = (local.root / key).stat()
    await put(local.driver, key, SOME)
    await put(local.driver, key, b"something else")
    after = (local.root / key).stat()
    assert (before.st_ino, before.st_mtime_ns, before.st_size) == (after.st_ino, after.st_mtime_ns, after.st_size)


async def test_what_a_killed_process_staged_is_cleaned_away(local: LocalPlace) -> None:
    with another_process(local.root, staged=3) as killed:
        assert len(local.leftovers()) == 3
        assert await local.driver.clean() == 0
        killed.kill()
        killed.wait()
        assert await local.driver.clean() == 3
    assert local.leftovers() == []
    assert await local.driver.clean() == 0


async def test_cleaning_spares_what_another_living_process_has_staged(local: LocalPlace) -> None:
    key = new_key()
    with another_process(local.root, staged=1) as killed, another_process(local.root, staged=1, key=key) as living:
        killed.kill()
        killed.wait()
        assert await local.driver.clean() == 1
        living.communicate("go on\n")
        assert living.returncode == 0
    assert await fetch(local.driver, key) == b"half of it"


async def test_many_may_clean_at_once_while_others_begin(local: LocalPlace) -> None:
    for _ in range(20):
        (local.root / "staging").mkdir(parents=True, exist_ok=True)
        (local.root / "staging" / f"{secrets.token_hex(8)}.lock").touch()
    newcomers = [LocalDriver(local.root) for _ in range(20)]
    cleaning = asyncio.gather(*(newcomer.clean() for newcomer in newcomers for _ in range(5)))
    staged = await asyncio.gather(*(newcomer.stage() for newcomer in newcomers))
    await cleaning
    keys = [new_key() for _ in staged]
    for key, one in zip(keys, staged, strict=True):
        await one.write([SOME])
        await one.publish(key)
        await one.discard()
    for newcomer in newcomers:
        await newcomer.close()
    assert local.raw_keys() == sorted(keys)


async def test_a_full_disk_is_storage_full_and_keeps_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=1m"):
        local = LocalPlace(tmp_path / "small" / "store")
        with pytest.raises(StorageFull):
            await put(local.driver, new_key(), *[SOME] * 20)
        assert local.leftovers() == local.raw_keys() == []
        key = new_key()
        await put(local.driver, key, *[SOME] * 9)
        assert await fetch(local.driver, key) == SOME * 9
        await local.driver.close()


@pytest.mark.parametrize("inodes", range(2, 7))
async def test_a_disk_without_room_for_another_name_leaves_nothing_open(tmp_path: Path, inodes: int) -> None:
    before = descriptors()
    with mounted(tmp_path / "small", f"size=1m,nr_inodes={inodes}"):
        local = LocalPlace(tmp_path / "small")
        for _ in range(5):
            with pytest.raises(StorageFull):
                await put(local.driver, new_key(), SOME)
        assert local.leftovers() == local.raw_keys() == []
        assert len(list(local.root.glob("staging/*.lock"))) <= 1
        await local.driver.close()
    assert descriptors() == before


async def test_a_file_over_the_limit_of_the_process_is_storage_full(local: LocalPlace) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        async with staging(local.driver) as staged:
            with pytest.raises(StorageFull):
                # The last write is cut short before it fails.
                await staged.write([SOME] * 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert local.leftovers() == local.raw_keys() == []


async def test_a_full_disk_is_found_by_a_probe(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=1m"):
        local = LocalPlace(tmp_path / "small")
        await local.driver.probe()
        (local.root / "filler").write_bytes(bytes(os.statvfs(local.root).f_bavail * os.statvfs(local.root).f_frsize))
        for _ in range(2):
            with pytest.raises(StorageFull):
                await local.driver.probe()
        assert local.leftovers() == []
        (local.root / "filler").unlink()
        await local.driver.probe()
        assert local.raw_keys() == local.leftovers() == []
        await local.driver.close()


async def test_a_probe_that_nobody_waits_for_any_longer_leaves_nothing(local: LocalPlace) -> None:
    for patience in range(CANCELLATIONS):
        probing = asyncio.create_task(local.driver.probe())
        for _ in range(patience):
            await asyncio.sleep(0)
        probing.cancel()
        await asyncio.wait([probing])
    await local.driver.probe()
    assert local.raw_keys() == local.leftovers() == []


async def test_a_probe_that_failed_answers_nobody_who_asked_after_it_had_begun(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.touch()
    driver = LocalDriver(root)
    early = asyncio.create_task(driver.probe())
    await asyncio.sleep(0)  # the probe is under way now, and not in its first thread yet
    await asyncio.sleep(0)
    late = asyncio.create_task(driver.probe())
    early.add_done_callback(lambda _: root.unlink())
    with pytest.raises(StorageUnavailable):
        await early
    await late
    await driver.close()


def synced(root: Path, key: str) -> "list[str]":
    """The directories that a process of its own syncs as it publishes under key, in order."""
    done = subprocess.run([sys.executable, "-c", PUBLISHER, str(root), key], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_directory_that_is_there_is_synced_once_by_each_process_that_relies_on_it(tmp_path: Path) -> None:
    root = tmp_path / "store"
    key = new_key()
    folder = (root / key).parent
    for _ in range(2):  # the second process finds all of them made, and cannot know whether the first has synced them
        first_syncs = [str(tmp_path), str(root), str(folder.parents[1]), str(folder.parent), str(folder)]
        found = synced(root, key)
        assert set(first_syncs) <= set(found)
        # The publisher publishes thrice: what lies above is known by then, the name itself never is.
        assert [found.count(path) for path in first_syncs[:-1]] == [1, 2, 1, 1]
        assert found.count(str(folder)) == 3


async def test_a_directory_that_was_removed_is_made_again(local: LocalPlace) -> None:
    key = new_key()
    await put(local.driver, key, SOME)
    shutil.rmtree(local.root / "sha256")
    await put(local.driver, key, SOME)
    assert await fetch(local.driver, key) == SOME


async def test_a_mount_that_knows_no_full_sync_gets_a_plain_one(
    local: LocalPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = 9999  # a command that no fcntl knows: EINVAL, as some mounts of macOS say to F_FULLFSYNC
    monkeypatch.setattr(files, "FULL_SYNC", unknown)
    key = new_key()
    await put(local.driver, key, SOME)
    assert await fetch(local.driver, key) == SOME


async def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    with mounted(tmp_path / "read-only", "ro"):
        driver = LocalDriver(tmp_path / "read-only")
        for attempt in (driver.stage, driver.probe):
            with pytest.raises(StorageUnavailable):
                await attempt()
        await driver.close()


async def test_a_root_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    driver = LocalDriver(tmp_path / "root")
    for attempt in (driver.stage, driver.probe):
        with pytest.raises(StorageUnavailable):
            await attempt()
    await driver.close()


async def test_a_folder_in_the_place_of_a_key_is_unavailable(local: LocalPlace) -> None:
    key = new_key()
    (local.root / key).mkdir(parents=True)
    with pytest.raises(StorageUnavailable):
        await local.driver.delete(key)
    with pytest.raises(StorageUnavailable):
        await anext(local.driver.read(key, 0, 1))


async def test_a_place_that_vanished_is_unavailable_for_writing(local: LocalPlace) -> None:
    async with staging(local.driver, SOME) as staged:
        local.root.rename(local.root.with_name("elsewhere"))
        for attempt in (local.driver.stage(), local.driver.probe(), staged.publish(new_key())):
            with pytest.raises(StorageUnavailable):
                await attempt


async def test_a_reader_cancelled_as_it_opens_leaves_no_descriptor(local: LocalPlace) -> None:
    key = new_key()
    (local.root / key).parent.mkdir(parents=True)
    os.mkfifo(local.root / key)  # opening it waits for somebody to write
    before = descriptors()
    opening = asyncio.create_task(fetch(local.driver, key, 0, 1))
    await asyncio.wait([opening], timeout=0.05)
    assert not opening.done()
    opening.cancel()
    await asyncio.wait([opening])
    os.close(os.open(local.root / key, os.O_RDWR))
    await until(lambda: descriptors() == before)


async def test_what_is_being_written_is_not_let_go_of_by_a_second_cancellation(local: LocalPlace) -> None:
    """The thread still writes: its descriptor must not become another file's."""
    await local.driver.probe()
    before = descriptors()
    chunk = bytes(16 * 1024)
    for _ in range(2):
        staged = await local.driver.stage()

        async def write() -> None:
            try:
                await staged.write([chunk] * 4 * IOV_MAX)  # noqa: B023
            finally:
                await staged.discard()  # noqa: B023

        writing = asyncio.create_task(write())
        await until(lambda: any((local.root / "staging").rglob("*")) and bool(sizes(local)))
        for _ in range(3):
            writing.cancel()
            await asyncio.sleep(0)
        keys = [new_key() for _ in range(10)]
        for key in keys:
            await put(local.driver, key, SOME)
        await asyncio.wait([writing])
        assert all(local.raw_get(key) == SOME for key in keys)
        await until(lambda: not local.leftovers() and descriptors() == before)


def sizes(local: LocalPlace) -> list[int]:
    """Of the files that are staged and not empty any more."""
    return [size for path in local.root.glob("staging/*/*") if (size := path.stat().st_size)]
