"""Finding objects by a checksum or by tags, page by page."""

import asyncio
import base64
import hashlib
import secrets
from typing import Any

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
    of_bytes,
    register,
    registered,
    said,
    sha256,
    uploaded,
)

Params = dict[str, Any]


async def walked(client: httpx.AsyncClient, path: str = OBJECTS, **params: Any) -> list[Object]:
    """Every object of every page."""
    found: list[Object] = []
    while True:
        answer = await client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        page = said(answer)
        found += page["resolved_drs_object"]
        if "next_page_token" not in page:
            return found
        params["page_token"] = page["next_page_token"]


def ids(objects: list[Object]) -> list[str]:
    return [one["id"] for one in objects]


async def with_checksum(client: httpx.AsyncClient, value: str, **params: str) -> list[Object]:
    return await walked(client, f"{OBJECTS}/checksum/{value}", **params)


async def test_a_checksum_is_found_in_any_spelling(client: httpx.AsyncClient) -> None:
    content = secrets.token_bytes(9)
    made = await uploaded(client, content)
    sha, md5, etag = sha256(content), hashlib.md5(content).hexdigest(), f"{secrets.token_hex(16)}-2"
    stated = [{"type": "md5", "checksum": md5}, {"type": "etag", "checksum": etag}]
    await client.put(f"{OBJECTS}/{made['id']}/checksums", json={"checksums": stated})
    made = await got(client, made["id"])
    for value in (sha, sha.upper(), sha.title()):
        for params in ({}, {"type": "sha-256"}, {"type": "SHA256"}, {"type": "sha_256"}):
            assert await with_checksum(client, value, **params) == [made]
    for value, kind in ((md5, "MD5"), (md5.upper(), "md5"), (etag, "etag"), (etag, "ETag")):
        assert await with_checksum(client, value) == await with_checksum(client, value, type=kind) == [made]
    for value, kind in ((sha, "md5"), (md5, "sha-256"), (sha, "sha-512"), (md5, "unknown")):
        answer = await client.get(f"{OBJECTS}/checksum/{value}", params={"type": kind})
        assert_refused(answer, 404, "object_not_found")
    assert (await client.head(f"{OBJECTS}/checksum/{sha}")).status_code == 200


@pytest.mark.parametrize("value", ["f00d" * 16, "00", "x", "a%2Db", "%F0%9F%98%80", "z" * 64])
async def test_a_checksum_that_nobody_has_is_not_found(client: httpx.AsyncClient, value: str) -> None:
    assert_refused(await client.get(f"{OBJECTS}/checksum/{value}"), 404, "object_not_found")


@pytest.mark.parametrize("path", ["%00", "a%0Ab", "x" * 257, "00?type=a%20b", "00?type=", "00?page_size=0"])
async def test_what_cannot_be_a_checksum_is_refused(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"{OBJECTS}/checksum/{path}")).status_code == 400


async def test_all_who_have_a_checksum_are_found_whatever_they_are(client: httpx.AsyncClient) -> None:
    content = secrets.token_bytes(9)
    sha = sha256(content)
    first = await uploaded(client, content)
    same = await register(client, *(of_bytes(content) for _ in range(4)))
    external = await registered(client, elsewhere(checksums=[{"type": "sha-256", "checksum": sha}]))
    expected = sorted(ids([first, *same, external]))
    assert ids(await with_checksum(client, sha)) == expected
    assert ids(await with_checksum(client, sha, page_size="1")) == expected
    assert ids(await with_checksum(client, sha, page_size="4")) == expected
    page = said(await client.get(f"{OBJECTS}/checksum/{sha}"))
    assert page["summary"] == {"requested": 6, "resolved": 6, "unresolved": 0}
    bundle = await registered(client, bundle_of(first))
    assert await with_checksum(client, checksums(bundle)["sha-256"]) == [bundle]
    await client.put(f"{OBJECTS}/{external['id']}/delete")
    await client.put(f"{OBJECTS}/{first['id']}/delete")
    assert ids(await with_checksum(client, sha)) == sorted(ids(same))


async def test_tags_are_found_together_by_their_values_or_by_their_keys(client: httpx.AsyncClient) -> None:
    mark = secrets.token_hex(8)
    tags: list[dict[str, str]] = [{"a": "1", "b": "1"}, {"a": "1", "b": "2"}, {"a": "2"}, {"b": ""}, {"a": "x" * 1024}]
    made = await register(client, *(elsewhere(tags={mark: "", **one}) for one in tags))

    async def numbers(*wanted: tuple[str, str]) -> list[int]:
        keys, values = zip((mark, ""), *wanted, strict=True)
        found = ids(await walked(client, tag_key=keys, tag_value=values))
        assert found == sorted(found)
        return sorted(ids(made).index(one) for one in found)

    assert await numbers() == [0, 1, 2, 3, 4]
    assert await numbers(("a", "1")) == [0, 1]
    assert await numbers(("a", "1"), ("b", "2")) == [1]
    assert await numbers(("a", "2"), ("b", "2")) == []
    assert await numbers(("b", "")) == [0, 1, 3]
    assert await numbers(("b", ""), ("a", "1")) == [0, 1]
    assert await numbers(("a", "x" * 1024)) == [4]
    assert await numbers(("A", "1")) == await numbers(("a", "%")) == []
    assert len(await walked(client, tag_key=[mark])) == 5
    assert len(await walked(client, tag_key=[mark, "a"], tag_value=["", "1"])) == 2
    await client.post(f"{OBJECTS}/{made[0]['id']}/tags", json={"tags": {mark: ""}})
    await client.put(f"{OBJECTS}/{made[1]['id']}/delete")
    assert await numbers(("a", "1")) == []
    assert await numbers() == [0, 2, 3, 4]


@pytest.mark.parametrize(
    "params",
    [
        *({"page_size": size} for size in ("0", "2048", "-1", "x", "", "1.5", "9" * 30, "NaN")),
        {"tag_value": "a"},
        {"tag_key": "a", "tag_value": ["b", "c"]},
        {"tag_key": ""},
        {"tag_key": "k" * 256},
        {"tag_key": "a", "tag_value": "v" * 1025},
        {"tag_key": "a\0"},
        {"tag_key": [f"{number}" for number in range(17)]},
    ],
)
async def test_a_question_that_is_wrong_is_refused(client: httpx.AsyncClient, params: Params) -> None:
    answer = await client.get(OBJECTS, params=params)
    assert_refused(answer, 400, answer.json()["code"])


def forged(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "é",
        "\0",
        "A" * 5000,
        "1:a",
        *map(forged, (b"", b"1:", b"2:a", b"a", b"1:\0", b"1:a/b", b"1:..", b"1:\xff")),
    ],
)
async def test_a_token_that_is_not_ours_is_refused(client: httpx.AsyncClient, token: str) -> None:
    for path in (OBJECTS, f"{OBJECTS}/checksum/{'0' * 64}"):
        assert_refused(await client.get(path, params={"page_token": token}), 400, "page_invalid")


async def test_a_page_is_as_large_as_it_is_asked_to_be(own_client: httpx.AsyncClient) -> None:
    assert said(await own_client.get(OBJECTS)) == {"resolved_drs_object": []}
    candidates = [elsewhere(name=f"n{number}") for number in range(700)]
    made = [one for _ in range(3) for one in await register(own_client, *candidates)]
    for size, expected in ((None, 256), (1, 1), (2047, 2047)):
        page = said(await own_client.get(OBJECTS, params={"page_size": size} if size else {}))
        assert len(page["resolved_drs_object"]) == expected
        assert len(page["next_page_token"]) <= 1024
    # The last page is full, and nothing comes behind it.
    assert ids(await walked(own_client, page_size=len(made) // 3)) == sorted(ids(made))
    assert ids(await walked(own_client, page_size=2047)) == sorted(ids(made))
    assert (await own_client.head(OBJECTS)).status_code == 200


async def test_what_stays_is_listed_once_while_others_come_and_go(own_client: httpx.AsyncClient) -> None:
    stay, go = [await register(own_client, *(elsewhere() for _ in range(100))) for _ in range(2)]
    more = await register(own_client, *(elsewhere() for _ in range(100)))
    done = asyncio.Event()
    came: list[str] = []

    async def come_and_go() -> None:
        for one in go:
            came.append((await registered(own_client, elsewhere()))["id"])
            await own_client.put(f"{OBJECTS}/{one['id']}/delete")
        done.set()

    coming = asyncio.create_task(come_and_go())
    walks = 0
    while not done.is_set() or walks == 0:
        found = ids(await walked(own_client, page_size=7))
        assert len(set(found)) == len(found)
        assert set(ids(stay + more)) <= set(found)
        walks += 1
    await coming
    found = ids(await walked(own_client, page_size=7))
    assert found == sorted(ids(stay + more) + came)


async def test_bundles_are_listed_with_their_direct_members(client: httpx.AsyncClient) -> None:
    mark = secrets.token_hex(8)
    file = await uploaded(client)
    contents = [{"name": "in", "contents": [{"name": "f", "id": file["id"]}]}, {"name": "f", "id": file["id"]}]
    made = await registered(client, {"contents": contents, "tags": {mark: ""}})
    assert await walked(client, tag_key=mark) == [made] == [await got(client, made["id"])]
