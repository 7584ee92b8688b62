"""The one door in front of every place: what comes in is verified, or was never there."""

import asyncio
import hashlib
import resource
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from drs_service.blobs.driver import Buffer
from drs_service.blobs.hashing import Hashing
from drs_service.blobs.keys import key_for, new_probe_key
from drs_service.blobs.local import READ_SIZE, LocalDriver
from drs_service.blobs.receiving import BLOCK_SIZE, INLINE_SIZE
from drs_service.blobs.store import BlobStore
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.ranges import ByteRange
from drs_service.domain.uploads import Mark
from drs_service.errors import (
    BlobCorrupt,
    BlobNotFound,
    ChunkMismatch,
    DigestMismatch,
    StorageFull,
    UploadInterrupted,
    UploadTooLarge,
)
from tests.conformance.conftest import MAX_BYTES
from tests.support.driving import collect, put
from tests.support.faults import FailAfter, Slow
from tests.support.places import LocalPlace, Place, descriptors

SOME = secrets.token_bytes(3 * READ_SIZE + 17)
MIB = 1024**2
ROOM = 64 * MIB


def digest(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).digest())


async def source(*chunks: Buffer, error: BaseException | None = None) -> AsyncIterator[Buffer]:
    """Yields the chunks, then raises error."""
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


async def keep(store: BlobStore, content: bytes) -> Digest:
    async with store.receive(source(content)) as arrival:
        await arrival.keep()
    return arrival.blob.digest


async def read(store: BlobStore, one: Digest, start: int, end: int) -> bytes:
    return await collect(await store.open(one, ByteRange(start, end)))


async def listed(store: BlobStore) -> list[Digest]:
    return [stored.digest async for stored in store.enumerate()]


async def nothing_is_under_way() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_is_kept_can_be_opened(store: BlobStore, unclosed_place: Place) -> None:
    async with store.receive(source(SOME[:10], SOME[10:]), expect=digest(SOME), length=len(SOME)) as arrival:
        await arrival.keep()
    assert arrival.blob.digest == digest(SOME)
    assert arrival.blob.size == len(SOME)
    assert await store.stat(digest(SOME)) == arrival.blob
    assert await read(store, digest(SOME), 0, len(SOME)) == SOME
    assert unclosed_place.raw_keys() == [key_for(digest(SOME))]


async def test_what_is_not_kept_is_forgotten(store: BlobStore, unclosed_place: Place) -> None:
    async with store.receive(source(SOME)):
        pass
    assert unclosed_place.raw_keys() == unclosed_place.leftovers() == []


@pytest.mark.parametrize("sent", [0, 1, INLINE_SIZE, BLOCK_SIZE, len(SOME)])
async def test_a_broken_source_stores_nothing(store: BlobStore, unclosed_place: Place, sent: int) -> None:
    with pytest.raises(UploadInterrupted):
        async with store.receive(source(SOME[:sent], error=UploadInterrupted())) as arrival:
            await arrival.keep()
    assert unclosed_place.raw_keys() == unclosed_place.leftovers() == []
    assert await nothing_is_under_way()


@pytest.mark.parametrize("size", [0, 1, len(SOME)])
async def test_a_wrong_digest_stores_nothing(store: BlobStore, unclosed_place: Place, size: int) -> None:
    with pytest.raises(DigestMismatch):
        async with store.receive(source(SOME[:size]), expect=digest(b"something else")) as arrival:
            await arrival.keep()
    assert unclosed_place.raw_keys() == unclosed_place.leftovers() == []


async def test_an_upload_that_says_it_is_too_long_is_not_read(store: BlobStore) -> None:
    unread = source(error=AssertionError("read"))
    with pytest.raises(UploadTooLarge):
        async with store.receive(unread, length=MAX_BYTES + 1):
            pass


@pytest.mark.parametrize("limit", [0, 1, BLOCK_SIZE, 2 * BLOCK_SIZE - 1])
async def test_an_upload_that_becomes_too_long_is_read_no_further(unclosed_place: Place, limit: int) -> None:
    store = BlobStore(unclosed_place.driver, place="primary", max_bytes=limit)
    full, rest = divmod(limit, 1000)
    chunks = [bytes(1000)] * full + [bytes(rest), b"!"]
    with pytest.raises(UploadTooLarge):
        async with store.receive(source(*chunks, error=AssertionError("read beyond the limit"))) as arrival:
            await arrival.keep()
    assert unclosed_place.raw_keys() == unclosed_place.leftovers() == []
    async with store.receive(source(*chunks[:-1]), length=limit) as arrival:
        await arrival.keep()
    assert arrival.blob.size == limit
    await store.close()


async def test_keeping_twice_is_harmless(store: BlobStore) -> None:
    async with store.receive(source(SOME)) as arrival:
        await arrival.keep()
        await arrival.keep()
    assert await listed(store) == [digest(SOME)]


async def test_keeping_still_brings_back_what_was_deleted(store: BlobStore) -> None:
    async with store.receive(source(SOME)) as arrival:
        await arrival.keep()
        await arrival.keep_still()
        await store.delete(arrival.blob.digest)
        with pytest.raises(BlobNotFound):
            await store.stat(arrival.blob.digest)
        await arrival.keep_still()
    assert await read(store, digest(SOME), 0, len(SOME)) == SOME


async def test_the_same_bytes_are_kept_once(store: BlobStore, unclosed_place: Place) -> None:
    await asyncio.gather(*(keep(store, SOME) for _ in range(5)), keep(store, b"others"))
    assert unclosed_place.raw_keys() == sorted([key_for(digest(SOME)), key_for(digest(b"others"))])


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [0, 0, 1, 0],
        [INLINE_SIZE - 1],
        [INLINE_SIZE],
        [INLINE_SIZE + 1],
        [BLOCK_SIZE - 1],
        [BLOCK_SIZE],
        [BLOCK_SIZE + 1],
        [BLOCK_SIZE - 1, 1, 1],
        [BLOCK_SIZE, INLINE_SIZE],
        [BLOCK_SIZE, INLINE_SIZE + 1],
        [BLOCK_SIZE, BLOCK_SIZE, BLOCK_SIZE],
        [1] * 3000,
        [997] * 1500,
        [3 * BLOCK_SIZE + 5, 1],
    ],
    ids=lambda sizes: f"{len(sizes)} chunks of {sum(sizes)}",
)
async def test_the_digest_is_right_for_chunks_of_any_size(
    store: BlobStore, unclosed_place: Place, sizes: Sequence[int]
) -> None:
    chunks = [secrets.token_bytes(size) for size in sizes]
    async with store.receive(source(*chunks)) as arrival:
        await arrival.keep()
    content = b"".join(chunks)
    assert arrival.blob.digest == digest(content)
    assert arrival.blob.size == len(content)
    assert unclosed_place.raw_get(arrival.key) == content


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
async def test_a_write_that_fails_stores_nothing(unclosed_place: Place, writes: int) -> None:
    store = BlobStore(FailAfter(unclosed_place.driver, writes, StorageFull()), place="primary", max_bytes=MAX_BYTES)
    with pytest.raises(StorageFull):
        async with store.receive(source(*[bytes(BLOCK_SIZE)] * 10)) as arrival:
            await arrival.keep()
    assert unclosed_place.raw_keys() == unclosed_place.leftovers() == []
    assert await nothing_is_under_way()
    await store.close()


async def test_of_a_write_and_a_source_that_both_fail_one_error_is_heard(
    unclosed_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    store = BlobStore(FailAfter(unclosed_place.driver, 0, StorageFull()), place="primary", max_bytes=MAX_BYTES)

    async def breaking() -> AsyncIterator[Buffer]:
        yield bytes(BLOCK_SIZE)
        while not await nothing_else_is_under_way():
            pass
        raise UploadInterrupted

    async def nothing_else_is_under_way() -> bool:
        await asyncio.sleep(0)
        return await nothing_is_under_way()

    with pytest.raises(UploadInterrupted):
        async with store.receive(breaking()):
            pass
    await store.close()
    assert caplog.records == []


@pytest.mark.parametrize("left", [0, len(SOME) - 1])
async def test_bytes_that_were_cut_off_are_whole_after_they_came_again(
    store: BlobStore, unclosed_place: Place, left: int
) -> None:
    one = await keep(store, SOME)
    unclosed_place.truncate(key_for(one), left)
    async with store.receive(source(SOME)) as arrival:
        await arrival.keep()
        await arrival.keep_still()
    assert await read(store, one, 0, len(SOME)) == unclosed_place.raw_get(key_for(one)) == SOME


async def test_a_probe_is_no_blob_and_goes_if_its_process_was_killed(
    store: BlobStore, unclosed_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(unclosed_place.driver, new_probe_key(), b"probing")
    assert await listed(store) == []
    await store.clean()
    assert len(unclosed_place.raw_keys()) == 1  # it may still be under way
    monkeypatch.setattr("drs_service.blobs.store.LONGEST_PROBE", timedelta(0))
    await store.clean()
    assert unclosed_place.raw_keys() == []


async def test_a_cancelled_arrival_leaves_nothing(store: BlobStore, unclosed_place: Place) -> None:
    await store.probe()
    before = descriptors()
    endless = asyncio.Event()

    async def stalling() -> AsyncIterator[Buffer]:
        for _ in range(5):
            yield bytes(BLOCK_SIZE)
        endless.set()
        await asyncio.Event().wait()

    async def receive() -> None:
        async with store.receive(stalling()) as arrival:
            await arrival.keep()

    for _ in range(5):
        endless.clear()
        receiving = asyncio.create_task(receive())
        await endless.wait()
        receiving.cancel()
        await asyncio.wait([receiving])
        assert receiving.cancelled()
    assert unclosed_place.raw_keys() == unclosed_place.leftovers() == []
    assert await nothing_is_under_way()
    assert descriptors() == before


async def test_a_slow_source_and_a_slow_place_lose_nothing(unclosed_place: Place) -> None:
    store = BlobStore(Slow(unclosed_place.driver, 0.003), place="primary", max_bytes=MAX_BYTES)

    async def slowly() -> AsyncIterator[Buffer]:
        for at in range(0, len(SOME), 100_000):
            await asyncio.sleep(0.001)
            yield SOME[at : at + 100_000]

    async with store.receive(slowly(), expect=digest(SOME)) as arrival:
        await arrival.keep()
    assert unclosed_place.raw_get(arrival.key) == SOME
    await store.close()


async def test_many_receive_at_once(store: BlobStore) -> None:
    contents = [secrets.token_bytes(INLINE_SIZE * number // 2) for number in range(40)]
    kept = await asyncio.gather(*(keep(store, content) for content in contents))
    assert kept == [digest(content) for content in contents]
    assert await listed(store) == sorted(kept)


async def test_what_is_not_there_is_not_found_before_the_first_byte(store: BlobStore) -> None:
    for span in [ByteRange(0, 0), ByteRange(0, 1), ByteRange(7, 9)]:
        with pytest.raises(BlobNotFound):
            await store.open(digest(b"never sent"), span)
    with pytest.raises(BlobNotFound):
        await store.stat(digest(b"never sent"))


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (5, 5), (READ_SIZE - 1, READ_SIZE + 1), (1, len(SOME))])
async def test_any_span_can_be_opened(store: BlobStore, start: int, end: int) -> None:
    await keep(store, SOME)
    assert await read(store, digest(SOME), start, end) == SOME[start:end]


async def test_what_is_opened_and_not_read_is_let_go_of(store: BlobStore) -> None:
    await keep(store, SOME)
    before = descriptors()
    for _ in range(10):
        opened = await store.open(digest(SOME), ByteRange(0, len(SOME)))
        await opened.aclose()
        assert descriptors() == before


async def test_a_reading_that_fails_midway_raises(local: LocalPlace) -> None:
    store = BlobStore(local.driver, place="primary", max_bytes=MAX_BYTES)
    await keep(store, SOME)
    opened = await store.open(digest(SOME), ByteRange(0, len(SOME)))
    given = bytearray(await anext(opened))
    local.truncate(key_for(digest(SOME)), READ_SIZE + 5)
    with pytest.raises(BlobCorrupt):
        async for piece in opened:
            given += piece
    assert given == SOME[: len(given)]


async def test_bytes_that_are_gone_raise_before_the_first_is_given(store: BlobStore, unclosed_place: Place) -> None:
    await keep(store, SOME)
    unclosed_place.truncate(key_for(digest(SOME)), 5)
    with pytest.raises(BlobCorrupt):
        await store.open(digest(SOME), ByteRange(5, len(SOME)))


async def test_foreign_keys_are_not_taken_for_blobs(store: BlobStore, unclosed_place: Place) -> None:
    await keep(store, SOME)
    for foreign in ("sha256/readme", "sha256/ab/cd/ef", f"sha256/00/00/{digest(SOME).hex}", "sha512/ab"):
        await put(unclosed_place.driver, foreign, b"junk")
    assert await listed(store) == [digest(SOME)]


async def test_blobs_are_enumerated_in_the_order_of_their_digests(store: BlobStore) -> None:
    kept = [await keep(store, b"%d" % number) for number in range(50)]
    assert await listed(store) == sorted(kept)


async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    store = BlobStore(LocalDriver(tmp_path / "store"), place="primary", max_bytes=MAX_BYTES)
    chunk = secrets.token_bytes(64 * 1024)
    seen: list[int] = []

    async def big() -> AsyncIterator[Buffer]:
        for number in range(512 * MIB // len(chunk)):
            if number % 16 == 0:
                seen.append(resident())
            yield bytearray(chunk)

    async with store.receive(big()) as arrival:
        assert arrival.blob.size == 512 * MIB
    assert max(seen) - seen[0] < ROOM
    await store.close()


async def test_memory_does_not_grow_with_those_who_have_paused(tmp_path: Path) -> None:
    store = BlobStore(LocalDriver(tmp_path / "store"), place="primary", max_bytes=MAX_BYTES)
    senders, sent = 400, 125 * 4096
    paused, go_on = asyncio.Semaphore(0), asyncio.Event()
    before = resident()

    async def pausing() -> AsyncIterator[Buffer]:
        for _ in range(sent // 4096):
            yield bytearray(4096)
            await asyncio.sleep(0)
        paused.release()
        await go_on.wait()
        yield b"end"

    async def upload() -> Blob:
        async with store.receive(pausing()) as arrival:
            return arrival.blob

    uploads = [asyncio.create_task(upload()) for _ in range(senders)]
    for _ in uploads:
        await paused.acquire()
    assert resident() - before < senders * sent / 2
    go_on.set()
    expected = Digest(hashlib.sha256(bytes(sent // 4096 * 4096) + b"end").digest())
    assert {(blob.digest, blob.size) for blob in await asyncio.gather(*uploads)} == {
        (expected, sent // 4096 * 4096 + 3)
    }
    await store.close()


def resident() -> int:
    """Bytes of memory this process holds now."""
    statistics = Path("/proc/self/statm")
    if not statistics.exists():
        pytest.skip("the system does not tell")
    return int(statistics.read_text().split()[1]) * resource.getpagesize()


class Safe:
    """The offsets that were told, in their order."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []

    async def tell(self, mark: Mark) -> None:
        self.marks.append(mark)

    @property
    def offsets(self) -> list[int]:
        return [mark.offset for mark in self.marks]


async def test_an_upload_goes_on_where_it_stopped(store: BlobStore) -> None:
    content = secrets.token_bytes(3 * BLOCK_SIZE + 17)
    handle, safe = await store.begin(), Safe()
    async with store.resume(handle) as unfinished:
        await unfinished.go_on(Mark(), Hashing())
        await unfinished.receive(source(content[:BLOCK_SIZE]), most=len(content), tell=safe.tell)
        await unfinished.receive(source(content[BLOCK_SIZE:-1]), most=len(content), tell=safe.tell)
        carried = unfinished.hashing
    assert safe.offsets == [BLOCK_SIZE, len(content) - 1]
    before = safe.marks[-1]
    for hashing in (carried, None):
        async with store.resume(handle) as unfinished:
            await unfinished.go_on(before, hashing)
            await unfinished.receive(source(content[-1:]), most=1, tell=safe.tell)
            arrival = await unfinished.finish()
            assert arrival.blob == Blob(digest(content), len(content))
    async with store.resume(handle) as unfinished:
        await unfinished.go_on(safe.marks[-1], None)
        arrival = await unfinished.finish(frozenset({"md5"}))
        assert arrival.checksums == (Checksum("md5", hashlib.md5(content).hexdigest()),)
        await arrival.keep()
        await store.forget(handle)
    assert await read(store, arrival.blob.digest, 0, len(content)) == content


async def test_what_came_before_its_sender_left_stays(store: BlobStore) -> None:
    handle, safe = await store.begin(), Safe()
    async with store.resume(handle) as unfinished:
        await unfinished.go_on(Mark(), Hashing())
        with pytest.raises(UploadInterrupted):
            await unfinished.receive(source(b"abc", error=UploadInterrupted()), most=10, tell=safe.tell)
        assert (safe.offsets, unfinished.mark.offset) == ([3], 3)
        await unfinished.receive(source(b"def"), most=10, tell=safe.tell)
        assert (await unfinished.finish()).blob.digest == digest(b"abcdef")
    await store.forget(handle)


async def test_a_wrong_chunk_leaves_nothing(store: BlobStore) -> None:
    handle, safe = await store.begin(), Safe()
    right = Checksum("md5", hashlib.md5(b"right").hexdigest())
    for body, error in [
        (source(b"wrong"), ChunkMismatch),
        (source(b"right", error=UploadInterrupted()), UploadInterrupted),
        (source(b"too long"), UploadTooLarge),
    ]:
        with pytest.raises(error):
            async with store.resume(handle) as unfinished:
                await unfinished.go_on(Mark(), Hashing())
                await unfinished.receive(body, most=5, tell=safe.tell, expect=right)
        assert safe.offsets == []
    async with store.resume(handle) as unfinished:
        await unfinished.go_on(Mark(), Hashing())
        await unfinished.receive(source(b"right"), most=5, tell=safe.tell, expect=right)
        assert (await unfinished.finish()).blob.digest == digest(b"right")
    await store.forget(handle)


async def test_what_is_kept_is_read_again_as_it_is(store: BlobStore, unclosed_place: Place) -> None:
    blob = Blob(digest(SOME), len(SOME))
    await keep(store, SOME)
    before, paces = descriptors(), []

    async def pace(size: int) -> None:
        paces.append(size)

    assert await store.digest(blob, pace) == blob.digest
    assert sum(paces) == blob.size and len(paces) > 1
    with pytest.raises(BlobNotFound):
        await store.digest(Blob(digest(b"never sent"), 10))
    unclosed_place.truncate(key_for(blob.digest), len(SOME) - 1)
    with pytest.raises(BlobCorrupt):
        await store.digest(blob)
    assert descriptors() <= before
