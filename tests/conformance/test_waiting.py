"""What every place promises of bytes that wait for more of them."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drs_service.blobs.driver import BlobDriver, Buffer, Waiting
from drs_service.errors import UploadBusy, UploadLost
from tests.support.driving import collect, fetch, new_key
from tests.support.places import LocalPlace, Place

SOME = secrets.token_bytes(3_000_017)
HALF = len(SOME) // 2


@asynccontextmanager
async def resumed(driver: BlobDriver, handle: str, offset: int) -> AsyncIterator[Waiting]:
    waiting = await driver.resume(handle)
    try:
        await waiting.go_on(offset)
        yield waiting
    finally:
        await waiting.leave()


async def sent(driver: BlobDriver, handle: str, offset: int, *chunks: Buffer) -> None:
    async with resumed(driver, handle, offset) as waiting:
        await waiting.write(chunks)
        await waiting.sync()


async def handles(driver: BlobDriver) -> list[str]:
    return [entry.key async for entry in driver.waiting()]


@pytest.fixture
async def handle(place: Place) -> AsyncIterator[str]:
    handle = await place.driver.begin()
    yield handle
    await place.driver.forget(handle)


async def test_bytes_come_by_and_by(place: Place, handle: str) -> None:
    key = new_key()
    await sent(place.driver, handle, 0, SOME[:1], SOME[1:HALF])
    await sent(place.driver, handle, HALF, SOME[HALF:])
    assert place.raw_keys() == []
    async with resumed(place.driver, handle, len(SOME)) as waiting:
        assert await collect(waiting.reread(0, len(SOME))) == SOME
        assert await collect(waiting.reread(1, 3)) == SOME[1:3]
        await waiting.publish(key)
        await waiting.discard()
    assert await fetch(place.driver, key) == SOME
    assert await handles(place.driver) == []


async def test_no_bytes_at_all_can_wait(place: Place, handle: str) -> None:
    key = new_key()
    async with resumed(place.driver, handle, 0) as waiting:
        await waiting.sync()
        await waiting.publish(key)
    assert await fetch(place.driver, key) == b""


async def test_what_lies_behind_the_offset_is_forgotten(place: Place, handle: str) -> None:
    key = new_key()
    await sent(place.driver, handle, 0, b"right", b"wrong")
    async with resumed(place.driver, handle, 5) as waiting:
        await waiting.write([b" again"])
        await waiting.publish(key)
    assert await fetch(place.driver, key) == b"right again"


async def test_one_at_a_time(place: Place, handle: str) -> None:
    async with resumed(place.driver, handle, 0) as waiting:
        with pytest.raises(UploadBusy):
            await place.driver.resume(handle)
        await waiting.write([b"first"])
        await waiting.sync()
    await sent(place.driver, handle, 5, b"second")


async def test_bytes_that_are_not_there_are_missed(place: Place, handle: str) -> None:
    with pytest.raises(UploadLost):
        await sent(place.driver, handle, 1)
    await sent(place.driver, handle, 0, b"ab")
    with pytest.raises(UploadLost):
        await sent(place.driver, handle, 3)
    await sent(place.driver, handle, 2, b"c")
    await place.driver.forget(handle)
    with pytest.raises(UploadLost):
        await sent(place.driver, handle, 3)


async def test_what_waits_is_listed_until_it_is_forgotten(place: Place) -> None:
    names = [await place.driver.begin() for _ in range(3)]
    assert len(set(names)) == 3
    for name in names:
        await sent(place.driver, name, 0, b"a")
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
    await sent(place.driver, handle, 0, SOME)
    async with resumed(place.driver, handle, len(SOME)) as waiting:
        await waiting.publish(key)
    async with resumed(place.driver, handle, len(SOME)) as waiting:
        await waiting.publish(again)
    assert await fetch(place.driver, key) == await fetch(place.driver, again) == SOME


async def test_who_publishes_is_not_done_yet(place: Place, handle: str) -> None:
    async with resumed(place.driver, handle, 0) as waiting:
        await waiting.publish(new_key())
        with pytest.raises(UploadBusy):
            await place.driver.resume(handle)
        await waiting.publish(new_key())
    await (await place.driver.resume(handle)).leave()


async def test_a_cleaner_leaves_what_waits(place: Place, handle: str) -> None:
    await sent(place.driver, handle, 0, b"a")
    await place.driver.clean()
    await sent(place.driver, handle, 1, b"b")


DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from drs_service.blobs.local import LocalDriver
async def main():
    waiting = await LocalDriver(Path(sys.argv[1])).resume(sys.argv[2])
    await waiting.go_on(0)
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
    async with resumed(local.driver, handle, 6) as waiting:
        await waiting.publish(key)
        await waiting.discard()
    assert await fetch(local.driver, key) == b"synced"
