"""tus 1.0.0 at `/tus`, as an ordinary client and as a hostile one meets it."""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from email.utils import parsedate_to_datetime

import httpx
import pytest
import pytest_asyncio

from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.test_announced import announced, registered
from tests.api.test_uploads import in_pieces
from tests.api.traces import blob_file, query, staged_files, until_known
from tests.api.writing import got, sha256
from tests.support.deadline import until
from tests.support.raw_http import asked, chunk, connected, request
from tests.support.server import Service, running
from tests.support.tus import CHUNK, PUBLIC, VERSION, Tus, checksum, metadata, patch_head, path_of

MANY = "1" * 20


@pytest_asyncio.fixture(loop_scope="session")
async def tus(service: Service, client: httpx.AsyncClient) -> AsyncIterator[Tus]:
    """A client; what it has begun and not finished it gives up, and then nothing is staged."""
    tus = Tus(client)
    yield tus
    await tus.give_up_all()
    await until(lambda: not staged_files(service.settings))


async def objects_of(service: Service, content: bytes) -> int:
    [row] = await query(service.settings, "SELECT count(*) FROM objects WHERE digest = sha256($1)", content)
    return int(row["count"])


# Core


async def test_bytes_come_by_and_by_and_become_an_object(tus: Tus, some_bytes: bytes) -> None:
    path, half = await tus.begin(len(some_bytes)), len(some_bytes) // 2
    await tus.sent(path, 0, some_bytes[:half])
    answer = await tus.head(path)
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")
    assert answer.headers["upload-offset"] == str(half)
    assert answer.headers["upload-length"] == str(len(some_bytes))
    assert "content-location" not in answer.headers
    last = await tus.sent(path, half, some_bytes[half:])
    assert last.headers["content-location"] == PUBLIC + await tus.object_of(path)
    assert await tus.content_of(path) == some_bytes


async def test_every_answer_says_that_tus_is_spoken(tus: Tus) -> None:
    path = await tus.begin(3)
    answers = [
        await tus.post({"Upload-Length": "a"}),
        await tus.head(path),
        await tus.head("/tus/nothing"),
        await tus.patch(path, 1, b"a"),
        await tus.patch(path, 0, b"a"),
        await tus.delete(path),
        await tus.delete(path),
        await tus.client.put(path, headers=VERSION),
        await tus.client.get("/tus/a/b", headers=VERSION),
        await tus.client.head(path, headers=VERSION | {"Host": "elsewhere.example"}),
        await tus.client.post("/tus", headers=VERSION | {"Origin": "https://elsewhere.example"}),
    ]
    assert [answer.status_code for answer in answers] == [400, 200, 404, 409, 204, 204, 404, 405, 404, 421, 403]
    assert {answer.headers["tus-resumable"] for answer in answers} == {"1.0.0"}
    assert "tus-resumable" not in (await tus.client.get("/tusk", headers=VERSION)).headers
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


async def test_options_say_what_is_spoken(tus: Tus, service: Service) -> None:
    path = await tus.begin(3)
    for where in ("/tus", path, "/tus/nothing"):
        for said in ({}, {"Tus-Resumable": "0.2.2"}):
            answer = await tus.client.options(where, headers=said)
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["tus-version"] == "1.0.0"
            assert answer.headers["tus-max-size"] == str(service.settings.max_upload_bytes)
            assert {"sha1", "md5", "sha256"} <= set(answer.headers["tus-checksum-algorithm"].split(","))
            assert set(answer.headers["tus-extension"].split(",")) == {
                *("creation", "creation-with-upload", "creation-defer-length", "expiration"),
                *("checksum", "termination", "concatenation"),
            }


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.1", "1.0.0, 1.0.0", ""])
async def test_another_version_is_not_spoken(tus: Tus, version: str | None) -> None:
    path = await tus.begin(3)
    headers = {**CHUNK, "Upload-Offset": "0", "Upload-Length": "3"}
    if version is not None:
        headers["Tus-Resumable"] = version
    for method, where in (("POST", "/tus"), ("PATCH", path), ("POST", path), ("HEAD", path), ("DELETE", path)):
        content = b"abc" if method in {"POST", "PATCH"} else None
        override = {"X-HTTP-Method-Override": "DELETE"} if (method, where) == ("POST", path) else {}
        answer = await tus.client.request(method, where, headers={**headers, **override}, content=content)
        assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")
        if method != "HEAD":
            assert_refused(answer, 412, "tus_version_unsupported")
    assert await tus.offset(path) == 0


@pytest.mark.parametrize("offset", ["0", "2", "4", "5", "6", "999999999999999999"])
async def test_an_offset_that_does_not_match_changes_nothing(tus: Tus, offset: str) -> None:
    path = await tus.begin(5)
    await tus.sent(path, 0, b"abc")
    assert_refused(await tus.patch(path, int(offset), b"x"), 409, "offset_mismatch")
    await tus.sent(path, 3, b"de")
    assert await tus.content_of(path) == b"abcde"


@pytest.mark.parametrize("offset", ["", "-1", "+0", "0x0", "0.0", "a", MANY, "1e3", "0, 0"])
async def test_an_offset_that_is_none(tus: Tus, offset: str) -> None:
    path = await tus.begin(5)
    assert_refused(await tus.patch(path, 0, b"x", {"Upload-Offset": offset}), 400, "tus_invalid")
    assert_refused(await tus.client.patch(path, headers={**VERSION, **CHUNK}, content=b"x"), 400, "tus_invalid")
    assert await tus.offset(path) == 0


async def test_more_bytes_than_are_to_come_are_refused(tus: Tus) -> None:
    path = await tus.begin(5)
    assert_refused(await tus.patch(path, 0, b"abcdef"), 413, "upload_too_large")
    assert_refused(await tus.patch(path, 0, in_pieces(b"abcdef", 3)), 413, "upload_too_large")
    offset = await tus.offset(path)
    await tus.sent(path, offset, b"abcde"[offset:])
    assert await tus.content_of(path) == b"abcde"


@pytest.mark.parametrize("length", [["Content-Length: 5"], ["Transfer-Encoding: chunked"]])
async def test_fewer_bytes_than_stated_stay(service: Service, tus: Tus, length: list[str]) -> None:
    path = await tus.begin(5)
    async with connected(service) as connection:
        await connection.send(patch_head(path, 0, *length, "Expect: 100-continue"))
        assert (await connection.head()).status == 100
        await connection.send(b"abc" if "Content-Length: 5" in length else chunk(b"abc"))
        connection.say_no_more()
        await connection.rest()
    assert await tus.offset(path) == 3
    await tus.sent(path, 3, b"de")
    assert await tus.content_of(path) == b"abcde"


async def test_no_bytes_move_nothing(tus: Tus) -> None:
    path = await tus.begin(2)
    await tus.sent(path, 0, b"")
    await tus.sent(path, 0, b"a")
    await tus.sent(path, 1, b"")
    assert "content-location" not in (await tus.head(path)).headers
    await tus.sent(path, 1, b"b")
    assert await tus.content_of(path) == b"ab"


async def test_a_body_of_another_kind_is_refused(tus: Tus) -> None:
    path = await tus.begin(2)
    for headers in (
        {"Content-Type": "application/octet-stream"},
        {"Content-Type": "application/offset+octet-stream2"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ):
        assert_refused(await tus.patch(path, 0, b"ab", headers), 415, "encoding_unsupported")
    assert_refused(await tus.patch(path, 0, b"ab", {"Content-Range": "bytes 0-1/2"}), 400, "bad_request")
    assert await tus.offset(path) == 0
    assert (await tus.patch(path, 0, b"ab", {"Content-Encoding": "identity"})).status_code == 204


async def test_what_is_complete_takes_nothing_more(tus: Tus) -> None:
    path = await tus.begin(2)
    await tus.sent(path, 0, b"ab")
    assert (await tus.sent(path, 2, b"")).headers["content-location"] == PUBLIC + await tus.object_of(path)
    assert_refused(await tus.patch(path, 0, b"ab"), 409, "offset_mismatch")
    assert_refused(await tus.patch(path, 2, b"c"), 413, "upload_too_large")
    assert_refused(await tus.patch(path, 2, in_pieces(b"c", 1)), 413, "upload_too_large")
    assert await tus.content_of(path) == b"ab"


async def test_uploads_that_are_not_there(service: Service, tus: Tus) -> None:
    for name in ("nothing", "a" * 128, "a" * 129, "a" * 5000, "%00", "a%00", "%2F", "%C3%BC", "..%2F..", "a.b", "%FF"):
        for method in ("HEAD", "PATCH", "DELETE"):
            said = [f"{key}: {value}" for key, value in {**VERSION, **CHUNK}.items()]
            head = request(method, f"/tus/{name}", *said, "Upload-Offset: 0", "Content-Length: 0")
            async with connected(service) as connection:
                await connection.send(head)
                assert (await connection.head()).status in {404, 405 if name == "%2F" else 404}, (method, name)
    assert_refused(await tus.patch("/tus/nothing", 0, b"a"), 404, "upload_not_found")
    assert_refused(await tus.patch("/tus/a/b", 0, b"a"), 404, "route_not_found")


async def test_who_can_only_post_says_what_is_meant(tus: Tus) -> None:
    path = await tus.begin(2)
    said = {**VERSION, **CHUNK, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    answer = await tus.client.post(path, headers=said, content=b"a")
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "1")
    answer = await tus.client.post(path, headers={**VERSION, "X-HTTP-Method-Override": "PUT"})
    assert_refused(answer, 400, "tus_invalid")
    assert_refused(await tus.client.post(path, headers=VERSION), 400, "tus_invalid")
    answer = await tus.client.post(path, headers={**VERSION, "X-HTTP-Method-Override": "DELETE"})
    assert answer.status_code == 204
    assert (await tus.head(path)).status_code == 404


# Who sends at the same time


async def test_asking_ends_a_request_that_hangs_and_what_came_stays(
    service: Service, tus: Tus, some_bytes: bytes
) -> None:
    path, half = await tus.begin(len(some_bytes)), len(some_bytes) // 2
    async with connected(service) as hanging:
        await hanging.send(patch_head(path, 0, f"Content-Length: {len(some_bytes)}"))
        await hanging.send(some_bytes[:half])
        await until(lambda: any(file.stat().st_size for file in staged_files(service.settings)))
        async with asyncio.timeout(1):
            offset = await tus.offset(path)
            answer = await hanging.early_answer()
        if answer is not None:
            assert_refused(answer, 423, "upload_busy")
            assert answer.headers["connection"] == "close"
    assert 512 * 1024 <= offset <= half
    await tus.sent(path, offset, some_bytes[offset:])
    assert await tus.content_of(path) == some_bytes


async def test_giving_up_ends_a_request_that_hangs(service: Service, tus: Tus, some_bytes: bytes) -> None:
    path = await tus.begin(len(some_bytes))
    async with connected(service) as hanging:
        await hanging.send(patch_head(path, 0, f"Content-Length: {len(some_bytes)}"))
        await hanging.send(some_bytes[:-1])
        await until(lambda: any(file.stat().st_size for file in staged_files(service.settings)))
        async with asyncio.timeout(1):
            assert (await tus.delete(path)).status_code == 204
            if (answer := await hanging.early_answer()) is not None:
                assert_refused(answer, 423, "upload_busy")
    await until(lambda: not staged_files(service.settings))
    assert (await tus.head(path)).status_code == 404
    assert not blob_file(service.settings, some_bytes).exists()


async def test_many_at_once_make_one_object(service: Service, tus: Tus, some_bytes: bytes) -> None:
    path = await tus.begin(len(some_bytes))

    async def send() -> None:
        """All of it, however often somebody else gets in between."""
        while (offset := await tus.offset(path)) < len(some_bytes):
            end = offset + 700_000
            assert (await tus.patch(path, offset, some_bytes[offset:end])).status_code in {204, 409, 423}

    async with asyncio.timeout(15):
        await asyncio.gather(*(send() for _ in range(4)))
    assert await tus.content_of(path) == some_bytes
    assert await objects_of(service, some_bytes) == 1


async def test_one_of_two_at_the_same_offset_succeeds(service: Service, tus: Tus) -> None:
    for _ in range(8):
        content = secrets.token_bytes(1_000_000)
        path = await tus.begin(len(content))
        answers = await asyncio.gather(*(tus.patch(path, 0, content) for _ in range(2)))
        [_, other] = sorted(answer.status_code for answer in answers)
        assert {answer.status_code for answer in answers} == {204, other} and other in {409, 423}
        assert await tus.content_of(path) == content
        assert await objects_of(service, content) == 1


async def test_whose_bytes_come_is_not_disturbed_by_who_sends_the_same(
    service: Service, tus: Tus, some_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drs_service.usecases.holding.TURN_PATIENCE", 0.2)
    path, half = await tus.begin(len(some_bytes)), len(some_bytes) // 2
    async with connected(service) as first:
        await first.send(patch_head(path, 0, f"Content-Length: {len(some_bytes)}") + some_bytes[:half])
        await until(lambda: any(file.stat().st_size for file in staged_files(service.settings)))
        for offset in (1, len(some_bytes)):
            async with asyncio.timeout(0.2):
                assert_refused(await tus.patch(path, offset, some_bytes[offset:]), 409, "offset_mismatch")
        assert_refused(await tus.patch(path, 0, some_bytes), 423, "upload_busy")
        await first.send(some_bytes[half:])
        assert (await first.answer()).status == 204
    assert await tus.content_of(path) == some_bytes


async def test_whose_bytes_do_not_come_gives_way_to_who_sends_the_same(service: Service, tus: Tus) -> None:
    path = await tus.begin(5)
    async with connected(service) as first:
        await first.send(patch_head(path, 0, "Content-Length: 5", "Expect: 100-continue"))
        assert (await first.head()).status == 100
        await tus.sent(path, 0, b"abcde")
    assert await tus.content_of(path) == b"abcde"


# Creation


async def test_what_is_said_of_an_upload_becomes_its_objects(service: Service, tus: Tus) -> None:
    said = metadata(
        {
            "filename": "Läsungen 1.bam",
            "filetype": "application/vnd.ga4gh.bam",
            "description": "aligned\nand sorted",
            "tag.sample": "NA12878",
            "binary": b"\x00\xff",
        }
    )
    said["Upload-Metadata"] += ", alone"
    path = await tus.begin(3, said)
    assert (await tus.head(path)).headers["upload-metadata"] == said["Upload-Metadata"]
    await tus.sent(path, 0, b"abc")
    assert (await tus.head(path)).headers["upload-metadata"] == said["Upload-Metadata"]
    where = await tus.object_of(path)
    found = await got(tus.client, where.rpartition("/")[2])
    assert found["mime_type"] == "application/vnd.ga4gh.bam"
    assert found["description"] == "aligned\nand sorted"
    assert found["name"].endswith(".bam")
    sql = "SELECT file_name, key, value FROM objects JOIN tags ON object_id = id WHERE id = $1"
    [row] = await query(service.settings, sql, where.rpartition("/")[2])
    assert tuple(row) == ("Läsungen 1.bam", "sample", "NA12878")


@pytest.mark.parametrize(
    "said",
    [
        "filename a",
        "filename YQ",
        "filename Y Q==",
        "filename YQ==,filename YQ==",
        ",filename YQ==,filename",
        "filename YQ==,,é YQ==",
        "filename /w==",
        "filename " + base64.b64encode(b"a\0b").decode(),
        "filename " + base64.b64encode(b"a/../b").decode(),
        "description " + base64.b64encode(b"\0").decode(),
        "tag.a " + base64.b64encode(b"\0").decode(),
        "tag. YQ==",
        "filetype " + base64.b64encode(b"no type\r\n").decode(),
        "sha-256 " + base64.b64encode(b"abc").decode(),
    ],
)
async def test_metadata_that_is_none_is_refused(service: Service, tus: Tus, said: str) -> None:
    before = await query(service.settings, "SELECT id FROM uploads")
    headers = {**VERSION, "Upload-Length": "3", "Upload-Metadata": said}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = await tus.client.post("/tus", headers=pairs)
    if answer.status_code == 201:
        tus.begun.append(path_of(answer))
    assert answer.status_code == 400, answer.text
    assert await query(service.settings, "SELECT id FROM uploads") == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload-Length": "-1"},
        {"Upload-Length": "a"},
        {"Upload-Length": ""},
        {"Upload-Length": MANY},
        {"Upload-Defer-Length": "0"},
        {"Upload-Defer-Length": "true"},
        {"Upload-Length": "1", "Upload-Defer-Length": "1"},
        {"Upload-Concat": "partial"},
        {"Upload-Concat": "other", "Upload-Length": "1"},
        {"Upload-Concat": "final", "Upload-Length": "1"},
        {"Upload-Concat": "final;"},
        {"Upload-Concat": "final;/tus/a", "Upload-Length": "1"},
        {"Upload-Concat": "final;https://elsewhere.example/tus/a"},
        {"Upload-Concat": "final;/tus/../a"},
        {"Upload-Concat": "final;/tus/nothing"},
        {"Upload-Concat": "final;/tus/" + "a" * 200},
    ],
)
async def test_what_does_not_begin_an_upload(service: Service, tus: Tus, headers: dict[str, str]) -> None:
    before = await query(service.settings, "SELECT id FROM uploads")
    answer = await tus.post(headers)
    assert (answer.status_code, answer.headers["tus-resumable"]) == (400, "1.0.0"), answer.text
    assert await query(service.settings, "SELECT id FROM uploads") == before


async def test_what_is_too_large_is_refused_at_once(service: Service, tus: Tus) -> None:
    most = service.settings.max_upload_bytes
    assert_refused(await tus.post({"Upload-Length": str(most + 1)}), 413, "upload_too_large")
    path = await tus.begin(None, {"Upload-Defer-Length": "1"})
    assert_refused(await tus.patch(path, 0, b"a", {"Upload-Length": str(most + 1)}), 413, "upload_too_large")
    head = patch_head(path, 0, f"Content-Length: {most + 1}")
    assert_refused(await asked(service, head), 413, "upload_too_large")
    assert await tus.offset(path) == 0


async def test_nothing_is_an_upload_too(tus: Tus) -> None:
    for headers in ({}, {"Upload-Defer-Length": "1"}):
        path = await tus.begin(None if headers else 0, headers)
        if headers:
            assert (await tus.patch(path, 0, b"", {"Upload-Length": "0"})).status_code == 204
        answer = await tus.head(path)
        assert (answer.headers["upload-offset"], answer.headers["upload-length"]) == ("0", "0")
        assert await tus.content_of(path) == b""


# Creation with upload


async def test_the_first_bytes_come_with_the_creation(tus: Tus, some_bytes: bytes) -> None:
    answer = await tus.post({"Upload-Length": str(len(some_bytes)), **checksum(some_bytes[:1000])}, some_bytes[:1000])
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "1000")
    await tus.sent(path_of(answer), 1000, some_bytes[1000:])
    assert await tus.content_of(path_of(answer)) == some_bytes


async def test_all_bytes_come_with_the_creation(tus: Tus, some_bytes: bytes) -> None:
    for content in (some_bytes, in_pieces(some_bytes, 100_000)):
        answer = await tus.post({"Upload-Length": str(len(some_bytes))}, content)
        assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(some_bytes)))
        assert answer.headers["content-location"] == PUBLIC + await tus.object_of(path_of(answer))
        assert await tus.content_of(path_of(answer)) == some_bytes


@pytest.mark.parametrize(
    ("status", "headers", "content"),
    [
        (413, {"Upload-Length": "2"}, b"abc"),
        (413, {"Upload-Length": "0"}, b"abc"),
        (415, {"Upload-Length": "3", "Content-Type": "text/plain"}, b"abc"),
        (460, {"Upload-Length": "3", **checksum(b"other")}, b"abc"),
        (400, {"Upload-Length": "3", "Upload-Checksum": "sha9 YQ=="}, b"abc"),
        (400, {"Upload-Length": "3", **metadata({"sha-256": "0" * 64})}, b"abc"),
    ],
)
async def test_a_creation_that_is_refused_leaves_nothing(
    service: Service, tus: Tus, status: int, headers: dict[str, str], content: bytes
) -> None:
    before = await query(service.settings, "SELECT id FROM uploads")
    answer = await tus.post(headers, content)
    assert (answer.status_code, "as before" in answer.text) == (status, False)
    assert await query(service.settings, "SELECT id FROM uploads") == before
    assert not staged_files(service.settings)


async def test_a_creation_that_is_cut_off_leaves_nothing(service: Service, some_bytes: bytes) -> None:
    before = await query(service.settings, "SELECT id FROM uploads")
    said = [f"{key}: {value}" for key, value in {**VERSION, **CHUNK, "Upload-Length": str(len(some_bytes))}.items()]
    async with connected(service) as connection:
        await connection.send(request("POST", "/tus", *said, f"Content-Length: {len(some_bytes)}"))
        await connection.send(some_bytes[:-1])
        await until(lambda: bool(staged_files(service.settings)))
        connection.hang_up()
    await until(lambda: not staged_files(service.settings))
    assert await query(service.settings, "SELECT id FROM uploads") == before


# A length that is said later


async def test_a_length_is_said_later_and_once(tus: Tus) -> None:
    path = await tus.begin(None, {"Upload-Defer-Length": "1"})
    await tus.sent(path, 0, b"abc")
    answer = await tus.head(path)
    assert (answer.headers["upload-defer-length"], answer.headers["upload-offset"]) == ("1", "3")
    assert "upload-length" not in answer.headers
    assert_refused(await tus.patch(path, 2, b"d", {"Upload-Length": "5"}), 409, "offset_mismatch")
    assert_refused(await tus.patch(path, 3, b"d", {"Upload-Length": "2"}), 400, "size_mismatch")
    assert_refused(await tus.patch(path, 3, b"def", {"Upload-Length": "5"}), 413, "upload_too_large")
    assert_refused(await tus.patch(path, 3, b"d", {"Upload-Length": "many"}), 400, "tus_invalid")
    assert (await tus.head(path)).headers["upload-defer-length"] == "1"
    assert (await tus.patch(path, 3, b"d", {"Upload-Length": "5"})).status_code == 204
    answer = await tus.head(path)
    assert answer.headers["upload-length"] == "5"
    assert "upload-defer-length" not in answer.headers
    assert_refused(await tus.patch(path, 4, b"e", {"Upload-Length": "6"}), 400, "size_mismatch")
    assert (await tus.patch(path, 4, b"e", {"Upload-Length": "5"})).status_code == 204
    assert await tus.content_of(path) == b"abcde"


# Expiration


async def test_it_is_said_when_an_upload_expires(service: Service, tus: Tus) -> None:
    path = await tus.begin(3)
    begun = await tus.head(path)
    answer = await tus.sent(path, 0, b"a")
    for said in (begun, answer):
        assert said.headers["upload-expires"].endswith(" GMT")
        parsedate_to_datetime(said.headers["upload-expires"])
    await query(service.settings, "UPDATE uploads SET expires_at = now() WHERE id = $1", path.rpartition("/")[2])
    assert (await tus.head(path)).status_code == 410
    assert_refused(await tus.patch(path, 1, b"bc"), 410, "upload_expired")
    expiry = "UPDATE uploads SET expires_at = now() + interval '1 h' WHERE id = $1"
    await query(service.settings, expiry, path.rpartition("/")[2])
    assert await tus.offset(path) == 1


async def test_what_became_an_object_is_not_said_to_be_gone(service: Service, tus: Tus) -> None:
    path = await tus.begin(3)
    await tus.sent(path, 0, b"abc")
    where = await tus.object_of(path)
    await query(service.settings, "UPDATE uploads SET expires_at = now() WHERE id = $1", path.rpartition("/")[2])
    assert (await tus.head(path)).status_code == 404
    assert_refused(await tus.patch(path, 3, b""), 404, "upload_not_found")
    assert (await tus.client.get(where)).status_code == 200


async def test_what_still_comes_does_not_expire(settings: Settings) -> None:
    """A body that has a checksum moves nothing before its end."""
    settings = replace(settings, upload_lifetime_seconds=2)
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        tus, sha1 = Tus(client), checksum(b"abc")["Upload-Checksum"]
        path = await tus.begin(3)
        async with connected(service) as connection:
            await connection.send(patch_head(path, 0, "Content-Length: 3", f"Upload-Checksum: {sha1}") + b"ab")
            born = "SELECT count(*) FROM uploads WHERE created_at + interval '2.1 s' < clock_timestamp()"
            await until_known(lambda: true(settings, born))
            assert (await client.get(path.replace("/tus/", "/uploads/"))).status_code == 200
            await connection.send(b"c")
            assert (await connection.answer()).status == 204
        assert await tus.content_of(path) == b"abc"


async def true(settings: Settings, question: str) -> bool:
    [[answer]] = await query(settings, question)
    return bool(answer)


# Checksum


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha256"])
async def test_a_wrong_checksum_throws_the_chunk_away(tus: Tus, some_bytes: bytes, algorithm: str) -> None:
    path, half = await tus.begin(len(some_bytes)), len(some_bytes) // 2
    await tus.sent(path, 0, some_bytes[:half])
    wrong = checksum(some_bytes, algorithm)
    assert_refused(await tus.patch(path, half, some_bytes[half:], wrong), 460, "chunk_mismatch")
    assert await tus.offset(path) == half
    right = checksum(some_bytes[half:], algorithm)
    assert (await tus.patch(path, half, some_bytes[half:], right)).status_code == 204
    assert await tus.content_of(path) == some_bytes


@pytest.mark.parametrize("said", ["", "sha1", "sha9 YQ==", "sha1 YQ", "sha1 é", "SHA-512 YQ==", "sha1 Y Q=="])
async def test_a_checksum_that_is_none_is_refused(tus: Tus, said: str) -> None:
    path = await tus.begin(3)
    pairs = {**VERSION, **CHUNK, "Upload-Offset": "0", "Upload-Checksum": said}
    headers = [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()]
    answer = await tus.client.patch(path, headers=headers, content=b"abc")
    assert answer.status_code in ({460} if said == "sha1" else {400})
    assert await tus.offset(path) == 0


async def test_a_chunk_with_a_checksum_stays_whole_or_not_at_all(service: Service, tus: Tus) -> None:
    path = await tus.begin(6)
    await tus.sent(path, 0, b"abc")
    sha1 = f"Upload-Checksum: {checksum(b'def')['Upload-Checksum']}"
    async with connected(service) as connection:
        await connection.send(patch_head(path, 3, "Content-Length: 3", "Expect: 100-continue", sha1))
        assert (await connection.head()).status == 100
        await connection.send(b"de")
        connection.hang_up()
    assert await tus.offset(path) == 3
    assert (await tus.patch(path, 3, b"def", checksum(b"def"))).status_code == 204
    assert await tus.content_of(path) == b"abcdef"


# Termination


async def test_an_upload_is_given_up(service: Service, tus: Tus) -> None:
    path = await tus.begin(3)
    await tus.sent(path, 0, b"ab")
    answer = await tus.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert not staged_files(service.settings)
    assert (await tus.head(path)).status_code == 404
    assert_refused(await tus.patch(path, 2, b"c"), 404, "upload_not_found")
    assert_refused(await tus.delete(path), 404, "upload_not_found")


async def test_an_object_stays_when_its_upload_is_given_up(tus: Tus) -> None:
    path = await tus.begin(3)
    await tus.sent(path, 0, b"abc")
    where = await tus.object_of(path)
    assert (await tus.delete(path)).status_code == 204
    assert (await tus.head(path)).status_code == 404
    assert (await tus.client.get(where)).status_code == 200


# Concatenation


async def part(tus: Tus, content: bytes) -> str:
    path = await tus.begin(len(content), {"Upload-Concat": "partial"})
    for start in range(0, len(content), 900_000):
        await tus.sent(path, start, content[start : start + 900_000])
    answer = await tus.head(path)
    assert answer.headers["upload-concat"] == "partial"
    assert "content-location" not in answer.headers
    return path


@pytest.mark.parametrize("base", ["", PUBLIC])
async def test_parts_are_joined(service: Service, tus: Tus, some_bytes: bytes, base: str) -> None:
    third = len(some_bytes) // 3
    pieces = [some_bytes[:third], some_bytes[third : 2 * third], some_bytes[2 * third :], b""]
    parts = await asyncio.gather(*(part(tus, piece) for piece in pieces))
    said = metadata({"filename": "joined.bam", "sha-256": sha256(some_bytes)})
    answer = await tus.join([base + path for path in parts], said)
    assert answer.status_code == 201, answer.text
    path = path_of(answer)
    found = await tus.head(path)
    assert found.headers["upload-length"] == found.headers["upload-offset"] == str(len(some_bytes))
    assert found.headers["upload-concat"] == "final;" + " ".join(base + one for one in parts)
    assert found.headers["upload-metadata"] == said["Upload-Metadata"]
    assert await tus.content_of(path) == some_bytes
    assert [(await tus.head(one)).status_code for one in parts] == [404] * 4
    assert not staged_files(service.settings)
    again = await tus.join([base + path for path in parts], said)
    assert (again.status_code, path_of(again)) == (201, path)
    assert await objects_of(service, some_bytes) == 1
    assert_refused(await tus.patch(path, len(some_bytes), b"x"), 403, "forbidden")


async def test_parts_are_joined_once_however_many_ask(service: Service, tus: Tus, some_bytes: bytes) -> None:
    parts = [await part(tus, some_bytes[:7]), await part(tus, some_bytes[7:])]
    answers = await asyncio.gather(*(tus.join(parts) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [201] * 5, [answer.text for answer in answers]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert await tus.content_of(path_of(answers[0])) == some_bytes
    assert await objects_of(service, some_bytes) == 1


async def test_a_part_may_come_twice(tus: Tus) -> None:
    one, other = await part(tus, b"ab"), await part(tus, b"c")
    answer = await tus.join([one, other, one])
    assert answer.status_code == 201, answer.text
    assert await tus.content_of(path_of(answer)) == b"abcab"


async def test_what_is_no_complete_part_is_not_joined(tus: Tus) -> None:
    whole, unfinished = await part(tus, b"ab"), await tus.begin(2, {"Upload-Concat": "partial"})
    deferred = await tus.begin(None, {"Upload-Concat": "partial", "Upload-Defer-Length": "1"})
    alone = await tus.begin(1)
    for wrong in (unfinished, deferred, alone, "/tus/nothing"):
        assert_refused(await tus.join([whole, wrong]), 400, "parts_invalid")
    assert await tus.offset(whole) == 2
    await tus.sent(unfinished, 0, b"cd")
    answer = await tus.join([whole, unfinished])
    assert await tus.content_of(path_of(answer)) == b"abcd"


async def test_many_parts_are_not_all_told_again(own_client: httpx.AsyncClient) -> None:
    tus = Tus(own_client)
    one = await part(tus, b"x")
    for many in (64, 200):
        path = path_of(await tus.join([PUBLIC + one] * many))
        said = (await tus.head(path)).headers["upload-concat"]
        assert said == ("final;" + " ".join([PUBLIC + one] * many) if many == 64 else "final;")


async def test_parts_that_are_not_what_was_stated_make_nothing(service: Service, tus: Tus) -> None:
    one, content = await part(tus, b"ab"), secrets.token_bytes(5)
    answer = await tus.join([one], metadata({"sha-256": sha256(content)}))
    assert_refused(answer, 400, "checksum_mismatch")
    assert len(staged_files(service.settings)) == 1  # the part's own
    assert path_of(await tus.join([one])) not in {one}


async def test_a_part_is_verified_too(tus: Tus) -> None:
    path = await tus.begin(2, {"Upload-Concat": "partial", **metadata({"sha-256": sha256(b"ab")})})
    assert_refused(await tus.patch(path, 0, b"xy"), 400, "checksum_mismatch")
    assert (await tus.head(path)).status_code == 404


# Digests


async def test_a_digest_that_was_stated_is_verified(service: Service, tus: Tus, some_bytes: bytes) -> None:
    said = metadata({"filename": "a.bam", "sha-256": sha256(some_bytes)})
    path = await tus.begin(len(some_bytes), said)
    wrong = some_bytes[:-1] + bytes([some_bytes[-1] ^ 1])
    assert_refused(await tus.patch(path, 0, wrong), 400, "checksum_mismatch")
    assert not staged_files(service.settings)
    assert not blob_file(service.settings, wrong).exists()
    assert (await tus.head(path)).status_code == 404
    path = await tus.begin(len(some_bytes), said)
    await tus.sent(path, 0, some_bytes)
    assert await tus.content_of(path) == some_bytes


async def test_bytes_that_are_here_need_not_be_sent(service: Service, tus: Tus, some_bytes: bytes) -> None:
    put = await tus.client.put("/upload/a.bam", content=some_bytes)
    said = metadata({"filename": "again.bam", "sha-256": sha256(some_bytes)})
    for size in ({"Upload-Length": str(len(some_bytes))}, {"Upload-Defer-Length": "1"}):
        answer = await tus.post({**size, **said})
        assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(some_bytes)))
        assert answer.headers["content-location"] == PUBLIC + await tus.object_of(path_of(answer))
        assert await tus.content_of(path_of(answer)) == some_bytes
        assert not (await tus.object_of(path_of(answer))).endswith(put.json()["id"])
    before = await query(service.settings, "SELECT id FROM uploads")
    answer = await tus.post({"Upload-Length": "3", **said})
    assert_refused(answer, 400, "size_mismatch")
    assert answer.json()["msg"] == f"The bytes are {len(some_bytes)}, not 3."
    assert await query(service.settings, "SELECT id FROM uploads") == before


async def test_bytes_of_which_the_copy_is_bad_have_to_be_sent(service: Service, tus: Tus, some_bytes: bytes) -> None:
    await tus.client.put("/upload/a.bam", content=some_bytes)
    blob_file(service.settings, some_bytes).unlink()
    bad = "UPDATE replicas SET damaged_at = now(), damage = 'the bytes are missing' WHERE digest = sha256($1)"
    await query(service.settings, bad, some_bytes)
    answer = await tus.client.post(
        "/ga4gh/drs/v1/objects/register",
        json={"candidates": [{"checksums": [{"type": "sha-256", "checksum": sha256(some_bytes)}]}]},
    )
    assert_refused(answer, 400, "candidate_invalid")
    path = await tus.begin(len(some_bytes), metadata({"sha-256": sha256(some_bytes)}))
    assert await tus.offset(path) == 0
    await tus.sent(path, 0, some_bytes)
    assert await tus.content_of(path) == some_bytes


async def test_bytes_of_no_object_have_to_be_sent(service: Service, tus: Tus, some_bytes: bytes) -> None:
    """Knowing a digest opens nothing: the bytes that an announced upload brought are nobody's to read."""
    await tus.client.put(await announced(tus.client, some_bytes), content=some_bytes)
    assert blob_file(service.settings, some_bytes).exists()
    path = await tus.begin(len(some_bytes), metadata({"sha-256": sha256(some_bytes)}))
    answer = await tus.head(path)
    assert (answer.headers["upload-offset"], "content-location" in answer.headers) == ("0", False)
    await tus.sent(path, 0, some_bytes)
    assert await tus.content_of(path) == some_bytes


async def test_a_deleted_object_lends_its_bytes_to_nobody(tus: Tus) -> None:
    content = secrets.token_bytes(100)
    made = (await tus.client.put("/upload/a.bam", content=content)).json()
    deleted = await tus.client.put(f"/ga4gh/drs/v1/objects/{made['id']}/delete", json={})
    assert deleted.status_code == 204, deleted.text
    path = await tus.begin(len(content), metadata({"sha-256": sha256(content)}))
    assert "content-location" not in (await tus.head(path)).headers


# Announced uploads


async def test_an_announced_upload_comes_by_and_by(service: Service, tus: Tus, some_bytes: bytes) -> None:
    plain = await announced(tus.client, some_bytes)
    path, half = plain.replace("/uploads/", "/tus/"), len(some_bytes) // 2
    answer = await tus.head(path)
    assert (answer.headers["upload-offset"], answer.headers["upload-length"]) == ("0", str(len(some_bytes)))
    await tus.sent(path, 0, some_bytes[:half])
    await tus.sent(path, half, some_bytes[half:])
    assert await tus.offset(path) == len(some_bytes)
    assert not staged_files(service.settings)
    drs_object = await registered(tus.client, plain)
    assert (await tus.client.get(f"/data/{drs_object['id']}")).content == some_bytes
    assert (await tus.head(path)).status_code == 404


async def test_an_announced_upload_may_come_half_by_tus_and_whole_at_once(
    service: Service, tus: Tus, some_bytes: bytes
) -> None:
    plain = await announced(tus.client, some_bytes)
    path = plain.replace("/uploads/", "/tus/")
    await tus.sent(path, 0, some_bytes[:-7])
    assert (await tus.client.put(plain, content=some_bytes)).status_code == 200
    assert await tus.offset(path) == len(some_bytes)
    assert not staged_files(service.settings)
    assert_refused(await tus.patch(path, len(some_bytes) - 7, some_bytes[-7:]), 409, "offset_mismatch")
    assert (await registered(tus.client, plain))["size"] == len(some_bytes)


async def test_an_announced_upload_is_held_to_what_was_announced(service: Service, tus: Tus, some_bytes: bytes) -> None:
    path = (await announced(tus.client, some_bytes)).replace("/uploads/", "/tus/")
    await tus.sent(path, 0, some_bytes[:-1])
    assert_refused(await tus.patch(path, len(some_bytes) - 1, b"ab"), 413, "upload_too_large")
    wrong = bytes([some_bytes[-1] ^ 1])
    assert_refused(await tus.patch(path, len(some_bytes) - 1, wrong), 400, "checksum_mismatch")
    assert not staged_files(service.settings)


async def test_an_announced_upload_whose_bytes_came_is_given_up(tus: Tus, some_bytes: bytes) -> None:
    plain = await announced(tus.client, some_bytes)
    assert (await tus.client.put(plain, content=some_bytes)).status_code == 200
    assert (await tus.delete(plain.replace("/uploads/", "/tus/"))).status_code == 204
    assert (await tus.client.put(plain, content=some_bytes)).status_code == 404


async def test_who_wants_checksums_gets_them_with_the_object(tus: Tus, some_bytes: bytes) -> None:
    path = await tus.begin(len(some_bytes), metadata({"checksums": "md5, CRC32C"}))
    await tus.sent(path, 0, some_bytes[:1_000_000])
    await tus.sent(path, 1_000_000, some_bytes[1_000_000:])
    said = (await tus.client.get(await tus.object_of(path))).json()["checksums"]
    found = {one["type"]: one["checksum"] for one in said}
    assert found.keys() == {"sha-256", "md5", "crc32c"}
    assert found["md5"] == hashlib.md5(some_bytes).hexdigest()


async def test_checksums_that_nobody_can_work_out_are_refused(tus: Tus) -> None:
    for wanted in ("md4", "md5,tiger", "x" * 200):
        answer = await tus.post({"Upload-Length": "1", **metadata({"checksums": wanted})})
        assert_refused(answer, 400, "checksum_invalid")


async def test_a_space_is_asked_for_by_its_name(tus: Tus) -> None:
    await tus.begin(1, metadata({"space": "default"}))
    for space in ("other", "x" * 300):
        assert_refused(await tus.post({"Upload-Length": "1", **metadata({"space": space})}), 403, "forbidden")
