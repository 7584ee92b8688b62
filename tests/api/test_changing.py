"""Changing what is known of objects: access methods, checksums, tags. Of many, all or none."""

import hashlib
import secrets
from typing import Any

import google_crc32c
import httpx
import pytest

from tests.api.schemas import assert_refused
from tests.api.writing import (
    OBJECTS,
    Object,
    bundle_of,
    checksums,
    elsewhere,
    got,
    registered,
    said,
    uploaded,
)

S3 = {"type": "s3", "access_url": {"url": "s3://bucket/key"}}
GS = {"type": "gs", "access_url": {"url": "gs://bucket/key"}, "region": "eu"}
MD5 = {"type": "md5", "checksum": hashlib.md5(b"content").hexdigest()}
OTHER_MD5 = {"type": "md5", "checksum": "0" * 32}
CRC = {"type": "crc32c", "checksum": f"{google_crc32c.value(b'content'):08x}"}
ETAG = {"type": "etag", "checksum": "d41d8cd98f00b204e9800998ecf8427e-2"}


def stated(drs_object: Object) -> list[Object]:
    """The access methods without the ids that the service gives them."""
    return [{key: one[key] for key in one if key != "access_id"} for one in drs_object["access_methods"]]


async def changed(client: httpx.AsyncClient, made: Object, what: str, body: Any) -> Object:
    """The object after a change, which everybody sees at once and which changes nothing else."""
    method = "POST" if what == "tags" else "PUT"
    before = (await client.get(f"{OBJECTS}/{made['id']}")).headers["etag"]
    answer = await client.request(method, f"{OBJECTS}/{made['id']}/{what}", json={what.replace("-", "_"): body})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    after: Object = said(answer)
    assert await got(client, made["id"]) == after
    other = what.replace("-", "_")
    assert {key: after[key] for key in after if key != other} == {key: made[key] for key in made if key != other}
    if after != made:
        assert (await client.get(f"{OBJECTS}/{made['id']}")).headers["etag"] != before
    return after


async def test_access_methods_are_replaced_and_ours_stays(client: httpx.AsyncClient) -> None:
    made = await uploaded(client)
    [ours] = stated(made)
    after = await changed(client, made, "access-methods", [S3, GS])
    assert stated(after) == [ours, S3, GS]
    for one in after["access_methods"]:
        access = await client.get(f"{OBJECTS}/{made['id']}/access/{one['access_id']}")
        assert said(access) == one["access_url"]
    assert len({one["access_id"] for one in after["access_methods"]}) == 3
    assert stated(await changed(client, after, "access-methods", [GS])) == [ours, GS]
    # What the service itself has published can be sent back, as a client does that adds one of its own.
    published = (await got(client, made["id"]))["access_methods"]
    assert stated(await changed(client, after, "access-methods", [*published, S3])) == [ours, GS, S3]
    assert stated(await changed(client, after, "access-methods", [ours])) == [ours]
    assert (await client.get(f"/data/{made['id']}")).content == b"content"


async def test_what_is_elsewhere_has_those_that_are_stated_and_never_none(client: httpx.AsyncClient) -> None:
    made, file = await registered(client, elsewhere()), await uploaded(client)
    assert stated(await changed(client, made, "access-methods", [S3])) == [S3]
    path = f"{OBJECTS}/{made['id']}/access-methods"
    assert_refused(await client.put(path, json={"access_methods": []}), 400, "bad_request")
    for url in (f"https://drs.example.org/data/{made['id']}", file["access_methods"][0]["access_url"]["url"]):
        methods = [{"type": "https", "access_url": {"url": url}}]
        answer = await client.put(path, json={"access_methods": methods})
        assert_refused(answer, 400, "access_method_invalid")
    assert stated(await got(client, made["id"])) == [S3]


@pytest.mark.parametrize(
    ("type", "url"),
    [
        ("https", "https://me:secret@example.com/a"),
        ("s3", "s3://me@bucket/a"),
        ("s3", "gs://bucket/a"),
        ("gs", "bucket/a"),
        ("ftp", "ftp:///a"),
        ("https", "HTTPS://example.com/\n"),
        ("file", "file:///a"),
    ],
)
async def test_a_url_that_does_not_fit_changes_nothing_of_any(client: httpx.AsyncClient, type: str, url: str) -> None:
    first, second = await uploaded(client), await uploaded(client)
    wrong = {"type": type, "access_url": {"url": url}}
    answer = await client.put(f"{OBJECTS}/{first['id']}/access-methods", json={"access_methods": [S3, wrong]})
    assert answer.status_code == 400 and "secret" not in answer.text
    updates = [
        {"object_id": first["id"], "access_methods": [S3]},
        {"object_id": second["id"], "access_methods": [wrong]},
    ]
    assert (await client.put(f"{OBJECTS}/access-methods", json={"updates": updates})).status_code == 400
    assert await got(client, first["id"]) == first


async def test_checksums_are_added_in_any_spelling_and_an_equal_one_is_no_change(client: httpx.AsyncClient) -> None:
    made = await uploaded(client)
    sha = checksums(made)["sha-256"]
    spelled = [
        {"type": "MD5", "checksum": MD5["checksum"].upper()},
        {"type": "CRC-32C", "checksum": CRC["checksum"].upper()},
    ]
    after = await changed(client, made, "checksums", spelled)
    assert after["checksums"] == [{"type": "sha-256", "checksum": sha}, CRC, MD5]
    same = [{"type": kind, "checksum": sha.upper()} for kind in ("sha256", "SHA-256", "sha_256", " Sha256 ")]
    assert await changed(client, after, "checksums", [*same, MD5, MD5]) == after
    assert checksums(await changed(client, after, "checksums", [ETAG]))["etag"] == ETAG["checksum"]


@pytest.mark.parametrize("kind", ["blob", "external"])
async def test_a_checksum_never_changes(client: httpx.AsyncClient, kind: str) -> None:
    made = await uploaded(client)
    if kind == "external":
        made = await registered(client, elsewhere(checksums=[{"type": "sha-256", "checksum": "a" * 64}]))
    made = await changed(client, made, "checksums", [MD5])
    path = f"{OBJECTS}/{made['id']}/checksums"
    for wrong in (OTHER_MD5, {"type": "sha256", "checksum": "0" * 64}):
        answer = await client.put(path, json={"checksums": [CRC, wrong]})
        assert_refused(answer, 409, "checksum_conflict")
    for kinds in ([MD5, OTHER_MD5], [{"type": "md5", "checksum": "0"}], [{"type": "a b", "checksum": "0"}]):
        assert_refused(await client.put(path, json={"checksums": kinds}), 400, "checksum_invalid")
    assert_refused(await client.put(path, json={"checksums": []}), 400, "bad_request")
    assert await got(client, made["id"]) == made


async def test_the_checksums_of_a_bundle_follow_from_its_members(client: httpx.AsyncClient) -> None:
    made = await registered(client, bundle_of(await uploaded(client)))
    path = f"{OBJECTS}/{made['id']}"
    assert_refused(await client.put(f"{path}/checksums", json={"checksums": [MD5]}), 400, "bundle_invalid")
    wrong = {"type": "sha-256", "checksum": "0" * 64}
    assert_refused(await client.put(f"{path}/checksums", json={"checksums": [wrong]}), 409, "checksum_conflict")
    assert checksums(await changed(client, made, "checksums", [ETAG]))["etag"] == ETAG["checksum"]
    refused = await client.put(f"{path}/access-methods", json={"access_methods": [S3]})
    assert_refused(refused, 400, "access_method_invalid")


async def test_no_checksum_is_published_that_the_bytes_do_not_have(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = secrets.token_bytes(100_000)
    made = (await client.put("/upload/a", content=content)).json()
    path = f"{OBJECTS}/{made['id']}/checksums"
    right = {"type": "sha1", "checksum": hashlib.sha1(content).hexdigest()}
    monkeypatch.setattr("drs_service.usecases.checksumming.WHILE_WAITING", len(content) - 1)
    assert_refused(await client.put(path, json={"checksums": [right]}), 400, "checksum_unknown")
    monkeypatch.undo()
    for kind, size in (("md5", 32), ("sha-512", 128), ("crc32c", 8)):
        wrong = [{"type": kind, "checksum": "0" * size}]
        assert_refused(await client.put(path, json={"checksums": wrong}), 409, "checksum_conflict")
        candidate = {"checksums": [*made["checksums"], *wrong]}
        answer = await client.post(f"{OBJECTS}/register", json={"candidates": [candidate]})
        assert_refused(answer, 400, "checksum_mismatch")
    known = await changed(client, made, "checksums", [right])
    assert checksums(known)["sha1"] == right["checksum"]


async def test_an_object_has_not_any_number_of_checksums(client: httpx.AsyncClient) -> None:
    made = await uploaded(client)
    path = f"{OBJECTS}/{made['id']}/checksums"
    stated = [{"type": f"own-{number}", "checksum": "a"} for number in range(33)]
    assert_refused(await client.put(path, json={"checksums": stated}), 413, "too_many")
    stated = [{"type": f"own-{number}", "checksum": "a"} for number in range(20)]
    await changed(client, made, "checksums", stated)
    stated = [{"type": f"other-{number}", "checksum": "a"} for number in range(20)]
    assert_refused(await client.put(path, json={"checksums": stated}), 413, "too_many")


async def test_of_many_all_are_changed_or_none(client: httpx.AsyncClient) -> None:
    first, second, gone = [await uploaded(client) for _ in range(3)]
    await client.put(f"{OBJECTS}/{gone['id']}/delete")
    await changed(client, second, "checksums", [MD5])
    second = await got(client, second["id"])
    ids = [first["id"], second["id"]]
    for path, name, member, good, bad, status in (
        ("checksums", "additions", "checksums", [CRC], [OTHER_MD5], 409),
        ("checksums", "additions", "checksums", [CRC], [{"type": "md5", "checksum": "x"}], 400),
        ("access-methods", "updates", "access_methods", [S3], [], 400),
    ):
        url = f"{OBJECTS}/{path}"
        for other, expected in ((second["id"], status), ("nothing", 404), ("\0", 404), (gone["id"], 410)):
            value = bad if other == second["id"] else good
            changes = [{"object_id": first["id"], member: good}, {"object_id": other, member: value}]
            answer = await client.put(url, json={name: changes})
            assert_refused(answer, expected, answer.json()["code"])
        twice = [{"object_id": first["id"], member: good}] * 2
        assert_refused(await client.put(url, json={name: twice}), 400, "bad_request")
        many = [{"object_id": f"{number}", member: good} for number in range(1001)]
        assert_refused(await client.put(url, json={name: many}), 413, "too_many")
        assert [await got(client, one) for one in ids] == [first, second]
    for path, name, member, good in (
        ("checksums", "additions", "checksums", [CRC]),
        ("access-methods", "updates", "access_methods", [S3]),
    ):
        changes = [{"object_id": one, member: good} for one in reversed(ids)]
        answer = said(await client.put(f"{OBJECTS}/{path}", json={name: changes}))
        assert answer["objects"] == [await got(client, one) for one in reversed(ids)]
    for one in ids:
        assert checksums(await got(client, one))["crc32c"] == CRC["checksum"]
        assert stated(await got(client, one))[1] == S3


@pytest.mark.parametrize("kind", ["blob", "bundle", "external"])
async def test_tags_are_replaced_as_a_whole(client: httpx.AsyncClient, kind: str) -> None:
    made = await uploaded(client)
    if kind == "bundle":
        made = await registered(client, bundle_of(made))
    elif kind == "external":
        made = await registered(client, elsewhere())
    after = await changed(client, made, "tags", {"a": "1", "é 👩‍🔬": "", "k" * 255: "v" * 1024})
    assert after["tags"] == {"a": "1", "é 👩‍🔬": "", "k" * 255: "v" * 1024}
    after = await changed(client, after, "tags", {"b": "2", "a": "3"})
    assert after["tags"] == {"a": "3", "b": "2"}
    assert await changed(client, after, "tags", {}) == made


@pytest.mark.parametrize(
    ("tags", "status", "code"),
    [
        ({"": "a"}, 400, "text_invalid"),
        ({"k" * 256: "a"}, 400, "text_invalid"),
        ({"a": "v" * 1025}, 400, "text_invalid"),
        ({"a\n": "a"}, 400, "text_invalid"),
        ({"a": "\0"}, 400, "text_invalid"),
        ({"a": "\x9f"}, 400, "text_invalid"),
        ({f"{number}": "" for number in range(101)}, 413, "too_many"),
        ({"a": None}, 400, "bad_request"),
        ({"a": ["b"]}, 400, "bad_request"),
        ([], 400, "bad_request"),
        (None, 400, "bad_request"),
    ],
)
async def test_tags_that_cannot_be_change_nothing(
    client: httpx.AsyncClient, tags: object, status: int, code: str
) -> None:
    made = await uploaded(client)
    before = await changed(client, made, "tags", {"kept": "yes"})
    answer = await client.post(f"{OBJECTS}/{made['id']}/tags", json={"tags": tags})
    assert_refused(answer, status, code)
    assert await got(client, made["id"]) == before
