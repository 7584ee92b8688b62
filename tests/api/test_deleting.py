"""Deleting: what is gone stays gone, says why, and takes nothing with it that others have."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from drs_service.parts import open_parts
from drs_service.usecases.sweep import Sweep
from tests.api.schemas import assert_refused
from tests.api.traces import blob_file, query
from tests.api.writing import (
    DRS,
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
from tests.support.server import Service

BULK = f"{OBJECTS}/delete"


async def delete(client: httpx.AsyncClient, object_id: str, **body: object) -> None:
    answer = await client.put(f"{OBJECTS}/{object_id}/delete", json=body)
    assert (answer.status_code, answer.content) == (204, b""), answer.text


async def totals(client: httpx.AsyncClient) -> tuple[int, int]:
    drs = said(await client.get(f"{DRS}/service-info"))["drs"]
    return drs["objectCount"], drs["totalObjectSize"]


@pytest.mark.parametrize("kind", ["blob", "bundle", "external"])
async def test_what_was_deleted_is_gone_for_everybody_and_says_why(client: httpx.AsyncClient, kind: str) -> None:
    made = await uploaded(client)
    if kind == "bundle":
        made = await registered(client, bundle_of(made))
    elif kind == "external":
        made = await registered(client, elsewhere())
    path = f"{OBJECTS}/{made['id']}"
    await got(client, made["id"])  # it is kept in memory by now
    await delete(client, made["id"], reason="Consent was withdrawn.")
    access = made.get("access_methods", [{"access_id": "https"}])[0]["access_id"]
    for answer in (
        await client.get(path),
        await client.get(path, params={"expand": "true"}),
        await client.post(path, json={}),
        await client.options(path),
        await client.get(f"{path}/access/{access}"),
        await client.post(f"{path}/access/{access}", json={}),
        await client.get(f"/data/{made['id']}"),
        await client.put(f"{path}/checksums", json={"checksums": [{"type": "md5", "checksum": "0" * 32}]}),
        await client.post(f"{path}/tags", json={"tags": {}}),
        await client.put(f"{path}/access-methods", json={"access_methods": elsewhere()["access_methods"]}),
    ):
        assert_refused(answer, 410, "object_deleted")
        assert "Consent was withdrawn." in answer.json()["msg"]
    assert (await client.head(path)).status_code == (await client.head(f"/data/{made['id']}")).status_code == 410
    ids = {"bulk_object_ids": [made["id"]]}
    pairs = {"bulk_object_access_ids": [{"bulk_object_id": made["id"], "bulk_access_ids": [access]}]}
    for answer in (
        await client.post(OBJECTS, json=ids),
        await client.request("OPTIONS", OBJECTS, json=ids),
        await client.post(f"{OBJECTS}/access", json=pairs),
    ):
        assert answer.status_code == 200
        assert said(answer)["unresolved_drs_objects"] == [{"error_code": 410, "object_ids": [made["id"]]}]


async def test_deleting_twice_is_fine_and_the_first_reason_stays(client: httpx.AsyncClient) -> None:
    made = await uploaded(client)
    await delete(client, made["id"], reason="first")
    await delete(client, made["id"], reason="second")
    assert "first" in (await client.get(f"{OBJECTS}/{made['id']}")).json()["msg"]


async def test_what_was_deleted_for_good_was_never_there(client: httpx.AsyncClient) -> None:
    first, second = await uploaded(client), await registered(client, bundle_of(await uploaded(client)))
    await delete(client, second["id"])  # a tombstone goes as well
    for made in (first, second):
        await delete(client, made["id"], delete_object_metadata=True)
        assert_refused(await client.get(f"{OBJECTS}/{made['id']}"), 404, "object_not_found")
        again = await client.put(f"{OBJECTS}/{made['id']}/delete", json={})
        assert_refused(again, 404, "object_not_found")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"passports": []}', b'{"reason": null}', b'{"reason": ""}'])
async def test_nothing_need_be_said_to_delete(client: httpx.AsyncClient, body: bytes) -> None:
    made = await uploaded(client)
    for headers in ({}, {"Content-Type": "application/json"}):
        answer = await client.put(f"{OBJECTS}/{made['id']}/delete", content=body, headers=headers)
        assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.get(f"{OBJECTS}/{made['id']}")).status_code == 410


@pytest.mark.parametrize(
    "body", [b"[]", b"1", b'{"delete_storage_data": "yes"}', b'{"reason": "a\\u0000b"}', b'{"reason": 1}']
)
async def test_a_request_that_is_wrong_deletes_nothing(client: httpx.AsyncClient, body: bytes) -> None:
    made = await uploaded(client)
    assert (await client.put(f"{OBJECTS}/{made['id']}/delete", content=body)).status_code == 400
    await got(client, made["id"])


async def test_a_reason_has_a_length(client: httpx.AsyncClient) -> None:
    made = await uploaded(client)
    answer = await client.put(f"{OBJECTS}/{made['id']}/delete", json={"reason": "x" * 1025})
    assert_refused(answer, 400, "text_invalid")
    await delete(client, made["id"], reason="x" * 1024)


async def test_of_many_all_are_deleted_or_none(client: httpx.AsyncClient) -> None:
    made = [(await uploaded(client))["id"] for _ in range(3)]
    for unknown in ("nothing", "a/b", "", "\0", "x" * 10_000):
        answer = await client.put(BULK, json={"bulk_object_ids": [*made, unknown]})
        assert_refused(answer, 404, "object_not_found")
    for object_id in made:
        await got(client, object_id)
    answer = await client.put(BULK, json={"bulk_object_ids": [*made, made[0]], "reason": "together"})
    assert (answer.status_code, answer.content) == (204, b"")
    found = said(await client.post(OBJECTS, json={"bulk_object_ids": made}))
    assert found["unresolved_drs_objects"] == [{"error_code": 410, "object_ids": made}]
    assert_refused(await client.put(BULK, json={"bulk_object_ids": ["x"] * 1001}), 413, "too_many")
    assert_refused(await client.put(BULK, json={"bulk_object_ids": []}), 400, "bad_request")


async def test_bytes_go_at_once_if_that_is_asked_for_and_nobody_else_has_them(
    service: Service, client: httpx.AsyncClient
) -> None:
    content = secrets.token_bytes(40)
    file = blob_file(service.settings, content)
    first, second = await uploaded(client, content), await uploaded(client, content)
    await delete(client, first["id"], delete_storage_data=True)
    assert file.read_bytes() == content
    assert (await client.get(f"/data/{second['id']}")).content == content
    await delete(client, second["id"])
    assert file.exists()  # until a sweep, or until it is asked for
    await delete(client, second["id"], delete_storage_data=True)
    assert not file.exists()
    assert not await query(service.settings, "SELECT FROM blobs WHERE digest = sha256($1)", content)
    third = await uploaded(client, content)
    assert (await client.get(f"/data/{third['id']}")).content == content
    await delete(client, third["id"], delete_storage_data=True, delete_object_metadata=True)
    assert not file.exists()


async def test_a_bundle_that_is_deleted_with_its_bytes_takes_none_of_its_members(
    service: Service, client: httpx.AsyncClient
) -> None:
    content = secrets.token_bytes(40)
    made = await uploaded(client, content)
    bundle = await registered(client, bundle_of(made))
    await delete(client, bundle["id"], delete_storage_data=True, delete_object_metadata=True)
    assert (await client.get(f"/data/{made['id']}")).content == content


async def test_a_bundle_still_reads_when_its_members_are_deleted(client: httpx.AsyncClient) -> None:
    members = [await uploaded(client, b"%d" % number) for number in range(3)]
    inner = await registered(client, bundle_of(members[0]))
    bundle = await registered(client, bundle_of(*members, inner))
    direct, whole = await got(client, bundle["id"]), await got(client, bundle["id"], expand="true")
    assert "contents" in whole["contents"][3]
    tags = [(await client.get(f"{OBJECTS}/{bundle['id']}", params={"expand": "true"})).headers["etag"]]
    await delete(client, members[1]["id"])
    await delete(client, members[2]["id"], delete_object_metadata=True)
    assert await got(client, bundle["id"]) == direct
    assert await got(client, bundle["id"], expand="true") == whole
    # What was in a deleted bundle is told no more, and no cache takes the answer for what it was before.
    await delete(client, inner["id"])
    assert await got(client, bundle["id"]) == direct
    assert await got(client, bundle["id"], expand="true") == direct
    answer = await client.get(
        f"{OBJECTS}/{bundle['id']}", params={"expand": "true"}, headers={"If-None-Match": tags[0]}
    )
    assert answer.status_code == 200


async def test_service_info_counts_what_is_there(own_client: httpx.AsyncClient) -> None:
    first, second = await uploaded(own_client, b"12345"), await uploaded(own_client, b"12345")
    other = await registered(own_client, elsewhere(checksums=[{"type": "sha-256", "checksum": "0" * 64}]))
    bundle = await registered(own_client, bundle_of(first, other))
    assert await totals(own_client) == (4, 5)
    for _ in range(2):
        await delete(own_client, first["id"])
    await delete(own_client, other["id"])
    assert await totals(own_client) == (2, 5)
    for made in (first, bundle):
        await delete(own_client, made["id"], delete_object_metadata=True)
    assert await totals(own_client) == (1, 5)
    await delete(own_client, second["id"], delete_storage_data=True)
    assert await totals(own_client) == (0, 0)


async def test_a_tombstone_is_not_found_nor_built_upon(client: httpx.AsyncClient) -> None:
    content = secrets.token_bytes(8)
    made = await uploaded(client, content)
    await delete(client, made["id"])
    assert_refused(await client.get(f"{OBJECTS}/checksum/{sha256(content)}"), 404, "object_not_found")
    url = made["access_methods"][0]["access_url"]["url"]
    for candidate in (
        of_bytes(content),
        {"access_methods": [{"type": "https", "access_url": {"url": url}}]},
        bundle_of(made),
    ):
        answer = await client.post(f"{OBJECTS}/register", json={"candidates": [candidate]})
        assert answer.status_code == 400, answer.text
    assert checksums(made)["sha-256"] == sha256(content)


async def test_deletes_of_the_same_bytes_in_other_orders_do_not_lock_each_other_out(client: httpx.AsyncClient) -> None:
    contents = [secrets.token_bytes(8) for _ in range(200)]
    files = [("file", (f"f{number}", content)) for number, content in enumerate(contents)]
    assert (await client.post("/upload", files=files)).status_code == 201

    async def bury(objects: list[Object]) -> int:
        answer = await client.put(BULK, json={"bulk_object_ids": [one["id"] for one in objects]})
        return answer.status_code

    for _ in range(3):
        first = await register(client, *(of_bytes(content) for content in contents))
        second = await register(client, *(of_bytes(content) for content in reversed(contents)))
        assert set(await asyncio.gather(bury(first), bury(second))) == {204}


async def test_a_later_sweep_takes_the_bytes_of_what_was_deleted_and_of_nothing_else(
    own_service: Service, own_client: httpx.AsyncClient
) -> None:
    settings = own_service.settings
    alone, shared, kept = (secrets.token_bytes(40) for _ in range(3))
    for content in (alone, shared):
        await delete(own_client, (await uploaded(own_client, content))["id"])
    for_good = await uploaded(own_client, b"for good")
    await delete(own_client, for_good["id"], delete_object_metadata=True)
    other, third = await uploaded(own_client, shared), await uploaded(own_client, kept)
    hour = timedelta(hours=1)
    async with open_parts(settings, name="drs-service tests") as (database, store):
        assert (await Sweep(database, store).run(before=datetime.now(UTC) - hour)).released == 0
        assert blob_file(settings, alone).exists()
        swept = await Sweep(database, store).run(before=datetime.now(UTC) + hour)
        assert (swept.released, swept.forgotten) == (2, 0)
        assert (await Sweep(database, store).run(before=datetime.now(UTC) + hour)).released == 0
    assert not blob_file(settings, alone).exists() and not blob_file(settings, b"for good").exists()
    assert (await own_client.get(f"/data/{other['id']}")).content == shared
    assert (await own_client.get(f"/data/{third['id']}")).content == kept
    assert await totals(own_client) == (2, 80)
