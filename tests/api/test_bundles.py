"""Bundles: what is in them, what their checksum is, and what cannot be one."""

import asyncio
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from drs_service.domain.checksums import Checksum, of_bundle
from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.traces import nothing_stored, query
from tests.api.writing import (
    OBJECTS,
    REGISTER,
    Object,
    bundle_of,
    checksums,
    elsewhere,
    got,
    refused,
    register,
    registered,
    said,
    sha256,
    uploaded,
)
from tests.support.raw_http import connected, request
from tests.support.server import Service, running

MEMBERS = 10_000


def ours(drs_object: Object) -> list[str]:
    return [f"drs://drs.example.org/{drs_object['id']}"]


def deeper(member: Object, depth: int) -> Object:
    """Contents in contents, depth bundles in all."""
    contents: Object = {"contents": [{"name": "file", "id": member["id"]}]}
    for _ in range(depth - 1):
        contents = {"contents": [{"name": "inner", **contents}]}
    return contents


def of_members(algorithm: str, *values: str) -> str:
    """DRS 1.5.0, DrsObject.checksums, in its own words: sorted, put together, hashed by the same algorithm."""
    return hashlib.new(algorithm.replace("-", ""), "".join(sorted(values)).encode()).hexdigest()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def big(client: httpx.AsyncClient) -> tuple[Object, list[Object]]:
    """A bundle of MEMBERS members, and what it was asked to be: half of them lie in one bundle within."""
    some = await register(client, *(elsewhere(name=f"f{number}", size=number) for number in range(500)))
    half = [{"name": f"file-{number}", "id": some[number % 500]["id"]} for number in range(MEMBERS // 2)]
    contents = [*half, {"name": "inner", "contents": half}]
    return await registered(client, {"name": "big", "contents": contents, "tags": {"size": "big"}}), contents


async def test_a_member_is_named_by_its_id_or_its_uri_or_made(client: httpx.AsyncClient) -> None:
    first, second = await uploaded(client, b"1"), await uploaded(client, b"22")
    contents: list[dict[str, Any]] = [
        {"name": "by-id", "id": first["id"]},
        {"name": "by-uri", "drs_uri": [f"drs://DRS.example.org/{second['id']}"]},
        {"name": "by-both", "id": first["id"], "drs_uri": ours(first)},
        {"name": "made", "contents": [{"name": "in-it", "id": second["id"]}]},
    ]
    made = await registered(client, {"name": "set", "description": "d", "contents": contents})
    inner = made["contents"][3]["id"]
    direct = [
        {"name": "by-id", "id": first["id"], "drs_uri": ours(first)},
        {"name": "by-uri", "id": second["id"], "drs_uri": ours(second)},
        {"name": "by-both", "id": first["id"], "drs_uri": ours(first)},
        {"name": "made", "id": inner, "drs_uri": [f"drs://drs.example.org/{inner}"]},
    ]
    found = await got(client, made["id"])
    assert found == made
    assert (found["contents"], found["size"], found["name"]) == (direct, 1 + 2 + 1 + 2, "set")
    assert "access_methods" not in found
    whole = await got(client, made["id"], expand="true")
    in_it = [{"name": "in-it", "id": second["id"], "drs_uri": ours(second)}]
    assert whole == found | {"contents": [*direct[:3], direct[3] | {"contents": in_it}]}
    assert (await got(client, inner))["contents"] == in_it  # what was made on the way is an object as any other
    assert (await client.get(f"/data/{made['id']}")).headers["content-type"] == "application/zip"


@pytest.mark.parametrize("expand", ["true", "True", "TRUE", "1"])
async def test_expand_is_understood_in_every_spelling(client: httpx.AsyncClient, expand: str) -> None:
    made = await registered(client, deeper(await uploaded(client), 3))
    path = f"{OBJECTS}/{made['id']}"
    whole = said(await client.get(path, params={"expand": expand}))
    assert whole["contents"][0]["contents"][0]["contents"][0]["name"] == "file"
    assert said(await client.post(path, json={"expand": True})) == whole
    bulk = await client.post(OBJECTS, params={"expand": expand}, json={"bulk_object_ids": [made["id"]]})
    assert said(bulk)["resolved_drs_object"] == [whole]
    for direct in (
        await client.get(path),
        await client.get(path, params={"expand": expand.translate(str.maketrans("1", "0")).replace(expand, "0")}),
        await client.get(path, params={"expand": "False"}),
        await client.post(path, json={}),
        await client.post(path, json={"expand": False}),
    ):
        assert said(direct) == made
    assert "contents" not in made["contents"][0]
    assert_refused(await client.get(path, params={"expand": "perhaps"}), 400, "bad_request")


async def test_what_is_in_a_bundle_twice_is_there_twice(client: httpx.AsyncClient) -> None:
    file = await uploaded(client, b"12345")
    inner = await registered(client, bundle_of(file, file))
    made = await registered(client, bundle_of(file, inner, inner))
    assert made["size"] == 5 + 10 + 10
    value = checksums(file)["sha-256"]
    assert checksums(inner) == {"sha-256": of_members("sha-256", value, value)}
    assert checksums(made) == {"sha-256": of_members("sha-256", value, *[checksums(inner)["sha-256"]] * 2)}
    whole = await got(client, made["id"], expand="true")
    assert whole["contents"][1]["contents"] == whole["contents"][2]["contents"] == inner["contents"]


async def test_a_bundle_has_the_checksum_of_the_specifications_example(client: httpx.AsyncClient) -> None:
    # Its values are cut short, and the sum that it prints is made up: this is what md5sum says of them.
    example = [[Checksum("md5", value)] for value in ("72794b6d", "5e089d29")]
    assert of_bundle(example) == (Checksum("md5", "d1e304fe6e1551623cfd3b919e1d6077"),)
    low, high = "5e" + "0" * 30, "72" + "f" * 30
    members = await register(
        client, *(elsewhere(checksums=[{"type": "MD5", "checksum": value.upper()}]) for value in (high, low))
    )
    expected = hashlib.md5((low + high).encode()).hexdigest()
    made = await registered(client, bundle_of(*members))
    assert checksums(made) == {"md5": expected}
    renamed = {"contents": [{"name": name, "id": one["id"]} for name, one in zip("ba", members, strict=True)]}
    assert checksums(await registered(client, renamed)) == {"md5": expected}


async def test_a_bundle_is_held_to_what_is_stated_of_it(client: httpx.AsyncClient) -> None:
    file = await uploaded(client, b"12345")
    right = of_members("sha-256", sha256(b"12345"))
    stated = {"size": 5, "checksums": [{"type": "SHA256", "checksum": right.upper()}]}
    assert checksums(await registered(client, bundle_of(file, **stated))) == {"sha-256": right}
    await refused(client, 400, "size_mismatch", bundle_of(file, size=4))
    wrong = [{"type": "sha-256", "checksum": sha256(b"12345")}]
    assert right in await refused(client, 400, "checksum_mismatch", bundle_of(file, checksums=wrong))


async def test_a_bundle_of_what_is_elsewhere_says_what_it_was_said_to_be(client: httpx.AsyncClient) -> None:
    file = await uploaded(client, b"12345")
    uris = ["drs://drs.example.com/314159", "drs://dg.ANV0:dg.ANV0/31%204159", "drs://drs.example.com/314159"]
    contents = [{"name": "here", "id": file["id"]}, {"name": "there", "id": "314159", "drs_uri": uris}]
    stated = [{"type": "md5", "checksum": "0" * 32}]
    for missing in ({"contents": contents, "size": 12}, {"contents": contents, "checksums": stated}):
        assert (await client.post(REGISTER, json={"candidates": [missing]})).status_code == 400
    await refused(client, 400, "size_mismatch", {"contents": contents, "size": 4, "checksums": stated})
    made = await registered(client, {"contents": contents, "size": 12, "checksums": stated})
    assert (made["size"], made["checksums"]) == (12, [{"checksum": "0" * 32, "type": "md5"}])
    assert made["contents"][1] == {"name": "there", "drs_uri": uris[:2]}
    assert await got(client, made["id"], expand="true") == made


async def test_a_member_that_is_not_there_or_was_deleted_makes_nothing(
    service: Service, client: httpx.AsyncClient
) -> None:
    file, buried, gone, hidden = [await uploaded(client) for _ in range(4)]
    await client.put(f"{OBJECTS}/{buried['id']}/delete")
    await client.put(f"{OBJECTS}/{gone['id']}/delete", json={"delete_object_metadata": True})
    await query(service.settings, "INSERT INTO spaces (id) VALUES ('hidden') ON CONFLICT DO NOTHING")
    await query(service.settings, "UPDATE objects SET space_id = 'hidden' WHERE id = $1", hidden["id"])
    async with nothing_stored(service.settings):
        for bad in (buried["id"], gone["id"], hidden["id"], "nothing", "a/b", "\0", "", "x" * 10_000):
            member = {"name": "bad", "id": bad}
            contents = [{"name": "good", "id": file["id"]}, {"name": "in", "contents": [member]}]
            await refused(client, 400, "bundle_invalid", bundle_of(file), {"contents": contents})
            uri = {"name": "bad", "drs_uri": [f"drs://drs.example.org/{bad}"]}
            answer = await client.post(REGISTER, json={"candidates": [bundle_of(file), {"contents": [uri]}]})
            assert answer.status_code == 400


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/", "../a", "-a", "a b", "é", "a\\b", "a\0", "a\n", "x" * 256, "a:b", "\u2025"]
)
async def test_a_name_that_no_path_can_have_makes_no_bundle(client: httpx.AsyncClient, name: str) -> None:
    contents = [{"name": name, "id": (await uploaded(client))["id"]}]
    for candidate in ({"contents": contents}, {"contents": [{"name": "in", "contents": contents}]}):
        answer = await client.post(REGISTER, json={"candidates": [candidate]})
        assert answer.status_code == 400 and answer.json()["code"] in {"name_invalid", "bad_request"}, answer.text


async def test_two_members_of_one_name_make_no_bundle(client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    twice = [{"name": "a", "id": file["id"]}, {"name": "a", "id": file["id"]}]
    await refused(client, 400, "bundle_invalid", {"contents": twice})
    await refused(client, 400, "bundle_invalid", {"contents": [{"name": "in", "contents": twice}]})
    apart = [twice[0], {"name": "b", "contents": [twice[0]]}, {"name": "A", "id": file["id"]}]
    await registered(client, {"contents": apart})


async def test_what_is_no_bundle_is_refused(client: httpx.AsyncClient) -> None:
    file, other = await uploaded(client), await uploaded(client)
    largest = await registered(client, elsewhere(size=2**63 - 1))
    member = {"name": "a", "id": file["id"]}
    candidates: list[Object] = [
        {"contents": []},
        {"contents": [{"name": "a"}]},
        {"contents": [{"name": "a", "contents": []}]},
        {"contents": [member | {"drs_uri": ours(other)}]},
        {"contents": [{"name": "a", "drs_uri": [*ours(file), *ours(other)]}]},
        {"contents": [member], "access_methods": elsewhere()["access_methods"]},
        {"contents": [{"name": "a", "drs_uri": [f"drs://example.com/{number}" for number in range(17)]}]},
        bundle_of(largest, largest),
        deeper(file, 65),
        deeper(file, 100),
    ]
    for bad in candidates:
        await refused(client, 400, "bundle_invalid", bad)
    for uri in ("https://example.com/a", "drs://", "drs://a/../b", "drs://a:b\0", "drs://a:b c", "drs://a b/c", ""):
        answer = await client.post(REGISTER, json={"candidates": [{"contents": [{"name": "a", "drs_uri": [uri]}]}]})
        assert_refused(answer, 400, "drs_uri_malformed")
    await refused(client, 400, "bad_request", deeper(file, 200))
    whole = await got(client, (await registered(client, deeper(file, 64)))["id"], expand="true")
    for _ in range(63):
        whole = whole["contents"][0]
    assert whole["contents"][0]["id"] == file["id"]


async def test_a_bundle_has_no_more_entries_than_the_settings_allow(settings: Settings) -> None:
    async with (
        running(replace(settings, max_bundle_entries=10)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        file = await uploaded(client)
        five = await registered(client, bundle_of(*[file] * 5))
        await registered(client, bundle_of(file, file, file, file, five))
        async with nothing_stored(service.settings):
            await refused(client, 413, "too_many", bundle_of(*[file] * 11))
            await refused(client, 413, "too_many", bundle_of(five, five))


async def test_a_bundle_that_was_made_to_lie_in_itself_is_answered_all_the_same(
    service: Service, client: httpx.AsyncClient
) -> None:
    file = await uploaded(client)
    inner = await registered(client, bundle_of(file))
    outer = await registered(client, bundle_of(file, inner))
    add = "INSERT INTO members (bundle_id, position, name, member_id) VALUES ($1, 9, 'up', $2)"
    await query(service.settings, add, inner["id"], outer["id"])
    await query(service.settings, "UPDATE members SET position = 1 WHERE position = 9 AND bundle_id = $1", inner["id"])
    for one in (outer, inner):
        whole = await got(client, one["id"], expand="true")
        answer = await client.post(OBJECTS, params={"expand": "true"}, json={"bulk_object_ids": [one["id"]]})
        assert said(answer)["resolved_drs_object"] == [whole]
    assert [member["name"] for member in whole["contents"]] == ["m0", "up"]
    assert "contents" not in whole["contents"][1]["contents"][1]
    await registered(client, bundle_of(outer))


async def test_ten_thousand_members_come_back_in_their_order(
    client: httpx.AsyncClient, big: tuple[Object, list[Object]]
) -> None:
    made, contents = big
    whole = await got(client, made["id"], expand="true")
    half, inner = whole["contents"][:-1], whole["contents"][-1]
    asked = [(one["name"], one["id"]) for one in contents[:-1]]
    assert [(one["name"], one["id"]) for one in half] == asked
    assert [(one["name"], one["id"]) for one in inner["contents"]] == asked
    assert len(half) + len(inner["contents"]) == MEMBERS
    value = of_members("md5", *["0" * 32] * len(half))
    assert checksums(made) == {"md5": of_members("md5", value, *["0" * 32] * len(half))}
    assert made["size"] == 2 * 10 * sum(range(500))


async def test_many_bundles_and_other_objects_come_back_together(client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    made = [await registered(client, deeper(file, depth)) for depth in (1, 2, 3)]
    asked = [made[2]["id"], file["id"], "nothing", made[0]["id"], made[1]["id"]]
    for expand in ("false", "true"):
        found = said(await client.post(OBJECTS, params={"expand": expand}, json={"bulk_object_ids": asked}))
        assert found["summary"] == {"requested": 5, "resolved": 4, "unresolved": 1}
        alone = [await got(client, one, expand=expand) for one in asked if one != "nothing"]
        assert found["resolved_drs_object"] == alone


async def test_a_bundle_that_is_known_is_not_sent_again_until_it_changes(client: httpx.AsyncClient) -> None:
    made = await registered(client, deeper(await uploaded(client), 2))
    path = f"{OBJECTS}/{made['id']}"
    etags = set()
    for expand in ("false", "true"):
        for coding in ("gzip", "identity"):
            headers = {"Accept-Encoding": coding}
            answer = await client.get(path, params={"expand": expand}, headers=headers)
            etags.add(etag := answer.headers["etag"])
            headers |= {"If-None-Match": etag}
            again = await client.get(path, params={"expand": expand}, headers=headers)
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
            head = await client.head(path, params={"expand": expand}, headers={"Accept-Encoding": coding})
            assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)
            assert (await client.post(path, json={}, headers=headers)).status_code == 200
    assert len(etags) == 4
    await client.post(f"{path}/tags", json={"tags": {"a": "b"}})
    for etag in etags:
        for expand in ("false", "true"):
            answer = await client.get(path, params={"expand": expand}, headers={"If-None-Match": etag})
            assert (answer.status_code, said(answer)["tags"]) == (200, {"a": "b"})


async def test_a_big_bundle_is_the_same_compressed(service: Service, big: tuple[Object, list[Object]]) -> None:
    target = f"{OBJECTS}/{big[0]['id']}?expand=true"
    bodies = {}
    for coding in ("gzip", "identity"):
        async with connected(service) as connection:
            await connection.send(request("GET", target, f"Accept-Encoding: {coding}", "Connection: close"))
            head = await connection.head()
            assert (head.status, head.headers["transfer-encoding"]) == (200, "chunked")
            assert head.headers.get("content-encoding", "identity") == coding
            bodies[coding] = b"".join(unchunked(await connection.rest()))
    assert gzip.decompress(bodies["gzip"]) == bodies["identity"]
    assert zlib.decompressobj(31).decompress(bodies["gzip"]) == bodies["identity"]
    assert len(bodies["gzip"]) < len(bodies["identity"]) / 4


def unchunked(raw: bytes) -> Iterator[bytes]:
    size = 1
    while size:
        line, _, raw = raw.partition(b"\r\n")
        size = int(line, 16)
        yield raw[:size]
        raw = raw[size + 2 :]
    assert raw == b""


async def test_who_hangs_up_midway_leaves_every_connection_free(settings: Settings) -> None:
    async with (
        running(replace(settings, database_pool_size=2)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        file = await uploaded(client)
        names = [f"{'n' * 200}-{number}" for number in range(MEMBERS)]
        made = await registered(client, {"contents": [{"name": name, "id": file["id"]} for name in names]})
        target = request("GET", f"{OBJECTS}/{made['id']}?expand=true")

        async def leave(after: int) -> None:
            async with connected(service) as connection:
                await connection.send(target)
                await connection.read(after)
                connection.hang_up()

        for after in (1, 400_000, 1_500_000):
            await asyncio.gather(*(leave(after) for _ in range(4)))
        # Each of these needs a connection, and there are two.
        answers = await asyncio.gather(*(client.get(OBJECTS) for _ in range(4)))
        assert {answer.status_code for answer in answers} == {200}


async def test_a_bundle_that_cannot_be_read_is_an_error_and_never_a_short_answer(
    own_service: Service, own_client: httpx.AsyncClient
) -> None:
    made = await registered(own_client, bundle_of(await uploaded(own_client)))
    await got(own_client, made["id"])  # it is kept in memory by now; its members are not
    await query(own_service.settings, "ALTER TABLE members RENAME TO elsewhere")
    answer = await own_client.get(f"{OBJECTS}/{made['id']}")
    assert_refused(answer, 500, "internal")
