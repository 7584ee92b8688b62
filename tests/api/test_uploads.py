"""Putting files in: `PUT /upload/{name}`."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest_asyncio

from drs_service.settings import Settings
from tests.api.schemas import DRS_OBJECT, assert_refused, assert_valid
from tests.api.traces import blob_file, blob_files, nothing_stored, rows, staged_files
from tests.support.deadline import until
from tests.support.raw_http import asked, chunk, connected, request
from tests.support.server import Service, running

MIB = 1024**2
LIMIT = 100_000
UNWANTED = b"put in only where it is refused"


@pytest_asyncio.fixture(loop_scope="session")
async def small(settings: Settings) -> AsyncIterator[Service]:
    """A service that takes files of LIMIT bytes at most."""
    async with running(replace(settings, max_upload_bytes=LIMIT)) as service:
        yield service


def repr_digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


async def in_pieces(content: bytes, size: int = 100_003) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_a_file_put_in_comes_out_again(client: httpx.AsyncClient, some_bytes: bytes) -> None:
    answer = await client.put("/upload/sample.bam", content=some_bytes)
    assert answer.status_code == 201
    drs_object = answer.json()
    assert_valid(drs_object, DRS_OBJECT)
    assert drs_object["checksums"] == [{"type": "sha-256", "checksum": hashlib.sha256(some_bytes).hexdigest()}]
    assert (await client.get(f"/data/{drs_object['id']}")).content == some_bytes


async def test_a_chunked_body_is_as_good_as_one_with_a_length(
    service: Service, client: httpx.AsyncClient, some_bytes: bytes
) -> None:
    answer = await client.put("/upload/chunked", content=in_pieces(some_bytes))
    assert answer.request.headers["transfer-encoding"] == "chunked"
    assert (answer.status_code, answer.json()["size"]) == (201, len(some_bytes))
    assert blob_file(service.settings, some_bytes).read_bytes() == some_bytes


async def test_the_location_is_under_the_public_url_whatever_the_host_header(client: httpx.AsyncClient) -> None:
    answer = await client.put("/upload/a.txt", content=b"a", headers={"Host": "localhost:81"})
    drs_object = answer.json()
    assert answer.headers["location"] == f"https://drs.example.org/ga4gh/drs/v1/objects/{drs_object['id']}"
    assert drs_object["self_uri"] == f"drs://drs.example.org/{drs_object['id']}"
    assert "localhost" not in answer.text
    assert (await client.get(httpx.URL(answer.headers["location"]).path)).json() == drs_object


async def test_a_right_digest_is_accepted(client: httpx.AsyncClient, some_bytes: bytes) -> None:
    answer = await client.put("/upload/a", content=some_bytes, headers={"Repr-Digest": repr_digest(some_bytes)})
    assert answer.status_code == 201


async def test_a_wrong_digest_stores_nothing(service: Service, client: httpx.AsyncClient, some_bytes: bytes) -> None:
    async with nothing_stored(service.settings):
        answer = await client.put("/upload/a", content=some_bytes, headers={"Repr-Digest": repr_digest(b"other")})
        assert_refused(answer, 400, "digest_mismatch")


async def test_a_wrong_digest_for_bytes_that_others_have_stored_leaves_those(
    service: Service, client: httpx.AsyncClient, some_bytes: bytes
) -> None:
    drs_object = (await client.put("/upload/a", content=some_bytes)).json()
    async with nothing_stored(service.settings):
        await client.put("/upload/b", content=some_bytes, headers={"Repr-Digest": repr_digest(b"other")})
    assert (await client.get(f"/data/{drs_object['id']}")).content == some_bytes


async def test_a_digest_on_a_second_line_of_the_header_counts(service: Service) -> None:
    lines = ("Repr-Digest: sha-512=:AAAA:", f"Repr-Digest: {repr_digest(b'other')}")
    async with nothing_stored(service.settings):
        answer = await asked(service, request("PUT", "/upload/a", "Content-Length: 1", *lines) + b"a")
        assert_refused(answer, 400, "digest_mismatch")


async def test_a_malformed_digest_stores_nothing(service: Service, client: httpx.AsyncClient) -> None:
    for field in ("sha-256", "sha-256=abc", "sha-256=:AAAA:", "sha-256=:%%%%:", "nonsense,,", "="):
        async with nothing_stored(service.settings):
            answer = await client.put("/upload/a", content=UNWANTED, headers={"Repr-Digest": field})
            assert_refused(answer, 400, "digest_malformed")


async def test_the_content_type_is_kept_as_it_was_written(client: httpx.AsyncClient) -> None:
    kind = 'Text/Plain;charset="x y"; Q=1'
    drs_object = (await client.put("/upload/a.json", content=b"a", headers={"Content-Type": kind})).json()
    assert drs_object["mime_type"] == kind
    assert (await client.get(f"/data/{drs_object['id']}")).headers["content-type"] == kind


async def test_a_content_type_that_is_absent_is_guessed_from_the_name(client: httpx.AsyncClient) -> None:
    for name, kind in {
        "a.json": "application/json",
        "a.BAM": "application/vnd.ga4gh.bam",
        "a": "application/octet-stream",
    }.items():
        assert (await client.put(f"/upload/{name}", content=b"a")).json()["mime_type"] == kind


async def test_what_is_no_media_type_is_refused(service: Service, client: httpx.AsyncClient) -> None:
    async with nothing_stored(service.settings):
        answer = await client.put("/upload/a", content=UNWANTED, headers={"Content-Type": "nonsense"})
        assert_refused(answer, 400, "media_type_invalid")


async def test_a_name_is_published_portable_and_kept_for_the_download(client: httpx.AsyncClient) -> None:
    for path, portable, disposition in (
        ("plain.txt", "plain.txt", 'attachment; filename="plain.txt"'),
        ("%F0%9F%98%80.txt", "_.txt", "attachment; filename=\"_.txt\"; filename*=UTF-8''%F0%9F%98%80.txt"),
        ("a%20b%22c.txt", "a_b_c.txt", "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%20b%22c.txt"),
        ("%C3%84pfel%3F", "Apfel_", "attachment; filename=\"Apfel_\"; filename*=UTF-8''%C3%84pfel%3F"),
        ("100%2541", "100_41", "attachment; filename=\"100_41\"; filename*=UTF-8''100%2541"),
        ("-rf", "_rf", "attachment; filename=\"_rf\"; filename*=UTF-8''-rf"),
        ("x" * 255, "x" * 255, f'attachment; filename="{"x" * 255}"'),
    ):
        drs_object = (await client.put(f"/upload/{path}", content=b"a")).json()
        assert drs_object["name"] == portable
        assert (await client.head(f"/data/{drs_object['id']}")).headers["content-disposition"] == disposition


async def test_a_name_that_no_file_can_have_is_refused(service: Service) -> None:
    directories = (".", "..", "%2E%2E", "a%2Fb", "a/b", "a/", "a//", "a%2F", "/a")
    unprintable = ("%00", "a%0Ab", "a%0D", "a%7F", "a%C2%85")
    not_utf8 = ("%ff", "a%C3", "%ED%A0%80", "%C0%AF")
    too_long = ("x" * 256, "x" * 5000, "%E2%98%83" * 256)
    async with nothing_stored(service.settings):
        for path in (*directories, *unprintable, *not_utf8, *too_long):
            head = request("PUT", f"/upload/{path}", f"Content-Length: {len(UNWANTED)}")
            assert_refused(await asked(service, head + UNWANTED), 400, "name_invalid")


async def test_a_file_without_a_name_is_told_what_the_path_is_for(service: Service, client: httpx.AsyncClient) -> None:
    async with nothing_stored(service.settings):
        answer = await client.put("/upload/", content=UNWANTED)
        assert_refused(answer, 405, "method_not_allowed")
        assert "POST" in answer.headers["allow"]


async def test_the_same_bytes_twice_are_two_objects_and_one_file(
    own_service: Service, own_client: httpx.AsyncClient, some_bytes: bytes
) -> None:
    both = (own_client.put(f"/upload/{name}", content=some_bytes) for name in ("a", "b"))
    first, second = await asyncio.gather(*both)
    assert first.json()["id"] != second.json()["id"]
    assert blob_files(own_service.settings) == {blob_file(own_service.settings, some_bytes)}
    assert await rows(own_service.settings) == {"blobs": 1, "replicas": 1, "objects": 2}
    await until(lambda: not staged_files(own_service.settings))


async def test_an_empty_file_is_a_file(service: Service, client: httpx.AsyncClient) -> None:
    for framing, body in (("Content-Length: 0", b""), ("Transfer-Encoding: chunked", chunk(b""))):
        answer = await asked(service, request("PUT", "/upload/empty", framing) + body)
        assert (answer.status, answer.json()["size"]) == (201, 0)
        assert (await client.get(f"/data/{answer.json()['id']}")).content == b""
    assert blob_file(service.settings, b"").read_bytes() == b""


async def test_a_declared_length_beyond_the_limit_is_refused_before_the_body_is_sent(small: Service) -> None:
    async with nothing_stored(small.settings):
        for expect in ((), ("Expect: 100-continue",)):
            head = request("PUT", "/upload/a", f"Content-Length: {LIMIT + 1}", *expect)
            assert_refused(await asked(small, head), 413, "upload_too_large")


async def test_a_body_that_was_refused_does_not_spoil_the_connection(small: Service) -> None:
    async with connected(small) as connection:
        await connection.send(request("PUT", "/upload/a", f"Content-Length: {LIMIT + 1}"))
        assert (await connection.answer()).status == 413
        await connection.send(b"x" * (LIMIT + 1) + request("GET", "/livez"))
        assert (await connection.answer()).json() == {"status": "alive"}


async def test_an_undeclared_length_is_refused_at_the_limit(small: Service) -> None:
    async with nothing_stored(small.settings), connected(small) as connection:
        await connection.send(request("PUT", "/upload/a", "Transfer-Encoding: chunked"))
        await connection.send(chunk(b"x" * LIMIT) + chunk(b"x"))
        # The body has not ended, and the answer is there.
        assert_refused(await connection.answer(), 413, "upload_too_large")


async def test_the_limit_itself_is_accepted(small: Service) -> None:
    head = request("PUT", "/upload/a", f"Content-Length: {LIMIT}")
    assert (await asked(small, head, b"x" * LIMIT)).status == 201
    head = request("PUT", "/upload/a", "Transfer-Encoding: chunked")
    assert (await asked(small, head, chunk(b"x" * LIMIT), chunk(b""))).status == 201


async def test_a_client_that_expects_100_is_told_to_go_on(service: Service) -> None:
    async with connected(service) as connection:
        await connection.send(request("PUT", "/upload/a", "Content-Length: 5", "Expect: 100-continue"))
        assert (await connection.head()).status == 100
        await connection.send(b"hello")
        assert (await connection.answer()).json()["size"] == 5


async def test_a_client_that_leaves_midway_leaves_nothing_behind(service: Service) -> None:
    body = b"x" * (2 * MIB)
    for framing, sent in (("Content-Length: 9999999", body), ("Transfer-Encoding: chunked", chunk(body))):
        for leave in ("hang_up", "say_no_more"):
            async with nothing_stored(service.settings), connected(service) as connection:
                await connection.send(request("PUT", "/upload/a", framing) + sent)
                await until(lambda: any(path.stat().st_size for path in staged_files(service.settings)))
                getattr(connection, leave)()
                await until(lambda: not staged_files(service.settings))


async def test_a_body_shorter_than_its_length_stores_nothing(service: Service) -> None:
    async with nothing_stored(service.settings), connected(service) as connection:
        await connection.send(request("PUT", "/upload/a", f"Content-Length: {len(UNWANTED) + 1}") + UNWANTED)
        await until(lambda: len(staged_files(service.settings)) > 0)
        connection.say_no_more()
        assert b" 201 " not in await connection.rest()


async def test_a_chunk_that_cannot_be_read_stores_nothing(service: Service) -> None:
    head = request("PUT", "/upload/a", "Transfer-Encoding: chunked")
    async with nothing_stored(service.settings):
        assert_refused(await asked(service, head + chunk(UNWANTED), b"no size\r\n"), 400, "bad_request")


async def test_a_client_that_stalls_is_given_up(settings: Settings) -> None:
    async with (
        running(replace(settings, upload_idle_seconds=1)) as service,
        nothing_stored(settings),
        connected(service) as connection,
    ):
        await connection.send(request("PUT", "/upload/a", "Content-Length: 10") + b"hello")
        answer = await connection.answer()
        assert_refused(answer, 408, "upload_stalled")
        assert answer.headers["connection"] == "close"
        assert await connection.rest() == b""


async def test_an_encoded_body_is_refused(service: Service, client: httpx.AsyncClient) -> None:
    async with nothing_stored(service.settings):
        for coding in ("gzip", "identity, gzip", "br"):
            answer = await client.put("/upload/a", content=UNWANTED, headers={"Content-Encoding": coding})
            assert_refused(answer, 415, "encoding_unsupported")
        head = request("PUT", "/upload/a", "Content-Length: 1", "Content-Encoding: identity", "Content-Encoding: gzip")
        assert_refused(await asked(service, head + b"a"), 415, "encoding_unsupported")


async def test_a_transfer_coding_that_is_not_undone_is_refused(service: Service) -> None:
    head = request("PUT", "/upload/a", "Transfer-Encoding: gzip, chunked")
    async with nothing_stored(service.settings):
        assert_refused(await asked(service, head, chunk(UNWANTED), chunk(b"")), 415, "encoding_unsupported")


async def test_a_part_of_a_file_is_refused(service: Service, client: httpx.AsyncClient) -> None:
    async with nothing_stored(service.settings):
        answer = await client.put("/upload/a", content=UNWANTED, headers={"Content-Range": "bytes 0-0/2"})
        assert_refused(answer, 400, "bad_request")


H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")


async def test_a_client_that_would_rather_speak_http_2_loses_no_bytes(service: Service) -> None:
    framed = {"Content-Length: 5": b"hello", "Transfer-Encoding: chunked": chunk(b"hel") + chunk(b"lo") + chunk(b"")}
    for framing, body in framed.items():
        whole = request("PUT", "/upload/a", framing, *H2C) + body
        end_of_head = len(whole) - len(body)
        for cut in (1, *range(end_of_head - 5, len(whole))):
            assert (await asked(service, whole[:cut], whole[cut:])).json()["size"] == 5, cut
    assert blob_file(service.settings, b"hello").read_bytes() == b"hello"


async def test_requests_for_an_upgrade_can_follow_each_other(service: Service) -> None:
    upload = request("PUT", "/upload/a", "Content-Length: 5", *H2C) + b"hello"
    async with connected(service) as connection:
        await connection.send(upload + request("GET", "/livez", *H2C) + upload + request("GET", "/livez"))
        assert [(await connection.answer()).status for _ in range(4)] == [201, 200, 201, 200]


async def test_many_uploads_at_once_do_not_mix(service: Service, client: httpx.AsyncClient) -> None:
    contents = [f"{n} ".encode() * 50_000 for n in range(30)]
    answers = await asyncio.gather(*(client.put(f"/upload/{n}", content=body) for n, body in enumerate(contents)))
    digests = [answer.json()["checksums"][0]["checksum"] for answer in answers]
    assert digests == [hashlib.sha256(content).hexdigest() for content in contents]
    assert all(blob_file(service.settings, content).read_bytes() == content for content in contents)


async def test_checksums_that_are_wanted_come_with_the_object(client: httpx.AsyncClient, some_bytes: bytes) -> None:
    wanted = {"Want-Repr-Digest": "md5=2, sha-512=1, unixsum=9"}
    made = (await client.put("/upload/a", content=some_bytes, headers=wanted)).json()
    assert [one["type"] for one in made["checksums"]] == ["sha-256", "md5", "sha-512"]
    assert made["checksums"][1]["checksum"] == hashlib.md5(some_bytes).hexdigest()
    answer = await client.put("/upload/a", content=some_bytes, headers={"Want-Repr-Digest": "md5"})
    assert_refused(answer, 400, "digest_malformed")
