"""Registering: all or none, of what may be read, as it is, and once."""

import asyncio
import hashlib
import json
import secrets
from typing import Any

import httpx
import pytest

from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.traces import query
from tests.api.writing import (
    DRS,
    OBJECTS,
    REGISTER,
    Object,
    bundle_of,
    checksums,
    elsewhere,
    got,
    of_bytes,
    refused,
    register,
    registered,
    said,
    sha256,
    uploaded,
)
from tests.support.server import Service

# Everything that a registration writes to.
WRITTEN = (
    *("objects", "object_checksums", "aliases", "tags", "members", "blobs", "replicas"),
    *("uploads", "idempotency_keys", "releases", "pgqueuer"),
)


async def written(settings: Settings) -> dict[str, int]:
    counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in WRITTEN)
    [record] = await query(settings, f"SELECT {counts}")
    return dict(record)


def data_url(drs_object: Object) -> str:
    return str(drs_object["access_methods"][0]["access_url"]["url"])


def by_url(*urls: str, **more: Any) -> Object:
    methods = [{"type": url.partition(":")[0], "access_url": {"url": url}} for url in urls]
    return {"access_methods": methods, **more}


async def test_bytes_that_are_here_get_another_name(client: httpx.AsyncClient) -> None:
    content = secrets.token_bytes(20)
    first = await uploaded(client, content, "first.txt")
    everything: dict[str, Any] = {
        "name": "second.bam",
        "mime_type": "application/x-bam",
        "size": 20,
        "version": "2",
        "description": "two\nlines",
        "aliases": ["b", "a", "b"],
        "tags": {"sample": "NA12878", "empty": ""},
    }
    by_digest, by_data_url, plain = await register(
        client, of_bytes(content, **everything), by_url(data_url(first), **everything), by_url(data_url(first))
    )
    for made in (by_digest, by_data_url):
        assert made["id"] not in {first["id"], plain["id"]}
        assert made | {"aliases": ["b", "a"]} == made | everything | {"aliases": ["b", "a"]}
        assert made["aliases"] == ["a", "b"]
        assert made["checksums"] == first["checksums"]
        assert made["access_methods"][0]["access_url"]["url"] == f"https://drs.example.org/data/{made['id']}"
        assert (await client.get(f"/data/{made['id']}")).content == content
        assert await got(client, made["id"]) == made
    assert (plain["name"], plain["mime_type"]) == ("first.txt", "text/plain")


async def test_one_object_has_a_location_and_many_have_their_order(client: httpx.AsyncClient) -> None:
    answer = await client.post(REGISTER, json={"candidates": [elsewhere()]})
    [made] = said(answer)["objects"]
    assert answer.headers["location"] == f"https://drs.example.org{OBJECTS}/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    content = secrets.token_bytes(8)
    file = await uploaded(client, content)
    many = [elsewhere(name=f"n{number}") for number in range(300)] + [of_bytes(content, name="n300"), bundle_of(file)]
    names = [one["name"] for one in await register(client, *many)]
    assert names[:301] == [f"n{number}" for number in range(301)]


@pytest.mark.parametrize(
    ("type", "url"),
    [
        ("https", "https://files.example.com/a%20b?c=d"),
        ("s3", "s3://bucket/key/with/slashes"),
        ("gs", "gs://bucket/key"),
        ("ftp", "ftp://example.com/a"),
        ("htsget", "https://example.com/reads/1"),
    ],
)
async def test_bytes_elsewhere_are_published_as_they_were_stated(
    client: httpx.AsyncClient, type: str, url: str
) -> None:
    method = {
        "type": type,
        "access_url": {"url": url, "headers": ["Authorization: Basic dTpw"]},
        "region": "eu-west-1",
        "cloud": "aws",
        "available": False,
    }
    made = await registered(client, elsewhere(access_methods=[method]))
    [published] = made["access_methods"]
    access_id = published.pop("access_id")
    assert published == method
    access = await client.get(f"{OBJECTS}/{made['id']}/access/{access_id}")
    assert said(access) == method["access_url"]
    assert_refused(await client.get(f"/data/{made['id']}"), 404, "bytes_elsewhere")


@pytest.mark.parametrize(
    ("type", "url"),
    [
        ("https", "https://user:password@example.com/a"),
        ("https", "https://user@example.com/a"),
        ("s3", "https://example.com/a"),
        ("https", "s3://bucket/a"),
        ("https", "https:///a"),
        ("https", "https://example.com:port/a"),
        ("https", "https://[::1/a"),
        ("https", "https://example.com/a b"),
        ("https", "https://example.com/\0"),
        ("https", "https://example.com/\u00e9"),
        ("https", "https://example.com/" + "x" * 4096),
        ("https", "javascript:alert(1)"),
        ("file", "file:///etc/passwd"),
        ("teleport", "https://example.com/a"),
        ("https", ""),
    ],
)
async def test_a_url_that_is_none_or_holds_a_password_is_refused(
    client: httpx.AsyncClient, type: str, url: str
) -> None:
    methods = [{"type": type, "access_url": {"url": url}}]
    answer = await client.post(REGISTER, json={"candidates": [elsewhere(access_methods=methods)]})
    assert answer.status_code == 400
    assert answer.json()["code"] in {"access_method_invalid", "bad_request"}


@pytest.mark.parametrize("header", ["Authorization", "A: ", "A: b\r\nC: d", "A: b\0", "A:b", ": b", "A\u00e9: b", 1])
async def test_a_header_that_is_none_is_refused(client: httpx.AsyncClient, header: object) -> None:
    url = {"url": "https://example.com/a", "headers": [header]}
    answer = await client.post(
        REGISTER, json={"candidates": [elsewhere(access_methods=[{"type": "https", "access_url": url}])]}
    )
    assert answer.status_code == 400


async def test_one_wrong_candidate_registers_nothing_of_any(service: Service, client: httpx.AsyncClient) -> None:
    content = secrets.token_bytes(9)
    file = await uploaded(client, content)
    external = await registered(client, elsewhere())
    wrong = [{"type": "sha-256", "checksum": sha256(b"other")}]
    bad: list[tuple[str, Object]] = [
        ("candidate_invalid", of_bytes(b"never uploaded %s" % secrets.token_bytes(8).hex().encode())),
        ("size_mismatch", of_bytes(content, size=8)),
        ("checksum_mismatch", by_url(data_url(file), checksums=wrong)),
        ("checksum_invalid", elsewhere(checksums=[{"type": "md5", "checksum": "xyz"}])),
        ("checksum_invalid", elsewhere(checksums=[{"type": "md5", "checksum": c * 32} for c in "01"])),
        ("candidate_invalid", by_url("https://drs.example.org/data/nothing")),
        ("candidate_invalid", by_url("https://drs.example.org/uploads/nothing")),
        ("candidate_invalid", by_url(f"https://drs.example.org/data/{external['id']}")),
        ("candidate_invalid", by_url(data_url(file), data_url(await uploaded(client)))),
        ("candidate_invalid", by_url("https://example.com/a", size=1)),
        ("candidate_invalid", by_url("https://example.com/a", checksums=wrong)),
        ("candidate_invalid", {}),
        ("candidate_invalid", {"checksums": [{"type": "md5", "checksum": "0" * 32}]}),
        ("name_invalid", elsewhere(name="a/b")),
        ("name_invalid", elsewhere(name="")),
        ("media_type_invalid", elsewhere(mime_type="nonsense")),
        ("text_invalid", elsewhere(version="x" * 256)),
        ("text_invalid", elsewhere(description="a\0b")),
        ("text_invalid", elsewhere(aliases=["a", ""])),
        ("text_invalid", elsewhere(tags={"": "a"})),
        ("text_invalid", elsewhere(tags={"a": "\x1b"})),
        ("bundle_invalid", bundle_of(file, {"id": "nothing"})),
    ]
    before = await written(service.settings)
    good = [of_bytes(content), elsewhere(tags={"a": "b"}, aliases=["c"]), bundle_of(file)]
    for code, candidate in bad:
        await refused(client, 400, code, *good, candidate)
        await refused(client, 400, code, candidate, *good)
    for headers in ({}, {"Idempotency-Key": "failed"}):
        answer = await client.post(REGISTER, json={"candidates": [*good, bad[0][1]]}, headers=headers)
        assert "Candidate 3:" in answer.json()["msg"]
    assert await written(service.settings) == before


async def test_what_may_not_be_read_opens_nothing_to_who_knows_its_digest(
    service: Service, client: httpx.AsyncClient
) -> None:
    content = secrets.token_bytes(9)
    file = await uploaded(client, content)
    await query(service.settings, "INSERT INTO spaces (id) VALUES ('hidden') ON CONFLICT DO NOTHING")
    await query(service.settings, "UPDATE objects SET space_id = 'hidden' WHERE id = $1", file["id"])
    await refused(client, 400, "candidate_invalid", of_bytes(content))
    await refused(client, 400, "candidate_invalid", by_url(data_url(file)))
    assert (await client.get(f"{OBJECTS}/checksum/{sha256(content)}")).status_code == 404


async def test_a_checksum_that_was_read_from_the_bytes_is_what_a_statement_is_held_to(
    service: Service, client: httpx.AsyncClient
) -> None:
    content = secrets.token_bytes(9)
    await uploaded(client, content)
    md5 = hashlib.md5(content).hexdigest()
    insert = "INSERT INTO checksums (digest, algorithm, value) VALUES (sha256($1), 'md5', $2)"
    await query(service.settings, insert, content, md5)
    [sha] = of_bytes(content)["checksums"]
    wrong = {"checksums": [sha, {"type": "md5", "checksum": "0" * 32}]}
    assert md5 in await refused(client, 400, "checksum_mismatch", wrong)
    made = await registered(client, {"checksums": [sha, {"type": "MD5", "checksum": md5.upper()}]})
    assert checksums(made) == {"sha-256": sha256(content), "md5": md5}


async def test_the_same_request_with_a_key_is_done_once(service: Service, client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    body = json.dumps({"candidates": [elsewhere(), bundle_of(file), elsewhere()]}).encode()
    key = secrets.token_hex(8)
    answers = await asyncio.gather(
        *(client.post(REGISTER, content=body, headers={"Idempotency-Key": f'"{key}"'}) for _ in range(20))
    )
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    before = await written(service.settings)
    again = await client.post(REGISTER, content=body, headers={"Idempotency-Key": key})
    assert (again.status_code, said(again)) == (201, said(answers[0]))
    other = await client.post(REGISTER, content=body + b" ", headers={"Idempotency-Key": key})
    assert_refused(other, 422, "idempotency_key_reused")
    assert await written(service.settings) == before
    made = [one["id"] for one in said(again)["objects"]]
    assert len(set(made)) == 3
    without = await client.post(REGISTER, content=body)
    assert not {one["id"] for one in said(without)["objects"]} & set(made)
    await client.put(f"{OBJECTS}/{made[0]}/delete", json={"reason": "undone"})
    gone = await client.post(REGISTER, content=body, headers={"Idempotency-Key": key})
    assert_refused(gone, 410, "object_deleted")
    await client.put(f"{OBJECTS}/{made[0]}/delete", json={"delete_object_metadata": True})
    gone = await client.post(REGISTER, content=body, headers={"Idempotency-Key": key})
    assert_refused(gone, 404, "object_not_found")


async def test_a_key_of_a_request_that_failed_can_be_used_again(client: httpx.AsyncClient) -> None:
    content, key = secrets.token_bytes(9), secrets.token_hex(8)
    body = {"candidates": [of_bytes(content)]}
    answer = await client.post(REGISTER, json=body, headers={"Idempotency-Key": key})
    assert_refused(answer, 400, "candidate_invalid")
    await uploaded(client, content)
    assert (await client.post(REGISTER, json=body, headers={"Idempotency-Key": key})).status_code == 201


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "é".encode(), "a\tb"])
async def test_a_key_that_is_malformed_is_refused(client: httpx.AsyncClient, key: str | bytes) -> None:
    headers = [(b"idempotency-key", key.encode() if isinstance(key, str) else key)]
    answer = await client.post(REGISTER, json={"candidates": [elsewhere()]}, headers=headers)
    assert_refused(answer, 400, "idempotency_key_invalid")


async def test_more_than_service_info_allows_is_refused(service: Service, client: httpx.AsyncClient) -> None:
    before = await written(service.settings)
    await refused(client, 413, "too_many", *[elsewhere()] * 1001)
    await refused(client, 413, "too_many", elsewhere(access_methods=elsewhere()["access_methods"] * 33))
    await refused(client, 413, "too_many", elsewhere(aliases=[f"{number}" for number in range(101)]))
    await refused(client, 413, "too_many", elsewhere(tags={f"{number}": "" for number in range(101)}))
    large = await client.post(REGISTER, content=b" " * (64 * 1024**2 + 1))
    assert (large.status_code, large.json()["status_code"]) == (413, 413)
    assert await written(service.settings) == before


JSON = {
    "deep": b"[" * 100_000,
    "deep and whole": b"[" * 300 + b"]" * 300,
    "deep within": b'{"candidates": ' + b'[{"contents": ' * 5000 + b"[]" + b"}]" * 5000 + b"}",
    "deep beside": b'{"passports": [], "x": ' + b"[" * 900 + b"]" * 900 + b"}",
    "huge integer": b'{"candidates": [{"size": %d}]}' % 10**300,
    "integer of 5000 digits": b'{"candidates": [{"size": ' + b"9" * 5000 + b"}]}",
    "integer beyond": b'{"candidates": [{"size": 9223372036854775808}]}',
    "negative": b'{"candidates": [{"size": -1}]}',
    "fraction": b'{"candidates": [{"size": 1.5}]}',
    "infinite": b'{"candidates": [{"size": 1e999}]}',
    "NaN": b'{"candidates": [{"size": NaN}]}',
    "text for a number": b'{"candidates": [{"size": "1"}]}',
    "truth for a number": b'{"candidates": [{"size": true}]}',
    "NUL": b'{"candidates": [{"name": "a\\u0000"}], "access_methods": "\\u0000"}',
    "half a pair": b'{"candidates": [{"name": "\\ud800"}]}',
    "other half": b'{"candidates": [{"description": "\\udc00"}]}',
    "pair the wrong way": b'{"candidates": [{"name": "\\udc00\\ud800"}]}',
    "surrogate in UTF-8": b'{"candidates": [{"name": "\xed\xa0\x80"}]}',
    "not UTF-8": b'{"candidates": [{"name": "\xff"}]}',
    "UTF-16": '{"candidates": [{}]}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"candidates": [{}]}',
    "name twice": b'{"candidates": [{"name": "a", "name": "b"}]}',
    "tag twice": b'{"tags": {"a": "b", "a": "c"}, "candidates": [{"tags": {"a": "b", "\\u0061": "c"}}]}',
    "no list": b'{"candidates": {}}',
    "empty list": b'{"candidates": []}',
    "null": b"null",
    "null within": b'{"candidates": [null]}',
    "number": b"1",
    "text": b'"candidates"',
    "cut off": b'{"candidates": [{"name": "a"',
    "two": b'{"candidates": [{}]} {}',
    "nothing": b"",
    "tag no text": b'{"candidates": [{"tags": {"a": 1}}], "tags": {"a": null}}',
}
ROUTES = [
    ("POST", OBJECTS),
    ("OPTIONS", OBJECTS),
    ("POST", f"{OBJECTS}/access"),
    ("POST", f"{OBJECTS}/{{id}}/tags"),
    ("PUT", f"{OBJECTS}/{{id}}/access-methods"),
    ("PUT", f"{OBJECTS}/access-methods"),
    ("PUT", f"{OBJECTS}/{{id}}/checksums"),
    ("PUT", f"{OBJECTS}/checksums"),
    ("PUT", f"{OBJECTS}/delete"),
    ("POST", REGISTER),
    ("POST", f"{DRS}/upload-request"),
]


@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_json_that_is_wrong_is_refused_by_every_route(
    service: Service, client: httpx.AsyncClient, method: str, route: str
) -> None:
    before = await written(service.settings)
    for what, body in JSON.items():
        answer = await client.request(method, route.format(id="x"), content=body)
        assert answer.status_code == 400, (what, answer.text)
        assert_refused(answer, 400, answer.json()["code"])
    assert await written(service.settings) == before


@pytest.mark.parametrize("name", ["deep", "deep beside", "not UTF-8", "name twice", "half a pair", "NaN", "cut off"])
async def test_json_that_is_wrong_is_refused_where_nothing_need_be_said(client: httpx.AsyncClient, name: str) -> None:
    path = f"{OBJECTS}/{(await uploaded(client))['id']}"
    for method, route in (("POST", path), ("POST", f"{path}/access/https"), ("PUT", f"{path}/delete")):
        answer = await client.request(method, route, content=JSON[name])
        assert_refused(answer, 400, "bad_request")
    await got(client, path.rpartition("/")[2])


async def test_members_that_are_null_are_as_good_as_left_out(client: httpx.AsyncClient) -> None:
    absent = dict.fromkeys(["version", "description", "aliases", "tags", "contents", "mime_type"])
    method = elsewhere()["access_methods"][0] | dict.fromkeys(["access_id", "region", "cloud", "available"])
    made = await registered(client, elsewhere(**absent, access_methods=[method]))
    assert not made.keys() & (absent.keys() - {"mime_type"})
    assert await got(client, made["id"]) == made
