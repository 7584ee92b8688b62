"""`GET /uploads`: what has been begun and not finished. Whoever reads it is as anonymous as its senders."""

import hashlib
import json
from typing import Any

import httpx
import pytest

from tests.api.schemas import assert_refused
from tests.api.test_announced import announced, register
from tests.api.test_draft import begun
from tests.api.traces import query
from tests.support.server import Service
from tests.support.tus import Tus, metadata, path_of

Json = dict[str, Any]


async def listed(client: httpx.AsyncClient, **params: object) -> list[Json]:
    """All of it, page by page."""
    found: list[Json] = []
    while True:
        answer = await client.get("/uploads", params={key: str(value) for key, value in params.items()})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
        page = answer.json()
        found += page["uploads"]
        if "next_page_token" not in page:
            return found
        params["page_token"] = page["next_page_token"]


def fingerprint(path: str) -> str:
    return hashlib.sha256(path.rpartition("/")[2].encode()).hexdigest()[:16]


async def test_what_is_unfinished_is_listed_until_it_is_done(own_client: httpx.AsyncClient) -> None:
    tus = Tus(own_client)
    assert await listed(own_client) == []
    first = await tus.begin(5, metadata({"filename": "reads.bam"}))
    second = await begun(own_client, b"x")
    third = await announced(own_client, b"hello")
    part = path_of(await tus.post({"Upload-Length": "1", "Upload-Concat": "partial"}, b"x"))
    await tus.sent(first, 0, b"he")
    await own_client.put(third, content=b"hello")
    found = await listed(own_client)
    assert [one["upload"] for one in found] == [fingerprint(path) for path in (first, second, third, part)]
    assert [(one["name"], one["state"], one["received"], one.get("size")) for one in found] == [
        ("reads.bam", "open", 2, 5),
        ("ä.txt", "open", 1, None),
        ("reads.bam", "arrived", 5, 5),
        ("upload", "arrived", 1, 1),
    ]
    assert all(one["started_at"] < one["expires_at"] for one in found)
    await tus.sent(first, 2, b"llo")
    await tus.delete(part)
    await register(own_client, third)
    assert [one["upload"] for one in await listed(own_client)] == [fingerprint(second)]


async def test_nothing_in_the_list_lets_anybody_touch_an_upload(own_client: httpx.AsyncClient) -> None:
    paths = [await Tus(own_client).begin(1) for _ in range(3)] + [await announced(own_client, b"x")]
    for size in (1, 256):
        answer = await own_client.get("/uploads", params={"page_size": size})
        said = json.dumps(answer.json()) + str(answer.headers)
        for path in paths:
            upload_id = path.rpartition("/")[2]
            assert not any(upload_id[at : at + 8] in said for at in range(len(upload_id) - 8))
    assert {*(await listed(own_client))[0]} <= {
        "upload",
        "name",
        "state",
        "received",
        "size",
        "started_at",
        "expires_at",
    }


async def test_pages_follow_each_other_while_uploads_come_and_go(own_client: httpx.AsyncClient) -> None:
    paths = [await Tus(own_client).begin(1) for _ in range(7)]
    for size in (1, 3, 7, 8):
        assert [one["upload"] for one in await listed(own_client, page_size=size)] == [*map(fingerprint, paths)]
    page = (await own_client.get("/uploads", params={"page_size": 3})).json()
    await Tus(own_client).delete(paths[2])
    await Tus(own_client).delete(paths[3])
    late = await Tus(own_client).begin(1)
    rest = await listed(own_client, page_token=page["next_page_token"])
    assert [one["upload"] for one in rest] == [*map(fingerprint, [*paths[4:], late])]


async def test_what_has_expired_is_not_listed(own_service: Service, own_client: httpx.AsyncClient) -> None:
    await Tus(own_client).begin(1)
    await query(own_service.settings, "UPDATE uploads SET expires_at = now()")
    assert await listed(own_client) == []


@pytest.mark.parametrize(
    "params",
    [
        *({"page_size": size} for size in ("0", "2048", "-1")),
        *(
            {"page_token": token}
            for token in ("", "x", "1", "dTE6", "dTE6eA", "MTowMDAw", "dTE6LTE", "ü", "dTE6" + "MTEx" * 9)
        ),
    ],
)
async def test_what_is_no_page_is_refused(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    assert_refused(await client.get("/uploads", params=params), 400, "page_invalid")
