"""What every place that keeps bytes promises."""

import asyncio
import hashlib
import secrets
import time
from datetime import UTC, datetime, timedelta

import pytest

from drs_service.blobs.driver import Buffer
from drs_service.blobs.files import IOV_MAX
from drs_service.blobs.local import READ_SIZE, WRITE_BACK_SIZE
from drs_service.errors import BlobCorrupt
from tests.support.deadline import PATIENCE, until
from tests.support.driving import collect, fetch, keys, new_key, put, staging
from tests.support.places import Place, descriptors

SOME = secrets.token_bytes(3 * READ_SIZE + 17)
OTHER = secrets.token_bytes(len(SOME))


async def test_what_is_published_can_be_read(place: Place) -> None:
    key = new_key()
    await put(place.driver, key, SOME[:1], SOME[1:READ_SIZE], SOME[READ_SIZE:])
    assert await place.driver.size(key) == len(SOME)
    assert await fetch(place.driver, key) == SOME
    assert place.raw_get(key) == SOME


async def test_staged_bytes_are_invisible(place: Place) -> None:
    key = new_key()
    async with staging(place.driver, SOME) as staged:
        assert await keys(place.driver) == []
        assert place.raw_keys() == []
        with pytest.raises(KeyError):
            await place.driver.size(key)
        with pytest.raises(KeyError):
            await fetch(place.driver, key, 0, 1)
        await staged.publish(key)
        assert await keys(place.driver) == [key]


async def test_what_is_discarded_was_never_there(place: Place) -> None:
    async with staging(place.driver, SOME):
        pass
    assert place.raw_keys() == place.leftovers() == []


async def test_no_bytes_at_all_can_be_published(place: Place) -> None:
    key = new_key()
    await put(place.driver, key)
    assert await place.driver.size(key) == 0
    assert await fetch(place.driver, key) == b""


async def test_a_reader_sees_all_or_nothing_while_a_writer_publishes(place: Place) -> None:
    key = new_key()
    seen: list[bytes | None] = []

    async def watch() -> None:
        while None in seen or not seen:
            try:
                seen.append(await fetch(place.driver, key))
            except KeyError:
                seen[:] = [None]
                await asyncio.sleep(0)
            else:
                return

    async with staging(place.driver, *[SOME] * 4) as staged:
        watchers = [asyncio.create_task(watch()) for _ in range(4)]
        await until(lambda: bool(seen))
        await staged.publish(key)
        await asyncio.gather(*watchers)
    assert all(content in (None, SOME * 4) for content in seen)


async def test_who_looks_behind_the_back_sees_all_or_nothing(place: Place) -> None:
    keys_to_come = [new_key() for _ in range(place.tries // 2)]
    deadline = time.monotonic() + PATIENCE

    def watch() -> set[bytes | None]:
        seen: set[bytes | None] = set()
        for key in keys_to_come:
            while (content := place.raw_get(key)) is None:
                assert time.monotonic() < deadline
            seen.add(content)
        return seen

    watching = asyncio.get_running_loop().run_in_executor(None, watch)
    for key in keys_to_come:
        await put(place.driver, key, SOME)
    assert await watching == {SOME}


async def test_publishing_twice_is_harmless(place: Place) -> None:
    key = new_key()
    async with staging(place.driver, SOME) as staged:
        await staged.publish(key)
        await staged.publish(key)
    assert await fetch(place.driver, key) == SOME


async def test_what_is_published_can_be_published_under_another_key_too(place: Place) -> None:
    one, another = new_key(), new_key()
    async with staging(place.driver, SOME) as staged:
        await staged.publish(one)
        await staged.publish(another)
    await place.driver.delete(one)
    assert await fetch(place.driver, another) == SOME


@pytest.mark.parametrize("newcomer", [SOME, OTHER, b""], ids=["same", "different", "none"])
async def test_a_key_that_exists_stays_as_it_is(place: Place, newcomer: bytes) -> None:
    key = new_key()
    await put(place.driver, key, SOME)
    await put(place.driver, key, newcomer)
    assert await fetch(place.driver, key) == place.raw_get(key) == SOME


async def test_publishing_again_after_a_delete_brings_the_key_back(place: Place) -> None:
    key = new_key()
    async with staging(place.driver, SOME) as staged:
        for _ in range(3):
            await staged.publish(key)
            await place.driver.delete(key)
            with pytest.raises(KeyError):
                await place.driver.size(key)
        await staged.publish(key)
    assert await fetch(place.driver, key) == SOME


async def test_of_two_published_under_one_key_at_once_one_is_there_whole(place: Place) -> None:
    for _ in range(place.tries // 4):
        key = new_key()
        async with staging(place.driver, SOME) as one, staging(place.driver, OTHER) as another:
            await asyncio.gather(one.publish(key), another.publish(key))
            first = await fetch(place.driver, key)
            assert first in (SOME, OTHER)
        assert await fetch(place.driver, key) == first


async def test_discarding_twice_is_harmless(place: Place) -> None:
    staged = await place.driver.stage()
    await staged.write([SOME])
    await staged.discard()
    await staged.discard()
    assert place.leftovers() == []


async def test_discarding_keeps_what_was_published(place: Place) -> None:
    key = new_key()
    async with staging(place.driver, SOME) as staged:
        await staged.publish(key)
        await staged.discard()
        assert await fetch(place.driver, key) == SOME


async def test_many_stage_and_publish_at_once(place: Place) -> None:
    contents = {new_key(): secrets.token_bytes(1000 + number) for number in range(100)}
    await asyncio.gather(*(put(place.driver, key, content) for key, content in contents.items()))
    assert {key: await fetch(place.driver, key) for key in contents} == contents


async def test_what_is_deleted_is_gone(place: Place) -> None:
    key = new_key()
    await put(place.driver, key, SOME)
    await place.driver.delete(key)
    assert place.raw_keys() == await keys(place.driver) == []
    with pytest.raises(KeyError):
        await place.driver.size(key)


async def test_deleting_what_is_not_there_is_fine(place: Place) -> None:
    key = new_key()
    await place.driver.delete(key)
    await put(place.driver, key, SOME)
    await asyncio.gather(*(place.driver.delete(key) for _ in range(5)))


async def test_a_reading_goes_on_to_its_end_after_a_delete(place: Place) -> None:
    key = new_key()
    await put(place.driver, key, SOME)
    reading = place.driver.read(key, 0, len(SOME))
    first = bytes(await anext(reading))
    await place.driver.delete(key)
    assert first + await collect(reading) == SOME


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 0),
        (0, 1),
        (0, READ_SIZE),
        (1, READ_SIZE + 1),
        (READ_SIZE - 1, READ_SIZE + 1),
        (17, 17),
        (12345, len(SOME) - 12345),
        (len(SOME) - 1, len(SOME)),
        (len(SOME), len(SOME)),
    ],
)
async def test_any_range_can_be_read(place: Place, start: int, end: int) -> None:
    key = new_key()
    await put(place.driver, key, SOME)
    assert await fetch(place.driver, key, start, end) == SOME[start:end]


async def test_many_read_one_key_at_once(place: Place) -> None:
    key = new_key()
    await put(place.driver, key, SOME)
    pieces = await asyncio.gather(*(fetch(place.driver, key, at, at + 100) for at in range(0, 10000, 100)))
    assert b"".join(pieces) == SOME[:10000]


@pytest.mark.parametrize("left", [0, 1, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, len(SOME) - 1])
async def test_bytes_that_end_too_early_are_corrupt(place: Place, left: int) -> None:
    key = new_key()
    await put(place.driver, key, SOME)
    place.truncate(key, left)
    read = bytearray()
    with pytest.raises(BlobCorrupt):
        async for piece in place.driver.read(key, 0, len(SOME)):
            read += piece
    assert SOME[:left].startswith(read)


async def test_a_key_that_is_missing_is_a_key_error(place: Place) -> None:
    await put(place.driver, new_key(), SOME)
    with pytest.raises(KeyError):
        await place.driver.size(new_key())
    for span in [(0, 0), (0, 1), (5, 10)]:
        with pytest.raises(KeyError):
            await anext(place.driver.read(new_key(), *span))


async def test_a_reading_that_is_given_up_lets_go_of_the_key(place: Place) -> None:
    key = new_key()
    await put(place.driver, key, SOME)
    before = descriptors()
    reading = place.driver.read(key, 0, len(SOME))
    await anext(reading)
    await reading.aclose()
    assert descriptors() == before


async def test_keys_are_sorted_and_only_those_that_start_with_the_prefix(place: Place) -> None:
    made = [f"{folder}/{name}" for folder in ("a", "a-b", "ab", "b") for name in ("0", "0-1", "00", "z/0", "z-/1")]
    for key in made:
        await put(place.driver, key, b"")
    for prefix in ("", "a", "a/", "a-", "ab/z", "ab/z/", "a/0", "a/00", "a/z/0", "b/z-", "c", "a/z/0-", "c/d/", "a/0/"):
        assert await keys(place.driver, prefix) == sorted(key for key in made if key.startswith(prefix)), prefix


async def test_hundreds_of_keys_are_all_listed_and_none_of_what_is_staged(place: Place) -> None:
    made = [new_key() for _ in range(300)]
    async with staging(place.driver, SOME), staging(place.driver, b"few") as published:
        for key in made:
            await published.publish(key)
        assert await keys(place.driver, "sha256/") == sorted(made)
        assert await keys(place.driver) == sorted(made)


async def test_keys_may_come_and_go_while_they_are_listed(place: Place) -> None:
    made = sorted(new_key() for _ in range(60))
    for key in made[::2]:
        await put(place.driver, key, b"")
    listed = []
    async for entry in place.driver.keys("sha256/"):
        listed.append(entry.key)
        await place.driver.delete(made[10])
        await put(place.driver, made[11], b"")
    assert listed == sorted(listed)
    assert set(made[::2]) - {made[10]} <= set(listed) <= {*made[::2], made[11]}


async def test_an_entry_says_when_it_was_published(place: Place) -> None:
    async with staging(place.driver, SOME) as staged:
        before = datetime.now(UTC)
        await staged.publish(new_key())
        after = datetime.now(UTC)
    [entry] = [entry async for entry in place.driver.keys("")]
    tick = timedelta(seconds=1)  # that is what Azure tells, and a file system what the kernel's timer does
    assert before - tick <= entry.published <= after + tick


@pytest.mark.parametrize("count", [0, 1, IOV_MAX - 1, IOV_MAX, IOV_MAX + 1, 5 * IOV_MAX])
async def test_one_write_takes_any_number_of_chunks(place: Place, count: int) -> None:
    key = new_key()
    chunks = [bytes([number % 256]) * (number % 7) for number in range(count)]
    async with staging(place.driver) as staged:
        await staged.write(chunks)
        await staged.publish(key)
    assert place.raw_get(key) == b"".join(chunks)


async def test_chunks_may_be_of_every_kind_and_are_the_callers_again(place: Place) -> None:
    key = new_key()
    chunks: list[Buffer] = [SOME[:10], bytearray(SOME[10:20]), memoryview(SOME)[20:30], memoryview(bytearray(b"end"))]
    async with staging(place.driver) as staged:
        await staged.write(chunks)
        assert isinstance(chunks[1], bytearray)
        chunks[1][:] = b"used again, and longer"
        await staged.publish(key)
    assert place.raw_get(key) == SOME[:30] + b"end"


async def test_many_small_writes_are_appended_in_order(place: Place) -> None:
    key = new_key()
    await put(place.driver, key, *(b"%d," % number for number in range(300)))
    assert place.raw_get(key) == b"".join(b"%d," % number for number in range(300))


async def test_big_bytes_are_kept_as_they_are(place: Place) -> None:
    key = new_key()
    block = secrets.token_bytes(1024**2)
    expected, hasher = hashlib.sha256(), hashlib.sha256()
    async with staging(place.driver) as staged:
        for number in range(WRITE_BACK_SIZE // len(block) + 9):
            chunks = [number.to_bytes(4), block]
            expected.update(b"".join(chunks))
            await staged.write(chunks)
        await staged.publish(key)
    async for piece in place.driver.read(key, 0, await place.driver.size(key)):
        hasher.update(piece)
    assert hasher.digest() == expected.digest()


async def test_big_bytes_can_be_discarded_while_they_are_written_back(place: Place) -> None:
    async with staging(place.driver) as staged:
        await staged.write([bytes(1024**2)] * (WRITE_BACK_SIZE // 1024**2))
    assert place.leftovers() == []


async def test_a_writer_cancelled_at_any_moment_leaves_nothing(place: Place) -> None:
    await place.driver.probe()
    before = descriptors()
    tried = []

    async def write() -> None:
        tried.append(new_key())
        await put(place.driver, tried[-1], SOME, SOME, SOME)

    started = time.monotonic()
    await write()
    duration = time.monotonic() - started
    for number in range(place.tries):
        writing = asyncio.create_task(write())
        await asyncio.wait([writing], timeout=duration * number / place.tries)
        writing.cancel()
        await asyncio.wait([writing])
    await until(lambda: not place.leftovers())
    await until(lambda: descriptors() == before)
    assert {place.raw_get(key) for key in tried} <= {None, SOME * 3}


async def test_a_writer_cancelled_twice_leaves_nothing(place: Place) -> None:
    await place.driver.probe()
    before = descriptors()
    started = time.monotonic()
    await put(place.driver, new_key(), SOME, SOME, SOME)
    duration = time.monotonic() - started
    for number in range(place.tries):
        writing = asyncio.create_task(put(place.driver, new_key(), SOME, SOME, SOME))
        await asyncio.wait([writing], timeout=duration * number / place.tries)
        writing.cancel()
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
    await until(lambda: not place.leftovers())
    await until(lambda: descriptors() == before)


async def test_a_reader_cancelled_at_any_moment_lets_go_of_the_key(place: Place) -> None:
    key = new_key()
    await put(place.driver, key, SOME)
    before = descriptors()
    started = time.monotonic()
    await fetch(place.driver, key)
    duration = time.monotonic() - started
    for number in range(place.tries):
        reading = asyncio.create_task(fetch(place.driver, key))
        await asyncio.wait([reading], timeout=duration * number / place.tries)
        reading.cancel()
        await asyncio.wait([reading])
    await until(lambda: descriptors() == before)
    assert await fetch(place.driver, key) == SOME


async def test_cleaning_spares_what_the_living_have_staged_or_published(place: Place) -> None:
    key = new_key()
    async with staging(place.driver, SOME) as staged:
        assert await place.driver.clean() == 0
        await staged.publish(key)
        assert await place.driver.clean() == 0
    assert await fetch(place.driver, key) == SOME


async def test_probing_changes_nothing(place: Place) -> None:
    await place.driver.probe()
    assert place.raw_keys() == place.leftovers() == []


async def test_closing_lets_go_of_everything(unclosed_place: Place) -> None:
    await put(unclosed_place.driver, new_key(), SOME)
    await unclosed_place.driver.close()


async def test_a_place_that_was_never_used_can_be_closed(unclosed_place: Place) -> None:
    await unclosed_place.driver.close()
