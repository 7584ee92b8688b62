"""`/tus` in the words of draft-ietf-httpbis-resumable-upload: begun, gone on with, asked, given up, refused."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from drs_service.blobs.driver import BlobDriver, Waiting
from drs_service.blobs.local import LocalDriver
from drs_service.domain.structured_fields import dictionary
from drs_service.errors import StorageUnavailable
from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.test_announced import announced, registered
from tests.api.test_uploads import in_pieces, repr_digest
from tests.api.traces import staged_files, until_known
from tests.support.faults import Wrapper
from tests.support.raw_http import chunk, connected, request
from tests.support.server import Service, running, storing_in

PUBLIC = "https://drs.example.org"
SPOKEN = {"Upload-Draft-Interop-Version": "8"}
CHUNK = "application/partial-upload"
PROBLEM = "https://iana.org/assignments/http-problem-types#"
NAMED = {"Content-Type": "text/plain", "Content-Disposition": "inline; filename=\"a.txt\"; filename*=UTF-8''%c3%a4.txt"}


async def begun(client: httpx.AsyncClient, content: bytes = b"", **more: str) -> str:
    """The path of a new upload that content is the beginning of."""
    said = {**NAMED, "Upload-Complete": "?0", **{name.replace("_", "-"): value for name, value in more.items()}}
    answer = await client.post("/tus", content=content, headers=said)
    assert (answer.status_code, answer.content, answer.headers["upload-complete"]) == (201, b"", "?0")
    assert answer.headers["upload-offset"] == str(len(content))
    assert_limits(answer)
    return answer.headers["location"].removeprefix(PUBLIC)


async def gone_on(
    client: httpx.AsyncClient,
    path: str,
    content: bytes | AsyncIterator[bytes],
    offset: object,
    complete: str,
    **more: str,
) -> httpx.Response:
    said = {"Content-Type": CHUNK, "Upload-Offset": str(offset), "Upload-Complete": complete}
    return await client.patch(
        path, content=content, headers=said | {name.replace("_", "-"): value for name, value in more.items()}
    )


def assert_limits(answer: httpx.Response) -> None:
    limits = dictionary(answer.headers["upload-limit"])
    assert limits is not None and limits.keys() == {"max-size", "max-age"}
    assert limits["max-size"] == str(64 * 1024**2)
    assert 86_000 < int(limits["max-age"] or "") <= 86_400


def assert_problem(answer: httpx.Response, status: int, code: str, problem: str) -> None:
    """An error of ours that is a problem of the draft too."""
    said = answer.json()
    assert said.pop("title") and said.pop("msg")
    assert said == said | {"status": status, "status_code": status, "code": code, "type": PROBLEM + problem}
    assert (answer.status_code, answer.headers["upload-complete"]) == (status, "?0")


async def made(client: httpx.AsyncClient, answer: httpx.Response, content: bytes) -> dict[str, Any]:
    """The object that an answer says was made of content."""
    assert (answer.status_code, answer.headers["upload-complete"]) == (200, "?1")
    drs_object: dict[str, Any] = answer.json()
    assert answer.headers["content-location"] == f"{PUBLIC}/ga4gh/drs/v1/objects/{drs_object['id']}"
    assert drs_object == (await client.get(f"/ga4gh/drs/v1/objects/{drs_object['id']}")).json()
    assert drs_object["checksums"][0]["checksum"] == hashlib.sha256(content).hexdigest()
    assert (await client.get(f"/data/{drs_object['id']}")).content == content
    return drs_object


async def test_an_upload_comes_by_and_by(client: httpx.AsyncClient, some_bytes: bytes) -> None:
    middle, end = 1_000_001, len(some_bytes)
    path = await begun(client, some_bytes[:17], Repr_Digest=repr_digest(some_bytes))
    answer = await gone_on(client, path, some_bytes[17:middle], 17, "?0")
    assert (answer.status_code, answer.headers["upload-complete"]) == (204, "?0")
    asked = await client.head(path, headers=SPOKEN)
    assert (asked.status_code, asked.headers["upload-complete"]) == (204, "?0")
    assert asked.headers["upload-offset"] == str(middle)
    assert asked.headers["cache-control"] == "no-store"
    assert "upload-length" not in asked.headers and "tus-resumable" not in asked.headers
    assert_limits(asked)
    drs_object = await made(client, await gone_on(client, path, some_bytes[middle:], middle, "?1"), some_bytes)
    assert (drs_object["mime_type"], drs_object["size"]) == ("text/plain", end)
    data = await client.head(f"/data/{drs_object['id']}")
    assert "filename*=UTF-8''%C3%A4.txt" in data.headers["content-disposition"]
    asked = await client.head(path, headers=SPOKEN)
    assert (asked.headers["upload-complete"], asked.headers["upload-length"]) == ("?1", str(end))


async def test_an_upload_may_come_at_once(client: httpx.AsyncClient, some_bytes: bytes) -> None:
    answer = await client.post("/tus", content=some_bytes, headers={**NAMED, "Upload-Complete": "?1"})
    await made(client, answer, some_bytes)
    assert answer.headers["location"].startswith(f"{PUBLIC}/tus/")
    nothing = await client.post("/tus", headers={"Upload-Complete": "?1;parameters=mean-nothing"})
    assert (await made(client, nothing, b""))["name"] == "upload"


async def test_it_is_complete_when_that_is_said(client: httpx.AsyncClient) -> None:
    """ "The offset could match the length, but the upload can still be incomplete." """
    path = await begun(client, b"hello", Upload_Length="5")
    asked = await client.head(path, headers=SPOKEN)
    assert (asked.headers["upload-complete"], asked.headers["upload-length"]) == ("?0", "5")
    await made(client, await gone_on(client, path, b"", 5, "?1"), b"hello")
    empty = await begun(client, Upload_Length="0")
    await made(client, await gone_on(client, empty, b"", 0, "?1"), b"")


async def test_an_answer_that_was_lost_is_given_again(client: httpx.AsyncClient) -> None:
    path = await begun(client, b"again")
    first = await made(client, await gone_on(client, path, b" and again", 5, "?1"), b"again and again")
    assert await made(client, await gone_on(client, path, b"", 15, "?1"), b"again and again") == first
    for more in (b"!", in_pieces(b"!")):
        assert_problem(await gone_on(client, path, more, 15, "?1"), 409, "upload_done", "completed-upload")


async def test_what_is_here_already_need_not_come(client: httpx.AsyncClient) -> None:
    content = b"known to whoever asks"
    await made(client, await client.post("/tus", content=content, headers={"Upload-Complete": "?1"}), content)
    answer = await client.post("/tus", headers={"Upload-Complete": "?0", "Repr-Digest": repr_digest(content)})
    await made(client, answer, content)


async def test_who_wants_checksums_gets_them_with_the_object(client: httpx.AsyncClient) -> None:
    wanted = {"Upload-Complete": "?1", "Want-Repr-Digest": "md5=5, sha-512=1, unknown=9, crc32c=0"}
    said = (await client.post("/tus", content=b"some", headers=wanted)).json()["checksums"]
    found = {one["type"]: one["checksum"] for one in said}
    assert found.keys() == {"sha-256", "md5", "sha-512"}
    assert found["md5"] == hashlib.md5(b"some").hexdigest()


async def test_an_offset_that_is_not_the_uploads_is_a_conflict(client: httpx.AsyncClient) -> None:
    path = await begun(client, b"hello")
    answer = await gone_on(client, path, b"world", 6, "?1")
    assert_problem(answer, 409, "offset_mismatch", "mismatching-upload-offset")
    assert answer.headers["upload-offset"] == "5"
    assert (answer.json()["expected-offset"], answer.json()["provided-offset"]) == (5, 6)
    await made(client, await gone_on(client, path, b" world", 5, "?1"), b"hello world")
    assert (await gone_on(client, path, b" world", 5, "?1")).headers["upload-offset"] == "11"


@pytest.mark.parametrize("length", ["4", "6", "0"])
async def test_lengths_that_differ_are_refused(client: httpx.AsyncClient, length: str) -> None:
    said = {"Upload-Complete": "?1", "Upload-Length": length}
    inconsistent = [await client.post("/tus", content=b"hello", headers=said)]
    path = await begun(client, b"h", Upload_Length="5")
    inconsistent.append(await gone_on(client, path, b"e", 1, "?0", Upload_Length=length))
    inconsistent.append(await gone_on(client, path, b"ell", 1, "?1"))
    inconsistent.append(await gone_on(client, path, b"", 1, "?1"))
    for answer in inconsistent:
        assert_problem(answer, 400, "size_mismatch", "inconsistent-upload-length")
    await made(client, await gone_on(client, path, b"ello", 1, "?1"), b"hello")


async def test_a_body_that_ends_early_completes_nothing(service: Service, client: httpx.AsyncClient) -> None:
    path = await begun(client, Upload_Length="5")
    head = request(
        "PATCH",
        path,
        *(f"Content-Type: {CHUNK}", "Upload-Offset: 0", "Upload-Complete: ?1", "Transfer-Encoding: chunked"),
    )
    async with connected(service) as connection:
        await connection.send(head + chunk(b"hel") + chunk(b""))
        assert (await connection.answer()).status == 400  # it was all of the body, but not of the upload
    async with connected(service) as connection:
        await connection.send(head.replace(b"Offset: 0", b"Offset: 3") + chunk(b"l"))
        # Whoever comes back ends the request that hangs, and goes on behind what has come of it.
        await until_known(lambda: come_to(client, path, 4))
    await made(client, await gone_on(client, path, b"o", 4, "?1"), b"hello")


async def come_to(client: httpx.AsyncClient, path: str, offset: int) -> bool:
    return (await client.head(path, headers=SPOKEN)).headers["upload-offset"] == str(offset)


async def test_past_its_length_an_upload_is_invalid(client: httpx.AsyncClient) -> None:
    for body in (b"too many", in_pieces(b"too many")):
        path = await begun(client, Upload_Length="5")
        answer = await gone_on(client, path, body, 0, "?0")
        assert_refused(answer, 413, "upload_too_large")
        assert_limits(answer)
        assert_refused(await gone_on(client, path, b"right", 0, "?1"), 404, "upload_not_found")
    answer = await client.post("/tus", headers={"Upload-Complete": "?0", "Upload-Length": str(64 * 1024**2 + 1)})
    assert_refused(answer, 413, "upload_too_large")
    assert_limits(answer)


async def test_the_whole_is_held_to_its_digest(client: httpx.AsyncClient) -> None:
    path = await begun(client, b"hello", Repr_Digest=repr_digest(b"hello moon"))
    answer = await gone_on(client, path, b" earth", 5, "?1")
    assert_refused(answer, 400, "checksum_mismatch")
    assert answer.headers["upload-complete"] == "?1"  # going on would not help
    assert (await client.head(path, headers=SPOKEN)).status_code == 404


async def test_a_piece_is_held_to_its_digest(client: httpx.AsyncClient) -> None:
    path = await begun(client, b"hello", Content_Digest=repr_digest(b"hello"))
    answer = await gone_on(client, path, b" earth", 5, "?1", Content_Digest=repr_digest(b" world"))
    assert_refused(answer, 460, "chunk_mismatch")
    assert answer.headers["upload-complete"] == "?0"
    assert await come_to(client, path, 5)
    answer = await gone_on(client, path, b" world", 5, "?1", Content_Digest=repr_digest(b" world"))
    await made(client, answer, b"hello world")


async def test_an_upload_that_was_given_up_is_gone(service: Service, client: httpx.AsyncClient) -> None:
    path = await begun(client, b"hello")
    before = len(staged_files(service.settings))
    answer = await client.delete(path, headers=SPOKEN)
    assert (answer.status_code, answer.content) == (204, b"")
    assert len(staged_files(service.settings)) == before - 1
    for again in (
        await client.delete(path, headers=SPOKEN),
        await gone_on(client, path, b"", 5, "?1"),
    ):
        assert_refused(again, 404, "upload_not_found")
        assert "tus-resumable" not in again.headers
    assert (await client.head(path, headers=SPOKEN)).status_code == 404


async def test_a_creation_that_fails_leaves_nothing(own_service: Service, own_client: httpx.AsyncClient) -> None:
    """Nobody has learned its URL: there are no interim responses."""
    said = {"Upload-Complete": "?1", "Content-Digest": repr_digest(b"world")}
    assert_refused(await own_client.post("/tus", content=b"hello", headers=said), 460, "chunk_mismatch")
    assert staged_files(own_service.settings) == []


async def test_announced_bytes_come_so_too(client: httpx.AsyncClient) -> None:
    path = await announced(client, b"hello world")
    resumable = path.replace("/uploads/", "/tus/")
    assert (await gone_on(client, resumable, b"hello ", 0, "?0")).headers["upload-complete"] == "?0"
    answer = await gone_on(client, resumable, b"world", 6, "?1")
    assert (answer.status_code, answer.headers["upload-complete"]) == (204, "?1")
    assert (await registered(client, path))["size"] == 11


@pytest.mark.parametrize("complete", ["1", "true", "?2", "?1, ?1", "?", '"?1"', "?1;A", ""])
async def test_what_is_no_boolean_is_not_there(client: httpx.AsyncClient, complete: str) -> None:
    said = {"Upload-Complete": complete}
    answer = await client.post("/tus", headers=said)
    assert_refused(answer, 412, "tus_version_unsupported")
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert_refused(await client.post("/tus", headers=said | SPOKEN), 400, "draft_invalid")
    assert_refused(await gone_on(client, await begun(client), b"", 0, complete, **SPOKEN), 400, "draft_invalid")


@pytest.mark.parametrize("offset", ["-1", "1.0", "a", "", "0,0", "1234567890123456"])
async def test_what_is_no_offset_is_not_there(client: httpx.AsyncClient, offset: str) -> None:
    assert_refused(await gone_on(client, await begun(client), b"", offset, "?1"), 400, "draft_invalid")


async def test_pieces_have_their_own_media_type(client: httpx.AsyncClient) -> None:
    for kind in ("application/offset+octet-stream", "text/plain", ""):
        said = {"Content-Type": kind, "Upload-Offset": "0", "Upload-Complete": "?1"}
        answer = await client.patch(await begun(client), content=b"a", headers=said)
        assert_refused(answer, 415, "encoding_unsupported")


async def test_tus_goes_before_the_draft(client: httpx.AsyncClient) -> None:
    said = {"Upload-Complete": "?1", **SPOKEN}
    answer = await client.post("/tus", headers=said | {"Tus-Resumable": "1.0.0", "Upload-Length": "1"})
    assert (answer.status_code, answer.headers["tus-resumable"]) == (201, "1.0.0")
    assert "upload-complete" not in answer.headers
    assert_refused(await client.post("/tus", headers=said | {"Tus-Resumable": "0.2.2"}), 412, "tus_version_unsupported")


async def test_options_say_the_limits(client: httpx.AsyncClient) -> None:
    answer = await client.options("/tus")
    assert_limits(answer)
    assert (answer.status_code, answer.headers["tus-version"]) == (204, "1.0.0")


async def test_what_ends_by_a_word_is_not_ended_by_its_size(client: httpx.AsyncClient) -> None:
    """Whoever asks or sends, in whatever protocol."""
    path = await begun(client, b"all of", Upload_Length="9")
    tus = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Offset": "6"}
    sent = await client.patch(path, content=b" it", headers=tus)
    for asked in (sent, await client.head(path, headers={"Tus-Resumable": "1.0.0"})):
        assert (asked.headers["upload-offset"], "content-location" in asked.headers) == ("9", False)
    assert (await client.get(path.replace("/tus/", "/uploads/"))).json()["state"] == "open"
    assert (await client.head(path, headers=SPOKEN)).headers["upload-complete"] == "?0"
    await made(client, await gone_on(client, path, b"", 9, "?1"), b"all of it")


async def test_what_ends_by_its_size_needs_no_word(client: httpx.AsyncClient) -> None:
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "9"}
    path = (await client.post("/tus", headers=tus)).headers["location"].removeprefix(PUBLIC)
    await made(client, await gone_on(client, path, b"all of it", 0, "?0"), b"all of it")


class Once(Wrapper):
    """Lets one go on with an upload, and then nobody."""

    def __init__(self, driver: BlobDriver) -> None:
        super().__init__(driver)
        self._left = 1

    async def resume(self, handle: str) -> Waiting:
        if not self._left:
            raise StorageUnavailable
        self._left -= 1
        return await super().resume(handle)


async def test_what_cannot_be_forgotten_is_too_large_all_the_same(settings: Settings, tmp_path: Path) -> None:
    async with (
        running(settings, storing_in(Once(LocalDriver(tmp_path / "store")))) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        path = await begun(client, Upload_Length="5")
        assert_refused(await gone_on(client, path, b"too many", 0, "?0"), 413, "upload_too_large")


async def test_whoever_asks_while_an_upload_becomes_an_object_is_told_so(client: httpx.AsyncClient) -> None:
    for number in range(20):
        content = f"number {number}".encode()
        path = await begun(client)
        answer, *asked = await asyncio.gather(
            gone_on(client, path, content, 0, "?1"), *(client.head(path, headers=SPOKEN) for _ in range(3))
        )
        assert {one.status_code for one in asked} == {204}
        if answer.status_code == 423:  # who asks ends the request that is under way
            answer = await gone_on(client, path, b"", len(content), "?1")
        await made(client, answer, content)
