"""Files of others, wherever they are: found, read, and held to what they were."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from drs_service.blobs.cloud import CloudDriver
from drs_service.blobs.external import ExternalFile, ExternalFiles
from drs_service.blobs.external_bucket import ExternalBucket
from drs_service.blobs.external_directory import ExternalDirectory
from drs_service.domain.paths import name_of, spelled, unspelled
from drs_service.errors import FileChanged, FileUnreadable, StorageUnavailable
from tests.support.driving import collect
from tests.support.places import CLOUDS, CloudPlace, CloudServer, descriptors

Write = Callable[[str, bytes], None]


@pytest.fixture(params=["directory", *CLOUDS])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[ExternalFiles, Write]]:
    """The files of a place, and a way to write there."""
    before = descriptors()
    if request.param == "directory":
        files: ExternalFiles = ExternalDirectory(tmp_path)

        def write(name: str, content: bytes) -> None:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
    else:
        cloud = CloudPlace(request.getfixturevalue(request.param))
        assert isinstance(cloud.driver, CloudDriver)
        files = ExternalBucket(cloud.driver.bucket)

        def write(name: str, content: bytes) -> None:
            cloud.server.put(cloud.prefix + name, content)

    yield files, write
    await files.close()
    assert descriptors() == before


async def listed(files: ExternalFiles, below: str = "") -> dict[str, ExternalFile]:
    return {one.path: one async for one in files.files(below) if isinstance(one, ExternalFile)}


async def read(files: ExternalFiles, file: ExternalFile, start: int, end: int) -> bytes:
    return await collect(files.read(file, start, end))


async def test_files_are_found_below_a_path_and_nowhere_else(place: tuple[ExternalFiles, Write]) -> None:
    files, write = place
    for name in ("runs/a", "runs/b/c 50%.txt", "runs2/d", "e"):
        write(name, name.encode())
    everything = await listed(files)
    assert everything.keys() == {"runs/a", "runs/b/c 50%25.txt", "runs2/d", "e"}
    assert (await listed(files, "runs")).keys() == {"runs/a", "runs/b/c 50%25.txt"}
    assert (await listed(files, "e")).keys() == {"e"}
    for path, file in everything.items():
        assert file.size == len(unspelled(path))
        assert await files.look(path) == file
        assert await read(files, file, 1, file.size) == unspelled(path)[1:]
    with pytest.raises(KeyError):
        await files.look("nothing")
    await files.probe()


async def test_a_file_is_not_read_once_it_is_another(place: tuple[ExternalFiles, Write]) -> None:
    files, write = place
    write("one", b"content")
    write("empty", b"")
    one, empty = await files.look("one"), await files.look("empty")
    assert await read(files, empty, 0, 0) == b""
    write("one", b"CONTENT")
    write("empty", b"no more")
    for file in (one, empty):
        with pytest.raises(FileChanged):
            await read(files, file, 0, file.size)
    assert await read(files, await files.look("one"), 0, 7) == b"CONTENT"
    with pytest.raises(KeyError):
        await read(files, ExternalFile("gone", 7, "stamp"), 0, 7)


async def test_where_there_is_nothing_it_is_said(place: tuple[ExternalFiles, Write]) -> None:
    files, _ = place
    with pytest.raises(StorageUnavailable):
        await files.probe()


async def test_what_a_bucket_refuses_is_wrong_with_that_file_alone(s3: CloudServer) -> None:
    stranger = CloudPlace(s3).another(secret="wrong")
    files = ExternalBucket(stranger.bucket)
    with pytest.raises(FileUnreadable):
        await read(files, ExternalFile("one", 7, "stamp"), 0, 7)
    await files.close()


async def test_nobody_is_led_out_of_a_directory(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (outside / "a").mkdir(parents=True)
    (inside / "a").mkdir(parents=True)
    for root in (outside, inside):
        (root / "a" / "b").write_bytes(b"content")
        os.utime(root / "a" / "b", (1, 1))
    files = ExternalDirectory(inside)
    file = await files.look("a/b")
    (inside / "a" / "b").unlink()
    (inside / "a").rmdir()
    (inside / "a").symlink_to(outside / "a")  # since it was found
    for path in ("a/b", "../outside/a/b", "a/../a/b", "/etc/passwd", ""):
        with pytest.raises(KeyError):
            await files.look(path)
    with pytest.raises(KeyError):
        await read(files, file, 0, 7)
    await files.close()


async def test_a_listing_that_is_left_leaves_nothing_open(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "file").touch()
    before = descriptors()
    files = ExternalDirectory(tmp_path)
    async with aclosing(files.files("")) as listing:  # type: ignore[type-var]  # it is a generator
        async for _ in listing:
            break
    await files.close()
    assert descriptors() == before


@pytest.mark.parametrize("path", [b"a", b"\xff\xfe", "ä/ö".encode(), b"100%", b"%41", b"a\n\x00\x7f", b"\xed\xa0\x80"])
def test_a_path_is_spelled_exactly(path: bytes) -> None:
    text = spelled(path)
    assert unspelled(text) == path
    assert text.isprintable()
    assert text.encode()


@pytest.mark.parametrize(("path", "name"), [("a/b.txt", "b.txt"), ("a/", "a"), ("..", "_"), ("x" * 300 + ".bam", None)])
def test_a_name_is_the_end_of_a_path(path: str, name: str | None) -> None:
    assert name_of(path).original == (name or path[-255:])
