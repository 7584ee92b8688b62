"""Announced uploads: `POST /upload-request`, `PUT` or `POST /uploads/{upload_id}`, `POST /objects/register`."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.schemas import assert_refused
from tests.api.test_forms import TYPE, Part, field, file, form
from tests.api.test_objects import OBJECTS
from tests.api.test_uploads import UNWANTED, in_pieces, repr_digest
from tests.api.traces import blob_file, blob_files, nothing_stored, query, staged_files
from tests.support.deadline import until
from tests.support.raw_http import asked, chunk, connected, request
from tests.support.server import Service

MIB = 1024**2
PUBLIC = "https://drs.example.org"
Json = dict[str, Any]


def sha256(content: bytes) -> Json:
    return {"type": "sha-256", "checksum": hashlib.sha256(content).hexdigest()}


def md5(content: bytes) -> Json:
    return {"type": "md5", "checksum": hashlib.md5(content).hexdigest()}


async def announced(
    client: httpx.AsyncClient, content: bytes, *checksums: Json, size: int | None = None, **more: object
) -> str:
    """The path of a new upload of content."""
    asked_for = {
        "name": "reads.bam",
        "size": len(content) if size is None else size,
        "mime_type": "application/vnd.ga4gh.bam",
        "checksums": list(checksums) or [sha256(content)],
        **more,
    }
    answer = await client.post("/ga4gh/drs/v1/upload-request", json={"requests": [asked_for]})
    assert answer.status_code == 200, answer.text
    [one] = answer.json()["responses"]
    [method] = one["upload_methods"]
    url: str = method["access_url"]["url"]
    assert method["upload_details"]["post_url"] == method["upload_details"]["put_url"] == url
    assert method["upload_details"]["tus_url"] == url.replace("/uploads/", "/tus/")
    return url.removeprefix(PUBLIC)


async def register(client: httpx.AsyncClient, *paths: str) -> httpx.Response:
    candidates = [{"access_methods": [{"type": "https", "access_url": {"url": PUBLIC + path}}]} for path in paths]
    return await client.post(f"{OBJECTS}/register", json={"candidates": candidates})


async def registered(client: httpx.AsyncClient, path: str) -> Json:
    answer = await register(client, path)
    assert answer.status_code == 201, answer.text
    [drs_object] = answer.json()["objects"]
    return dict(drs_object)


async def send(client: httpx.AsyncClient, way: str, path: str, content: bytes) -> httpx.Response:
    if way == "PUT":
        return await client.put(path, content=content)
    return await client.post(path, files={"file": ("any.name", content)})


both_ways = pytest.mark.parametrize("way", ["PUT", "POST"])


@both_ways
async def test_announced_bytes_come_and_become_an_object(
    service: Service, client: httpx.AsyncClient, some_bytes: bytes, way: str
) -> None:
    path = await announced(
        client, some_bytes, sha256(some_bytes), md5(some_bytes), description="aligned", aliases=["NA12878"]
    )
    answer = await send(client, way, path, some_bytes)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    sent = answer.json()
    assert (sent["name"], sent["size"], sent["mime_type"]) == (
        "reads.bam",
        len(some_bytes),
        "application/vnd.ga4gh.bam",
    )
    assert sent["upload_methods"][0]["access_url"]["url"] == PUBLIC + path
    assert blob_file(service.settings, some_bytes).read_bytes() == some_bytes

    made = await registered(client, path)
    assert (made["name"], made["mime_type"], made["description"]) == (
        "reads.bam",
        "application/vnd.ga4gh.bam",
        "aligned",
    )
    assert made["aliases"] == ["NA12878"]
    assert made["checksums"] == [sha256(some_bytes), md5(some_bytes)]
    assert (await client.get(f"/data/{made['id']}")).content == some_bytes


async def test_an_object_is_as_it_was_announced_whatever_its_sender_says_then(client: httpx.AsyncClient) -> None:
    path = await announced(client, b"abc")
    assert (await client.put(path, content=b"abc", headers={"Content-Type": "nonsense"})).status_code == 200
    made = await registered(client, path)
    assert (made["name"], made["mime_type"]) == ("reads.bam", "application/vnd.ga4gh.bam")


@both_ways
async def test_bytes_that_are_not_those_announced_store_nothing_and_may_be_sent_again(
    service: Service, client: httpx.AsyncClient, way: str
) -> None:
    right = b"announced bytes" + secrets.token_bytes(8)
    wrong = bytes(reversed(right))
    for checksum in (sha256(right), md5(right)):
        path = await announced(client, right, checksum)
        async with nothing_stored(service.settings):
            assert_refused(await send(client, way, path, wrong), 400, "checksum_mismatch")
            assert_refused(await send(client, way, path, right[:-1]), 400, "size_mismatch")
            assert_refused(await send(client, way, path, right + b"x"), 400, "size_mismatch")
            assert_refused(await send(client, way, path, b""), 400, "size_mismatch")
            assert_refused(await register(client, path), 400, "candidate_invalid")
        assert (await send(client, way, path, right)).status_code == 200
        await registered(client, path)


async def test_a_wrong_size_is_refused_before_the_bytes_are_read(service: Service, client: httpx.AsyncClient) -> None:
    path = await announced(client, UNWANTED)
    async with nothing_stored(service.settings):
        head = request("PUT", path, f"Content-Length: {len(UNWANTED) + 1}")
        assert_refused(await asked(service, head), 400, "size_mismatch")


async def test_bytes_without_a_length_are_refused_where_they_are_too_many(
    service: Service, client: httpx.AsyncClient
) -> None:
    path = await announced(client, UNWANTED)
    async with nothing_stored(service.settings), connected(service) as connection:
        await connection.send(request("PUT", path, "Transfer-Encoding: chunked") + chunk(UNWANTED) + chunk(b"x"))
        # The body has not ended, and the answer is there.
        assert_refused(await connection.answer(), 400, "size_mismatch")


async def test_a_chunked_body_is_as_good_as_one_with_a_length(client: httpx.AsyncClient, some_bytes: bytes) -> None:
    path = await announced(client, some_bytes)
    assert (await client.put(path, content=in_pieces(some_bytes))).status_code == 200
    made = await registered(client, path)
    assert (await client.get(f"/data/{made['id']}")).content == some_bytes


async def test_a_checksum_that_cannot_be_worked_out_is_taken_for_true(client: httpx.AsyncClient) -> None:
    path = await announced(client, b"abc", {"type": "etag", "checksum": "00000001"})
    assert (await client.put(path, content=b"abc")).status_code == 200
    assert (await registered(client, path))["checksums"] == [sha256(b"abc"), {"type": "etag", "checksum": "00000001"}]


async def test_a_digest_in_a_header_is_verified_too(service: Service, client: httpx.AsyncClient) -> None:
    path = await announced(client, UNWANTED, {"type": "etag", "checksum": "00000001"})
    wrong = {"Repr-Digest": repr_digest(b"other")}
    part = file(UNWANTED, b"a", b"Repr-Digest: " + wrong["Repr-Digest"].encode())
    async with nothing_stored(service.settings):
        assert_refused(await client.put(path, content=UNWANTED, headers=wrong), 400, "digest_mismatch")
        assert_refused(await client.put(path, content=UNWANTED, headers={"Repr-Digest": "="}), 400, "digest_malformed")
        body = form(part)
        head = request("POST", path, TYPE, f"Content-Length: {len(body)}")
        assert_refused(await asked(service, head, body), 400, "digest_mismatch")


@both_ways
async def test_no_bytes_at_all_can_be_announced(client: httpx.AsyncClient, way: str) -> None:
    path = await announced(client, b"")
    assert (await send(client, way, path, b"")).status_code == 200
    made = await registered(client, path)
    assert (made["size"], (await client.get(f"/data/{made['id']}")).content) == (0, b"")


async def test_the_same_bytes_again_change_nothing(service: Service, client: httpx.AsyncClient) -> None:
    content = secrets.token_bytes(1000)
    path = await announced(client, content)
    first = await client.put(path, content=content)
    async with nothing_stored(service.settings):
        answers = await asyncio.gather(*(send(client, way, path, content) for way in ("PUT", "POST", "PUT", "POST")))
        assert [(one.status_code, one.json()) for one in answers] == [(200, first.json())] * 4
    await registered(client, path)


async def test_other_bytes_are_refused_once_some_have_come(service: Service, client: httpx.AsyncClient) -> None:
    come, other = secrets.token_bytes(1000), secrets.token_bytes(1000)
    path = await announced(client, come, {"type": "etag", "checksum": "00000001"})
    assert (await client.put(path, content=come)).status_code == 200
    async with nothing_stored(service.settings):
        for way in ("PUT", "POST"):
            assert_refused(await send(client, way, path, other), 409, "upload_conflict")
    made = await registered(client, path)
    assert (await client.get(f"/data/{made['id']}")).content == come


async def test_of_different_bytes_at_once_one_is_taken_and_the_others_leave_nothing(
    own_service: Service, own_client: httpx.AsyncClient
) -> None:
    for _ in range(5):
        before = blob_files(own_service.settings)
        contents = [secrets.token_bytes(100_000) for _ in range(6)]
        path = await announced(own_client, contents[0], {"type": "etag", "checksum": "00000001"})
        answers = await asyncio.gather(*(own_client.put(path, content=content) for content in contents))
        assert sorted(one.status_code for one in answers) == [200, 409, 409, 409, 409, 409]
        [taken] = [content for content, one in zip(contents, answers, strict=True) if one.status_code == 200]
        assert blob_files(own_service.settings) - before == {blob_file(own_service.settings, taken)}
        made = await registered(own_client, path)
        assert (await own_client.get(f"/data/{made['id']}")).content == taken


async def test_an_upload_that_nobody_announced_is_not_there(service: Service, client: httpx.AsyncClient) -> None:
    odd = ("nothing", "%00", "a%00", "%2e%2e", "%ff", "a%20b", "%E2%98%83", "x" * 129, "x" * 10_000, "'--", "*")
    body = form(file(UNWANTED))
    async with nothing_stored(service.settings):
        for upload_id in odd:
            head = request("PUT", f"/uploads/{upload_id}", f"Content-Length: {len(UNWANTED)}")
            assert_refused(await asked(service, head + UNWANTED), 404, "upload_not_found")
            head = request("POST", f"/uploads/{upload_id}", TYPE, f"Content-Length: {len(body)}")
            assert_refused(await asked(service, head, body), 404, "upload_not_found")
        for upload_id in ("a%2Fb", "a/b"):
            head = request("PUT", f"/uploads/{upload_id}", f"Content-Length: {len(UNWANTED)}")
            assert_refused(await asked(service, head + UNWANTED), 404, "route_not_found")


async def test_an_upload_is_registered_once(service: Service, client: httpx.AsyncClient) -> None:
    path = await announced(client, b"once")
    assert (await client.put(path, content=b"once")).status_code == 200
    assert_refused(await register(client, path, path), 400, "candidate_invalid")
    both = await asyncio.gather(register(client, path), register(client, path))
    assert sorted(one.status_code for one in both) == [201, 400]
    assert_refused(await register(client, path), 400, "candidate_invalid")
    async with nothing_stored(service.settings):
        assert_refused(await client.put(path, content=b"once"), 404, "upload_not_found")


async def test_bytes_that_have_not_come_are_not_registered(client: httpx.AsyncClient) -> None:
    assert_refused(await register(client, await announced(client, b"abc")), 400, "candidate_invalid")
    assert_refused(await register(client, "/uploads/nothing"), 400, "candidate_invalid")


@both_ways
async def test_a_client_that_hangs_up_leaves_nothing_and_may_come_again(
    service: Service, client: httpx.AsyncClient, some_bytes: bytes, way: str
) -> None:
    path = await announced(client, some_bytes)
    body = some_bytes if way == "PUT" else form(file(some_bytes))
    kind = () if way == "PUT" else (TYPE,)
    for leave in ("hang_up", "say_no_more"):
        async with nothing_stored(service.settings), connected(service) as connection:
            await connection.send(request(way, path, f"Content-Length: {len(body)}", *kind) + body[: 2 * MIB])
            await until(lambda: any(one.stat().st_size for one in staged_files(service.settings)))
            getattr(connection, leave)()
            await until(lambda: not staged_files(service.settings))
    assert (await send(client, way, path, some_bytes)).status_code == 200


async def test_a_form_has_one_file_and_may_have_fields(service: Service, client: httpx.AsyncClient) -> None:
    path = await announced(client, UNWANTED)
    whole = form(field(b"1"), file(UNWANTED), field(b"2"))

    async def posted(body: bytes, kind: str = TYPE) -> Any:
        return await asked(service, request("POST", path, kind, f"Content-Length: {len(body)}"), body)

    async with nothing_stored(service.settings):
        for parts in (
            (),
            (field(UNWANTED),),
            (file(UNWANTED), file(b"")),
            (file(UNWANTED), field(b""), file(UNWANTED)),
        ):
            assert_refused(await posted(form(*parts)), 400, "form_invalid")
        assert_refused(await posted(form(file(UNWANTED), Part(b"", (b"X: y",)))), 400, "form_invalid")
        assert_refused(await posted(whole, "Content-Type: application/json"), 400, "form_invalid")
        for length in range(0, len(whole) - 3, 7):
            assert_refused(await posted(whole[:length]), 400, "form_invalid")
    assert (await posted(whole)).status == 200


async def test_an_encoded_body_and_a_part_of_one_are_refused(service: Service, client: httpx.AsyncClient) -> None:
    path = await announced(client, UNWANTED)
    async with nothing_stored(service.settings):
        for way in (client.put, client.post):
            answer = await way(path, content=UNWANTED, headers={"Content-Encoding": "gzip"})
            assert_refused(answer, 415, "encoding_unsupported")
            answer = await way(path, content=UNWANTED, headers={"Content-Range": "bytes 0-0/2"})
            assert_refused(answer, 400, "bad_request")


async def test_an_upload_that_expired_is_not_there(service: Service, client: httpx.AsyncClient) -> None:
    path, come = await announced(client, UNWANTED), await announced(client, b"abc")
    assert (await client.put(come, content=b"abc")).status_code == 200
    await expire(service, path, come)
    async with nothing_stored(service.settings):
        for way in ("PUT", "POST"):
            assert_refused(await send(client, way, path, UNWANTED), 410, "upload_expired")
        assert_refused(await client.put(come, content=b"abc"), 410, "upload_expired")
        assert_refused(await register(client, come), 400, "candidate_invalid")


async def test_an_upload_that_expires_while_its_bytes_come_leaves_none(
    service: Service, client: httpx.AsyncClient
) -> None:
    content = secrets.token_bytes(1000)
    path = await announced(client, content)

    async def slowly() -> AsyncIterator[bytes]:
        yield content[:500]
        await until(lambda: bool(staged_files(service.settings)))
        await expire(service, path)
        yield content[500:]

    async with nothing_stored(service.settings):
        assert_refused(await client.put(path, content=slowly()), 404, "upload_not_found")


async def expire(service: Service, *paths: str) -> None:
    ids = [path.rpartition("/")[2] for path in paths]
    await query(service.settings, "UPDATE uploads SET expires_at = now() WHERE id = ANY($1::text[])", ids)


async def test_only_what_was_announced_comes_whole(client: httpx.AsyncClient) -> None:
    begin = {"Tus-Resumable": "1.0.0"}
    for said in (
        {"Upload-Length": "3"},
        {"Upload-Defer-Length": "1"},
        {"Upload-Length": "3", "Upload-Concat": "partial"},
    ):
        path = httpx.URL((await client.post("/tus", headers=begin | said)).headers["location"]).path
        for way in ("PUT", "POST"):
            answer = await send(client, way, path.replace("/tus/", "/uploads/"), b"abc")
            assert_refused(answer, 409, "upload_conflict")
        assert (await client.head(path, headers=begin)).headers["upload-offset"] == "0"
        assert (await client.delete(path, headers=begin)).status_code == 204
