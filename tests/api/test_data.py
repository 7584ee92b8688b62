"""Bytes going out: `/data/{object_id}`, held against RFC 9110."""

import asyncio
import base64
import email
import email.policy
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from drs_service.domain.ranges import MAX_RANGES
from tests.api.schemas import assert_refused
from tests.api.test_objects import put
from tests.api.traces import blob_file, open_descriptors, query, until_known
from tests.support.deadline import until
from tests.support.raw_http import asked, connected, request
from tests.support.server import Service

MIB = 1024**2
CONTENT = secrets.token_bytes(MIB + 7)  # more than one read
SIZE = len(CONTENT)
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@dataclass(frozen=True, slots=True)
class Data:
    """CONTENT, as an object of the service."""

    client: httpx.AsyncClient
    path: str

    async def get(self, **headers: str) -> httpx.Response:
        """A GET with these headers: if_range is If-Range."""
        return await self.client.get(
            self.path, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    async def head(self, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.client.head(self.path, headers=named)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def data(client: httpx.AsyncClient) -> Data:
    return Data(client, f"/data/{await put(client, CONTENT, 'Ünsafe.html')}")


def assert_whole(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert "content-range" not in answer.headers


def assert_partial(answer: httpx.Response, start: int, end: int) -> None:
    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["content-type"] == "text/html"


def assert_unsatisfiable(answer: httpx.Response, size: int = SIZE) -> None:
    assert_refused(answer, 416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{size}"


def parts(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """The Content-Range and the bytes of every part of a multipart/byteranges, as Python's own parser reads them."""
    assert answer.status_code == 206
    assert "content-range" not in answer.headers
    assert answer.headers["content-length"] == str(len(answer.content))
    head = f"content-type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    assert isinstance(message, EmailMessage)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    found = []
    for part in message.iter_parts():
        assert part.get_content_type() == "text/html"
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((str(part["content-range"]), content))
    return found


async def test_the_whole_comes_with_all_that_is_known_of_it(data: Data) -> None:
    answer = await data.get()
    assert_whole(answer)
    headers = {name: text for name, text in answer.headers.items() if name != "date"}
    assert headers == {
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=86400, immutable",
        "content-disposition": "attachment; filename=\"Unsafe.html\"; filename*=UTF-8''%C3%9Cnsafe.html",
        "content-length": str(SIZE),
        "content-security-policy": "default-src 'none'; sandbox",
        "content-type": "text/html",
        "etag": ETAG,
        "repr-digest": f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()}:",
        "x-content-type-options": "nosniff",
    }


async def test_head_says_the_same_and_sends_nothing(service: Service, data: Data) -> None:
    whole, head = await data.get(), await data.head()
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}
    async with connected(service) as connection:
        await connection.send(request("HEAD", data.path) + request("GET", "/livez"))
        assert (await connection.head()).headers["content-length"] == str(SIZE)
        assert (await connection.answer()).json() == {"status": "alive"}


async def test_head_has_no_ranges(data: Data) -> None:
    answer = await data.head(range="bytes=0-1")
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(SIZE))


async def test_one_range(data: Data) -> None:
    for text, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=600000-", 600_000, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        (f"bytes=-{SIZE + 10}", 0, SIZE),
        (f"bytes=10-{SIZE + 10}", 10, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        (f"bytes=0-{'9' * 5000}", 0, SIZE),
        ("BYTES=1-1", 1, 2),
        ("bytes= 1-1 , ,", 1, 2),
        (f"bytes=1-1,{SIZE}-", 1, 2),
    ):
        assert_partial(await data.get(range=text), start, end)


async def test_several_ranges_come_as_parts_in_the_order_asked_for(data: Data) -> None:
    answer = await data.get(range="bytes=900000-900009, 0-4, -3")
    assert parts(answer) == [
        (f"bytes 900000-900009/{SIZE}", CONTENT[900_000:900_010]),
        (f"bytes 0-4/{SIZE}", CONTENT[:5]),
        (f"bytes {SIZE - 3}-{SIZE - 1}/{SIZE}", CONTENT[-3:]),
    ]
    assert answer.headers["etag"] == ETAG
    large = await data.get(range=f"bytes=0-599999,700000-{SIZE}")
    assert [content for _, content in parts(large)] == [CONTENT[:600_000], CONTENT[700_000:]]


async def test_ranges_that_overlap_are_sent_once(data: Data) -> None:
    assert_partial(await data.get(range="bytes=5-9,0-6"), 0, 10)
    assert_partial(await data.get(range="bytes=0-,0-,0-"), 0, SIZE)
    several = parts(await data.get(range="bytes=5000-5009,0-9,5-14"))
    assert [content for _, content in several] == [CONTENT[:15], CONTENT[5000:5010]]


async def test_a_range_header_that_means_nothing_is_ignored(data: Data) -> None:
    for text in (
        "bytes=5-2",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1,x",
        "bytes 0-1",
        "lines=0-1",
        "",
        "=",
        "0-1",
    ):
        assert_whole(await data.get(range=text))


async def test_a_range_outside_of_the_bytes_is_refused_with_their_size(data: Data) -> None:
    for text in ("bytes=-0", f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE},-0", f"bytes={'9' * 5000}-"):
        assert_unsatisfiable(await data.get(range=text))


async def test_too_many_ranges_are_refused(data: Data) -> None:
    apart = [f"{n * 1000}-{n * 1000}" for n in range(1000)]
    assert_unsatisfiable(await data.get(range=f"bytes={','.join(apart)}"))
    assert len(parts(await data.get(range=f"bytes={','.join(apart[:MAX_RANGES])}"))) == MAX_RANGES
    assert_unsatisfiable(await data.get(range="bytes=0-" + ",0-" * MAX_RANGES))


async def test_if_range_decides_whether_the_range_counts(data: Data) -> None:
    assert_partial(await data.get(range="bytes=0-4", if_range=ETAG), 0, 5)
    # A weak tag never matches here, and a date is of no use: nothing says when the bytes were last modified.
    for other in ('"other"', f"W/{ETAG}", "Sat, 21 Nov 2026 00:00:00 GMT", "nonsense", "*"):
        assert_whole(await data.get(range="bytes=0-4", if_range=other))
        assert_whole(await data.get(range=f"bytes={SIZE}-", if_range=other))


async def test_what_the_client_has_is_not_sent_again(data: Data) -> None:
    for known in (ETAG, f"W/{ETAG}", f'"other", {ETAG}', "*"):
        for answer in (await data.get(if_none_match=known, range="bytes=0-4"), await data.head(if_none_match=known)):
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == ETAG
            assert answer.headers["cache-control"] == "private, max-age=86400, immutable"
            of_content = ("content-type", "content-length", "content-range", "content-disposition", "repr-digest")
            assert not [name for name in of_content if name in answer.headers]
    assert_whole(await data.get(if_none_match='"other"'))
    assert_partial(await data.get(if_none_match='"other"', range="bytes=0-4"), 0, 5)


async def test_a_304_does_not_spoil_the_connection(service: Service, data: Data) -> None:
    async with connected(service) as connection:
        await connection.send(request("GET", data.path, f"If-None-Match: {ETAG}") * 2 + request("GET", "/livez"))
        assert [(await connection.head()).status for _ in range(2)] == [304, 304]
        assert (await connection.answer()).json() == {"status": "alive"}


async def test_what_is_not_what_the_client_means_is_not_sent(data: Data) -> None:
    for known in (ETAG, f'"other", {ETAG}', "*"):
        assert_whole(await data.get(if_match=known))
    for other in ('"other"', f"W/{ETAG}", "nonsense"):
        assert_refused(await data.get(if_match=other, if_none_match=ETAG), 412, "precondition_failed")
        assert (await data.head(if_match=other)).status_code == 412


async def test_conditions_on_several_lines_are_one_list(service: Service, data: Data) -> None:
    lines = ('If-None-Match: "other"', f"If-None-Match: {ETAG}")
    async with connected(service) as connection:
        await connection.send(request("GET", data.path, *lines))
        assert (await connection.head()).status == 304
    answer = await asked(service, request("GET", data.path, 'If-Match: "other"', f"If-Match: {ETAG}"))
    assert (answer.status, answer.body) == (200, CONTENT)


async def test_nothing_is_a_range_of_no_bytes(client: httpx.AsyncClient) -> None:
    path = f"/data/{await put(client, b'')}"
    answer = await client.get(path)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    for text in ("bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"):
        assert_unsatisfiable(await client.get(path, headers={"Range": text}), size=0)
    head = await client.head(path)
    assert (head.status_code, head.headers["content-length"]) == (200, "0")


@hypothesis_settings(max_examples=40, deadline=None)
@given(specs=st.lists(st.tuples(st.integers(0, SIZE + 50), st.integers(0, 2000)), min_size=1, max_size=8))
async def test_whatever_ranges_are_asked_for_their_bytes_come_back(data: Data, specs: list[tuple[int, int]]) -> None:
    answer = await data.get(range="bytes=" + ",".join(f"{start}-{start + more}" for start, more in specs))
    wanted = {start for start, _ in specs if start < SIZE}
    if not wanted:
        assert_unsatisfiable(answer)
        return
    whole = answer.headers.get("content-range")
    received = [(whole, answer.content)] if whole else parts(answer)
    spans = []
    for said, content in received:
        start, end = map(int, said.removeprefix("bytes ").partition("/")[0].split("-"))
        assert content == CONTENT[start : end + 1]
        spans.append((start, end))
    assert all(any(first <= start <= last for first, last in spans) for start in wanted)
    assert all(one[1] < other[0] for one, other in pairwise(sorted(spans)))


@pytest.fixture
def large() -> bytes:
    """More than the buffers between a server and its client hold."""
    return secrets.token_bytes(24 * MIB)


@pytest_asyncio.fixture(loop_scope="session")
async def stored(client: httpx.AsyncClient, large: bytes) -> AsyncIterator[str]:
    yield f"/data/{await put(client, large)}"


@pytest.mark.parametrize("wanted", ["bytes=0-", "bytes=0-9,-10"])
async def test_bytes_that_end_early_never_look_whole(
    service: Service, client: httpx.AsyncClient, large: bytes, stored: str, wanted: str
) -> None:
    blob = cut_in_half(service, large)
    within = await client.get(stored, headers={"Range": "bytes=0-9"})
    assert (within.status_code, within.content) == (206, large[:10])
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        await client.get(stored, headers={"Range": wanted})
    # By then it is known, and nothing of it is given to anybody.
    await until_known(lambda: is_corrupt(client, stored))
    await until(lambda: open_descriptors(blob) == 0)


@pytest.mark.parametrize("beyond", ["bytes=-5", "bytes={half}-"])
async def test_bytes_that_are_not_there_any_more_are_an_error(
    service: Service, client: httpx.AsyncClient, large: bytes, stored: str, beyond: str
) -> None:
    cut_in_half(service, large)
    wanted = {"Range": beyond.format(half=len(large) // 2)}
    assert_refused(await client.get(stored, headers=wanted), 502, "blob_corrupt")
    await until_known(lambda: is_corrupt(client, stored))


def cut_in_half(service: Service, content: bytes) -> Path:
    blob = blob_file(service.settings, content)
    blob.chmod(0o600)
    os.truncate(blob, len(content) // 2)
    return blob


async def is_corrupt(client: httpx.AsyncClient, path: str) -> bool:
    return (await client.get(path, headers={"Range": "bytes=0-9"})).status_code == 502


async def test_bytes_that_are_gone_are_an_error_and_not_a_beginning(
    service: Service, client: httpx.AsyncClient
) -> None:
    content = secrets.token_bytes(100)
    path = f"/data/{await put(client, content)}"
    blob_file(service.settings, content).unlink()
    for headers in ({}, {"Range": "bytes=0-4"}, {"Range": "bytes=0-4,90-"}):
        assert_refused(await client.get(path, headers=headers), 502, "blob_corrupt")
    # Who puts the bytes in again heals the object.
    await put(client, content)
    assert (await client.get(path)).content == content


async def test_a_client_that_leaves_midway_does_not_keep_the_service_reading(
    service: Service, client: httpx.AsyncClient
) -> None:
    # A hole of 1 TiB: to read it to its end takes longer than the test has.
    content = secrets.token_bytes(100)
    path = f"/data/{await put(client, content)}"
    blob = blob_file(service.settings, content)
    blob.chmod(0o600)
    with blob.open("r+b") as opened:
        opened.truncate(1024**4)
    resize = "UPDATE objects SET size = $1 WHERE digest = $2"
    await query(service.settings, resize, 1024**4, hashlib.sha256(content).digest())

    for headers in ((), ("Range: bytes=0-9,1000-",)):
        async with connected(service) as connection:
            await connection.send(request("GET", path, *headers))
            await connection.read(MIB)
            assert open_descriptors(blob) == 1
            connection.hang_up()
            await until(lambda: open_descriptors(blob) == 0)


async def test_a_client_that_does_not_read_is_not_read_for(service: Service, large: bytes, stored: str) -> None:
    async with connected(service) as connection:
        await connection.send(request("GET", stored))
        await connection.read(MIB)
        # The service answers others meanwhile, and goes on where it was.
        assert (await asked(service, request("GET", "/livez"))).status == 200
        assert open_descriptors(blob_file(service.settings, large)) == 1
        assert await connection.read(len(large) - 2 * MIB)


async def test_deleting_the_file_does_not_disturb_a_download_under_way(
    service: Service, client: httpx.AsyncClient, large: bytes, stored: str
) -> None:
    digest = hashlib.sha256()
    async with client.stream("GET", stored) as answer:
        pieces = answer.aiter_bytes()
        digest.update(await anext(pieces))
        blob_file(service.settings, large).unlink()
        async for piece in pieces:
            digest.update(piece)
    assert digest.digest() == hashlib.sha256(large).digest()


async def test_many_downloads_at_once_do_not_mix(client: httpx.AsyncClient) -> None:
    contents = [secrets.token_bytes(200_000) for _ in range(20)]
    paths = [f"/data/{await put(client, content)}" for content in contents]
    answers = await asyncio.gather(*(client.get(path) for path in paths))
    assert [answer.content for answer in answers] == contents
