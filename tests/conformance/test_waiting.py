"""What every place promises of bytes that wait for more of them."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from drs_service.blobs.driver import BlobDriver, Buffer, Waiting
from drs_service.domain.uploads import Mark
from drs_service.errors import UploadBusy, UploadLost
from tests.support.driving import collect, fetch, new_key
from tests.support.places import LocalPlace, Place

SOME = secrets.token_bytes(3_000_017)
HALF = len(SOME) // 2


@asynccontextmanager
async def resumed(driver: BlobDriver, handle: str, mark: Mark) -> AsyncIterator[Waiting]:
    waiting = await driver.resume(handle)
    try:
        await waiting.go_on(mark)
        yield waiting
    finally:
        await waiting.leave()


async def sent(driver: BlobDriver, handle: str, mark: Mark, *chunks: Buffer) -> Mark:
    async with resumed(driver, handle, mark) as waiting:
        await waiting.write(chunks)
        after = await waiting.sync()
    assert after.offset == mark.offset + sum(map(len, chunks))
    return after


async def handles(driver: BlobDriver) -> list[str]:
    return [entry.key async for entry in driver.waiting()]


@pytest.fixture
async def handle(place: Place) -> AsyncIterator[str]:
    handle = await place.driver.begin()
    yield handle
    await place.driver.forget(handle)


async def test_bytes_come_by_and_by(place: Place, handle: str) -> None:
    key = new_key()
    half = await sent(place.driver, handle, Mark(), SOME[:1], SOME[1:HALF])
    whole = await sent(place.driver, handle, half, SOME[HALF:])
    assert place.raw_keys() == []
    async with resumed(place.driver, handle, whole) as waiting:
        assert await collect(waiting.reread(0, len(SOME))) == SOME
        assert await collect(waiting.reread(1, 3)) == SOME[1:3]
        await waiting.publish(key)
        await waiting.discard()
    assert await fetch(place.driver, key) == SOME
    assert await handles(place.driver) == []


@pytest.mark.parametrize("sizes", [[len(SOME), len(SOME), 17], [17, len(SOME), 0, 1], [6_000_000, 5_500_000, 7]])
async def test_what_waits_is_joined(place: Place, handle: str, sizes: list[int]) -> None:
    contents = [secrets.token_bytes(size) for size in sizes]
    others = [await place.driver.begin() for _ in contents]
    marks = []
    for other, content in zip(others, contents, strict=True):
        half = await sent(place.driver, other, Mark(), content[: len(content) // 2])
        marks.append(await sent(place.driver, other, half, content[len(content) // 2 :]))
    key = new_key()
    async with resumed(place.driver, handle, Mark()) as waiting:
        for other, mark in zip(others, marks, strict=True):
            async with resumed(place.driver, other, mark) as piece:
                await waiting.append(piece, mark.offset)
        whole = await waiting.sync()
        assert whole.offset == sum(sizes)
    async with resumed(place.driver, handle, whole) as waiting:
        await waiting.publish(key)
        await waiting.discard()
    assert await fetch(place.driver, key) == b"".join(contents)
    for other in others:
        await place.driver.forget(other)


async def test_no_bytes_at_all_can_wait(place: Place, handle: str) -> None:
    key = new_key()
    async with resumed(place.driver, handle, Mark()) as waiting:
        assert (await waiting.sync()).offset == 0
        await waiting.publish(key)
    assert await fetch(place.driver, key) == b""


async def test_what_lies_behind_the_offset_is_forgotten(place: Place, handle: str) -> None:
    key = new_key()
    right = await sent(place.driver, handle, Mark(), b"right")
    await sent(place.driver, handle, right, b"wrong")
    async with resumed(place.driver, handle, right) as waiting:
        await waiting.write([b" again"])
        await waiting.sync()
        await waiting.publish(key)
    assert await fetch(place.driver, key) == b"right again"


async def test_what_was_not_synced_is_forgotten(place: Place, handle: str) -> None:
    key = new_key()
    right = await sent(place.driver, handle, Mark(), b"right")
    async with resumed(place.driver, handle, right) as waiting:
        await waiting.write([b"wrong"])
    right = await sent(place.driver, handle, right, b" again")
    async with resumed(place.driver, handle, right) as waiting:
        await waiting.publish(key)
    assert await fetch(place.driver, key) == b"right again"


async def test_the_mark_before_the_last_is_good_until_the_next_sync(place: Place, handle: str) -> None:
    async with resumed(place.driver, handle, Mark()) as waiting:
        await waiting.write([SOME[:HALF]])
        before = await waiting.sync()
        await waiting.write([SOME[HALF:]])
        await waiting.sync()
    async with resumed(place.driver, handle, before) as waiting:
        assert await collect(waiting.reread(0, HALF)) == SOME[:HALF]


async def test_one_at_a_time(place: Place, handle: str) -> None:
    async with resumed(place.driver, handle, Mark()) as waiting:
        with pytest.raises(UploadBusy):
            await place.driver.resume(handle)
        await waiting.write([b"first"])
        first = await waiting.sync()
    await sent(place.driver, handle, first, b"second")


async def test_bytes_that_are_not_there_are_missed(place: Place, handle: str) -> None:
    with pytest.raises(UploadLost):
        await sent(place.driver, handle, Mark(1))
    mark = await sent(place.driver, handle, Mark(), b"ab")
    with pytest.raises(UploadLost):
        await sent(place.driver, handle, replace(mark, offset=3))
    mark = await sent(place.driver, handle, mark, b"c")
    await place.driver.forget(handle)
    with pytest.raises(UploadLost):
        await sent(place.driver, handle, mark)


async def test_what_waits_is_listed_until_it_is_forgotten(place: Place) -> None:
    names = [await place.driver.begin() for _ in range(3)]
    assert len(set(names)) == 3
    for name in names:
        await sent(place.driver, name, Mark(), b"a")
    assert sorted(await handles(place.driver)) == sorted(names)
    for name in names:
        await place.driver.forget(name)
        await place.driver.forget(name)
    assert await handles(place.driver) == []


async def test_leaving_twice_is_harmless(place: Place, handle: str) -> None:
    waiting = await place.driver.resume(handle)
    await waiting.discard()
    await waiting.leave()
    await waiting.leave()


async def test_what_was_published_is_not_written_to(place: Place, handle: str) -> None:
    """A node that dies after publishing leaves a name of the published bytes; whoever goes on may publish again."""
    key, again = new_key(), new_key()
    whole = await sent(place.driver, handle, Mark(), SOME)
    async with resumed(place.driver, handle, whole) as waiting:
        await waiting.publish(key)
    async with resumed(place.driver, handle, whole) as waiting:
        await waiting.publish(again)
    assert await fetch(place.driver, key) == await fetch(place.driver, again) == SOME


async def test_who_publishes_is_not_done_yet(place: Place, handle: str) -> None:
    async with resumed(place.driver, handle, Mark()) as waiting:
        await waiting.publish(new_key())
        with pytest.raises(UploadBusy):
            await place.driver.resume(handle)
        await waiting.publish(new_key())
    await (await place.driver.resume(handle)).leave()


async def test_a_cleaner_leaves_what_waits(place: Place, handle: str) -> None:
    mark = await sent(place.driver, handle, Mark(), b"a")
    await place.driver.clean()
    await sent(place.driver, handle, mark, b"b")


DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from drs_service.blobs.local import LocalDriver
from drs_service.domain.uploads import Mark
async def main():
    waiting = await LocalDriver(Path(sys.argv[1])).resume(sys.argv[2])
    await waiting.go_on(Mark())
    await waiting.write([b"synced"])
    await waiting.sync()
    await waiting.write([b" and not"])
    print("written", flush=True)
    signal.pause()
asyncio.run(main())
"""


async def test_who_was_killed_holds_nothing(local: LocalPlace) -> None:
    handle = await local.driver.begin()
    command = [sys.executable, "-c", DYING, str(local.root), handle]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == "written\n"
    with pytest.raises(UploadBusy):
        await local.driver.resume(handle)
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.to_thread(process.wait)
    process.stdout.close()
    key = new_key()
    async with resumed(local.driver, handle, Mark(6)) as waiting:
        await waiting.publish(key)
        await waiting.discard()
    assert await fetch(local.driver, key) == b"synced"
