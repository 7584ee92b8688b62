"""What only places in a cloud promise, and what only there can go wrong."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from drs_service.blobs.bucket import Bucket
from drs_service.blobs.chain import Chain
from drs_service.blobs.cloud import CROWD, SIZES, CloudDriver, CloudStaged
from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.opening import open_driver
from drs_service.blobs.s3 import LEAST_PART
from drs_service.domain.uploads import Mark
from drs_service.errors import StorageUnavailable, UploadLost
from tests.conformance.test_store import resident
from tests.conformance.test_waiting import resumed, sent
from tests.support.driving import collect, fetch, keys, new_key, put, staging
from tests.support.passage import Passage, passage
from tests.support.places import CLOUDS, FILES, SMALL_PARTS, CloudPlace, CloudServer

MIB = 1024**2
SOME = secrets.token_bytes(4 * LEAST_PART + 17)
SOON = 8.0  # seconds in which an answer comes from an endpoint that is dead


@pytest.fixture(params=[*CLOUDS, FILES])
def server(request: pytest.FixtureRequest) -> CloudServer:
    server: CloudServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
async def place(server: CloudServer) -> AsyncIterator[CloudPlace]:
    place = CloudPlace(server, sizes=SMALL_PARTS)
    yield place
    assert place.leftovers() == []
    await place.driver.close()


@pytest.fixture
async def another(place: CloudPlace) -> AsyncIterator[CloudDriver]:
    """The same place, as another process would have it."""
    driver = place.another()
    yield driver
    await driver.close()


def bucket_of(place: CloudPlace) -> Bucket:
    assert isinstance(place.driver, CloudDriver)
    return place.driver.bucket


async def whole(driver: BlobDriver, handle: str, mark: Mark) -> bytes:
    async with resumed(driver, handle, mark) as waiting:
        return await collect(waiting.reread(0, mark.offset))


async def test_what_is_too_long_for_one_object_is_published_as_one(place: CloudPlace) -> None:
    key = new_key()
    async with staging(place.driver, SOME, SOME) as staged:
        await staged.publish(key)
        assert len([name for name in place.leftovers() if name.startswith("staging/parts/")]) > 2
        await place.driver.delete(key)
        await staged.publish(key)
    assert place.raw_get(key) == SOME + SOME


async def test_memory_does_not_grow_with_the_file(server: CloudServer) -> None:
    place = CloudPlace(server)
    await place.driver.probe()
    seen: list[int] = []
    async with staging(place.driver) as staged:
        for _ in range(40):
            await staged.write([SOME[: 8 * MIB]])
            seen.append(resident())
        assert max(seen) - seen[0] < 128 * MIB
    await place.driver.close()


@pytest.mark.parametrize("size", [3, LEAST_PART - 1, LEAST_PART, LEAST_PART + 1, 3 * LEAST_PART])
async def test_two_that_go_on_behind_one_mark_do_not_harm_each_other(
    place: CloudPlace, another: CloudDriver, size: int
) -> None:
    """As when a client comes back to another node while the first one still waits for it."""
    handle = await place.driver.begin()
    begun = await sent(place.driver, handle, Mark(), SOME[:1000])
    async with resumed(place.driver, handle, begun) as one, resumed(another, handle, begun) as other:
        await asyncio.gather(one.write([SOME[:size]]), other.write([SOME[-size:]]))
        one_mark, other_mark = await asyncio.gather(one.sync(), other.sync())
    assert one_mark.offset == other_mark.offset and one_mark.notes != other_mark.notes
    one_content, other_content = SOME[:1000] + SOME[:size], SOME[:1000] + SOME[-size:]
    for driver in (place.driver, another):
        assert await whole(driver, handle, one_mark) == one_content
        assert await whole(driver, handle, other_mark) == other_content
    one_key, other_key = new_key(), new_key()
    for key, mark in [(one_key, one_mark), (other_key, other_mark)]:
        async with resumed(another, handle, mark) as waiting:
            await waiting.publish(key)
    assert (place.raw_get(one_key), place.raw_get(other_key)) == (one_content, other_content)
    await place.driver.forget(handle)


async def test_one_whose_mark_was_not_kept_does_not_harm_those_that_go_on(
    place: CloudPlace, another: CloudDriver
) -> None:
    handle = await place.driver.begin()
    kept = await sent(place.driver, handle, Mark(), b"begun")
    late = await another.resume(handle)
    await late.go_on(kept)
    content = b"begun"
    for number in range(4):
        content += b" %d" % number
        kept = await sent(place.driver, handle, kept, b" %d" % number)
    await late.write([b" too late"])
    await late.sync()
    await late.leave()
    kept = await sent(place.driver, handle, kept, b" end")
    assert await whole(another, handle, kept) == content + b" end"
    await place.driver.forget(handle)


async def test_of_many_small_requests_few_objects_stay(place: CloudPlace) -> None:
    handle, mark, content = await place.driver.begin(), Mark(), b""
    for number in range(40):
        mark = await sent(place.driver, handle, mark, b"%d " % number)
        content += b"%d " % number
    # One that holds all and what the mark before needs; or fewer than a crowd of each tier and what made the last one.
    assert len(place.leftovers()) <= (2 if bucket_of(place).least_part > 1 else CROWD + 1)
    assert await whole(place.driver, handle, mark) == content
    await place.driver.forget(handle)


async def test_many_segments_are_joined_and_the_mark_stays_short(place: CloudPlace) -> None:
    driver = place.another(crowd=3)
    driver.sizes = SIZES
    least = max(driver.bucket.least_part, 100_000)
    handle, mark, content = await driver.begin(), Mark(), b""
    marks = []
    for number in range(20):
        chunk = number.to_bytes(4) + SOME[: least + number]
        mark = await sent(driver, handle, mark, chunk)
        content += chunk
        marks.append(mark)
        if number:
            assert len(await whole(driver, handle, marks[-2])) == marks[-2].offset
    chain = Chain.parse(mark.notes)
    assert [one.tier for one in chain.segments] == [2, 2, 0, 0]
    assert max(len(mark.notes) for mark in marks) < 300
    key = new_key()
    async with resumed(driver, handle, mark) as waiting:
        await waiting.write([b"end"])
        await waiting.publish(key)
        await waiting.discard()
    assert hashlib.sha256(place.raw_get(key) or b"").digest() == hashlib.sha256(content + b"end").digest()
    assert place.leftovers() == []
    await driver.close()


async def test_one_long_request_is_as_good_as_many(place: CloudPlace) -> None:
    handle, key = await place.driver.begin(), new_key()
    mark = await sent(place.driver, handle, Mark(), SOME, SOME)
    assert len(Chain.parse(mark.notes).segments) > 1
    mark = await sent(place.driver, handle, mark, b"short", SOME[:LEAST_PART])
    mark = await sent(place.driver, handle, mark, b"end")
    async with resumed(place.driver, handle, mark) as waiting:
        await waiting.publish(key)
        await waiting.discard()
    assert place.raw_get(key) == SOME + SOME + b"short" + SOME[:LEAST_PART] + b"end"


@pytest.mark.parametrize("notes", ["nonsense", "0abc:zz", "0abc:5", "0abc:600000"])
async def test_what_a_mark_says_and_is_not_there_is_missed(place: CloudPlace, notes: str) -> None:
    waiting = await place.driver.resume(await place.driver.begin())
    with pytest.raises(UploadLost):
        await waiting.go_on(Mark(0x600000 if "6" in notes else 5, notes))
    await waiting.leave()


async def test_what_the_dead_have_staged_goes_and_what_the_living_have_stays(
    place: CloudPlace, another: CloudDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, alive = await another.stage(), await place.driver.stage()
    assert isinstance(dead, CloudStaged)
    for staged in (dead, alive):
        await staged.write([SOME])
    assert await place.driver.clean() == 0  # nobody has been silent for long
    monkeypatch.setattr("drs_service.blobs.owners.GONE_AFTER", timedelta(0))
    assert await place.driver.clean() >= 2
    key = new_key()
    await alive.publish(key)
    await alive.discard()
    assert place.raw_get(key) == SOME
    assert place.leftovers() == []
    with pytest.raises(StorageUnavailable):
        await dead.publish(key + "0")
    await dead.discard()


async def test_a_publication_that_was_killed_leaves_nothing_for_ever(
    place: CloudPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, key = bucket_of(place), new_key()
    await bucket.put_part(key, await bucket.begin(key), 1, b"some")
    assert await place.driver.clean() == 0
    monkeypatch.setattr("drs_service.blobs.owners.GONE_AFTER", timedelta(0))
    assert await place.driver.clean() == 1


async def test_a_process_that_ends_leaves_no_sign_of_itself(server: CloudServer) -> None:
    place = CloudPlace(server, sizes=SMALL_PARTS)
    await put(place.driver, new_key(), SOME)
    assert any(key.startswith("staging/owners/") for key in place.all_keys())
    await place.driver.close()
    assert [key for key in place.all_keys() if key.startswith("staging/")] == []


async def test_prefixes_keep_stores_apart(server: CloudServer) -> None:
    root = f"{server.scheme}://{server.bucket}/{secrets.token_hex(8)}"
    drivers = [open_driver(f"{root}{path}", server.access()) for path in ("/a", "/a/b", "/a%20b/")]
    for number, driver in enumerate(drivers):
        await put(driver, f"sha256/{number}", b"%d" % number)
    assert await keys(drivers[1]) == ["sha256/1"]
    assert await keys(drivers[2]) == ["sha256/2"]
    assert await fetch(drivers[2], "sha256/2") == b"2"
    for driver in drivers:
        await driver.close()


async def refused(driver: BlobDriver) -> None:
    """Every verb says that the storage is unavailable, and says so soon."""
    async with asyncio.timeout(SOON * 3):
        with pytest.raises(StorageUnavailable):
            await put(driver, new_key(), b"some")
        with pytest.raises(StorageUnavailable):
            await put(driver, new_key(), SOME)
        with pytest.raises(StorageUnavailable):
            await collect(driver.read(new_key(), 0, 1))
        with pytest.raises(StorageUnavailable):
            await keys(driver)
        with pytest.raises(StorageUnavailable):
            await driver.probe()
    await driver.close()


async def test_a_wrong_secret_is_told(place: CloudPlace) -> None:
    if place.server.wrong_secret is None:
        pytest.skip("the server asks nobody who he is")
    driver = place.another(secret="wrong")
    with pytest.raises(StorageUnavailable) as caught:
        await driver.probe()
    assert place.server.wrong_secret in str(caught.value.facts)
    assert "wrong" not in repr(place.server.access(secret="wrong"))
    await refused(driver)


async def test_a_bucket_that_is_not_there_is_told(server: CloudServer) -> None:
    if not server.no_such_bucket:
        pytest.skip("a directory is made")
    driver = open_driver(f"{server.scheme}://nobody-has-made-this/prefix", server.access())
    with pytest.raises(StorageUnavailable) as caught:
        await driver.probe()
    assert server.no_such_bucket in str(caught.value.facts)
    await refused(driver)


async def test_a_server_that_goes_away_is_missed_soon_and_used_when_it_is_back(place: CloudPlace) -> None:
    if not place.server.url:
        pytest.skip("there is no server")
    key = new_key()
    handle = await place.driver.begin()
    mark = await sent(place.driver, handle, Mark(), SOME)
    async with staging(place.driver, SOME) as staged:
        place.server.go_away()
        try:
            async with asyncio.timeout(SOON):
                with pytest.raises(StorageUnavailable):
                    await place.driver.probe()
            async with asyncio.timeout(SOON):
                with pytest.raises(StorageUnavailable):
                    await staged.publish(key)
        finally:
            place.server.come_back()
        await staged.publish(key)
    assert place.raw_get(key) == SOME
    assert await whole(place.driver, handle, mark) == SOME
    await place.driver.forget(handle)


@pytest.fixture
def way(server: CloudServer) -> Iterator[Passage]:
    if not server.url:
        pytest.skip("there is no server")
    with passage() as way:
        way.port = int(server.url.rpartition(":")[2])
        yield way


async def test_a_connection_that_breaks_while_bytes_come_is_told(place: CloudPlace, way: Passage) -> None:
    key = new_key()
    await put(place.driver, key, SOME)
    driver = place.another(url=way.url)
    reading = driver.read(key, 0, len(SOME))
    got = bytearray(await anext(reading))
    way.down.block_after(5 * MIB)
    with pytest.raises(StorageUnavailable):
        async for piece in cut_when_blocked(reading, way):
            got += piece
    assert SOME.startswith(got)
    await driver.close()


async def test_what_waits_is_read_on_where_a_connection_broke(place: CloudPlace, way: Passage) -> None:
    handle = await place.driver.begin()
    mark = await sent(place.driver, handle, Mark(), SOME)
    driver = place.another(url=way.url)
    async with resumed(driver, handle, mark) as waiting:
        way.down.block_after(12 * MIB)
        reading = cut_when_blocked(waiting.reread(0, mark.offset), way)
        assert b"".join([piece async for piece in reading]) == SOME
    assert way.down.bytes < len(SOME) + 6 * MIB
    await driver.close()
    await place.driver.forget(handle)


async def cut_when_blocked(reading: AsyncIterator[object], way: Passage) -> AsyncIterator[bytes]:
    async def cut() -> None:
        await asyncio.to_thread(way.down.blocked.wait, 10)
        way.cut()

    cutting = asyncio.create_task(cut())
    async for piece in reading:
        assert isinstance(piece, bytes)
        yield piece
    await cutting
