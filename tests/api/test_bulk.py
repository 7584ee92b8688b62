"""Many objects at once, the POST twins, and how to be let in."""

import gzip
from typing import Any

import httpx
import pytest

from tests.api.schemas import assert_refused
from tests.support.server import Service

BASE = "/ga4gh/drs/v1"


async def put(client: httpx.AsyncClient, content: bytes = b"content") -> dict[str, Any]:
    answer = (await client.put("/upload/a.txt", content=content)).raise_for_status()
    return dict(answer.json())


async def test_a_post_of_an_object_is_as_good_as_a_get(client: httpx.AsyncClient) -> None:
    made = await put(client)
    bodies: list[dict[str, object]] = [{}, {"expand": True}, {"passports": ["a.b.c"], "expand": False}, {"more": 1}]
    for body in bodies:
        answer = await client.post(f"{BASE}/objects/{made['id']}", json=body)
        assert (answer.status_code, answer.json()) == (200, made)
        answer = await client.post(f"{BASE}/objects/{made['id']}/access/https", json={})
        assert (answer.status_code, answer.json()) == (200, made["access_methods"][0]["access_url"])
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"passports": "x"}', b'{"passports": [1]}', b'{"expand": "maybe"}']
)
async def test_a_body_that_is_not_what_drs_has_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    made = await put(client)
    answer = await client.post(f"{BASE}/objects/{made['id']}", content=body)
    assert_refused(answer, 400, "bad_request")


async def test_bulk_answers_in_order_once_each_and_tells_of_the_rest(client: httpx.AsyncClient) -> None:
    first, second = await put(client, b"1"), await put(client, b"2")
    asked = [second["id"], "nothing", first["id"], second["id"], "a/b", "nothing"]
    answer = await client.post(f"{BASE}/objects", json={"bulk_object_ids": asked})
    assert answer.status_code == 200
    assert answer.json() == {
        "summary": {"requested": 4, "resolved": 2, "unresolved": 2},
        "unresolved_drs_objects": [{"error_code": 404, "object_ids": ["nothing", "a/b"]}],
        "resolved_drs_object": [second, first],
    }


async def test_bulk_that_finds_nothing_is_an_answer_too(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{BASE}/objects", json={"bulk_object_ids": ["nothing"]})
    assert answer.status_code == 200
    assert answer.json()["resolved_drs_object"] == []


async def test_every_object_of_a_thousand_is_resolved_and_compressed(client: httpx.AsyncClient) -> None:
    made = [await put(client, b"%d" % number) for number in range(20)]
    asked = [one["id"] for one in made] + [f"nothing-{number}" for number in range(980)]
    body = {"bulk_object_ids": asked}
    answer = await client.post(f"{BASE}/objects", json=body)
    assert answer.json()["resolved_drs_object"] == made
    assert answer.headers["content-encoding"] == "gzip"
    plain = await client.post(f"{BASE}/objects", json=body, headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == answer.json()
    assert int(answer.headers["content-length"]) < len(gzip.compress(plain.content)) * 2


async def test_more_than_service_info_allows_is_refused(client: httpx.AsyncClient) -> None:
    info = (await client.get(f"{BASE}/service-info")).json()
    limit = info["maxBulkRequestLength"]
    assert info["drs"]["maxBulkRequestLength"] == limit
    many = {"bulk_object_ids": ["x"] * (limit + 1)}
    assert_refused(await client.post(f"{BASE}/objects", json=many), 413, "too_many")
    assert_refused(await client.request("OPTIONS", f"{BASE}/objects", json=many), 413, "too_many")
    pairs = [{"bulk_object_id": "x", "bulk_access_ids": ["https"]}] * (limit + 1)
    answer = await client.post(f"{BASE}/objects/access", json={"bulk_object_access_ids": pairs})
    assert_refused(answer, 413, "too_many")
    wide = [{"bulk_object_id": "x", "bulk_access_ids": ["https"] * 1000}]
    answer = await client.post(f"{BASE}/objects/access", json={"bulk_object_access_ids": wide})
    assert_refused(answer, 413, "too_many")


@pytest.mark.parametrize("body", [{}, {"bulk_object_ids": []}, {"bulk_object_ids": "x"}, {"bulk_object_ids": [1]}, []])
async def test_a_bulk_request_without_ids_is_refused(client: httpx.AsyncClient, body: object) -> None:
    assert_refused(await client.post(f"{BASE}/objects", json=body), 400, "bad_request")


async def test_bulk_access_counts_pairs_and_names_ids_once(client: httpx.AsyncClient) -> None:
    made = await put(client)
    pairs = [
        {"bulk_object_id": made["id"], "bulk_access_ids": ["https", "s3"]},
        {"bulk_object_id": "nothing", "bulk_access_ids": ["https", "s3"]},
    ]
    answer = await client.post(f"{BASE}/objects/access", json={"bulk_object_access_ids": pairs})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    url = made["access_methods"][0]["access_url"]["url"]
    assert answer.json() == {
        "summary": {"requested": 4, "resolved": 1, "unresolved": 3},
        "unresolved_drs_objects": [{"error_code": 404, "object_ids": [made["id"], "nothing"]}],
        "resolved_drs_object_access_urls": [{"drs_object_id": made["id"], "drs_access_id": "https", "url": url}],
    }


async def test_options_tell_that_nobody_need_say_who_he_is(client: httpx.AsyncClient) -> None:
    made = await put(client)
    ways = {"drs_object_id": made["id"], "supported_types": ["None"]}
    answer = await client.options(f"{BASE}/objects/{made['id']}")
    assert (answer.status_code, answer.json()) == (200, ways)
    assert_refused(await client.options(f"{BASE}/objects/nothing"), 404, "object_not_found")
    answer = await client.request("OPTIONS", f"{BASE}/objects", json={"bulk_object_ids": [made["id"], "nothing"]})
    assert answer.json()["resolved_drs_object"] == [ways]
    assert answer.json()["unresolved_drs_objects"] == [{"error_code": 404, "object_ids": ["nothing"]}]


async def test_an_object_that_is_known_is_not_sent_again(client: httpx.AsyncClient) -> None:
    path = f"{BASE}/objects/{(await put(client))['id']}"
    etag = (await client.get(path)).headers["etag"]
    answer = await client.get(path, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    assert (await client.post(path, json={}, headers={"If-None-Match": etag})).status_code == 200
    head = await client.head(path)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)


async def test_service_info_counts_objects_and_every_byte_once(
    own_client: httpx.AsyncClient, own_service: Service
) -> None:
    async def totals() -> tuple[int, int]:
        drs = (await own_client.get(f"{BASE}/service-info")).json()["drs"]
        return drs["objectCount"], drs["totalObjectSize"]

    assert await totals() == (0, 0)
    await put(own_client, b"12345")
    await put(own_client, b"12345")
    await put(own_client, b"")
    assert await totals() == (3, 5)
