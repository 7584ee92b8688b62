"""Objects as DRS clients see them."""

import asyncio
import hashlib
import uuid
from dataclasses import replace

import httpx

from drs_service.settings import Settings
from tests.api.schemas import ACCESS_URL, DRS_OBJECT, SERVICE_INFO, assert_refused, assert_valid
from tests.api.traces import query, until_known
from tests.support.raw_http import asked, request
from tests.support.server import Service, running

OBJECTS = "/ga4gh/drs/v1/objects"


async def put(client: httpx.AsyncClient, content: bytes = b"hello", name: str = "hello.txt") -> str:
    """The id of a new object."""
    answer = await client.put(f"/upload/{name}", content=content)
    assert answer.status_code == 201
    object_id: str = answer.json()["id"]
    return object_id


async def test_an_object_that_is_looked_at_is_promised_without_a_word(settings: Settings) -> None:
    """DRS 1.5.0, 202: "delayed and will continue asynchronously", with Retry-After, and no body."""
    candidate = {
        "size": 1,
        "checksums": [{"type": "md5", "checksum": "0" * 32}],
        "access_methods": [{"type": "https", "access_url": {"url": "https://files.example/x"}}],
    }
    async with (
        running(replace(settings, verify_external=True)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        registered = await client.post(f"{OBJECTS}/register", json={"candidates": [candidate]})
        url = f"{OBJECTS}/{registered.json()['objects'][0]['id']}"
        for answer in (
            await client.get(url),
            await client.post(url, json={}),
            await client.get(f"{url}/access/https-1"),
            await client.post(f"{url}/access/https-1", json={}),
        ):
            assert (answer.status_code, answer.content) == (202, b"")
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["cache-control"] == "no-store"


async def test_an_object_says_what_drs_asks_for_and_nothing_else(client: httpx.AsyncClient) -> None:
    object_id = await put(client)
    answer = await client.get(f"{OBJECTS}/{object_id}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    drs_object = answer.json()
    assert_valid(drs_object, DRS_OBJECT)
    url = f"https://drs.example.org/data/{object_id}"
    assert drs_object == {
        "id": object_id,
        "self_uri": f"drs://drs.example.org/{object_id}",
        "size": 5,
        "created_time": drs_object["created_time"],
        "updated_time": drs_object["created_time"],
        "checksums": [{"checksum": hashlib.sha256(b"hello").hexdigest(), "type": "sha-256"}],
        "name": "hello.txt",
        "mime_type": "text/plain",
        "access_methods": [{"type": "https", "access_id": "https", "access_url": {"url": url}}],
    }


async def test_the_public_url_may_have_a_port_and_a_path_that_drs_uris_do_not(settings: Settings) -> None:
    async with (
        running(replace(settings, public_url="https://drs.example.org:8443/base/")) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        answer = await client.put("/upload/a", content=b"a")
        drs_object = answer.json()
        object_id = drs_object["id"]
        assert drs_object["self_uri"] == f"drs://drs.example.org/{object_id}"
        url = {"url": f"https://drs.example.org:8443/base/data/{object_id}"}
        assert drs_object["access_methods"][0]["access_url"] == url
        assert (await client.get(f"{OBJECTS}/{object_id}/access/https")).json() == url
        assert answer.headers["location"] == f"https://drs.example.org:8443/base{OBJECTS}/{object_id}"


async def test_what_is_known_besides_is_said_as_drs_has_it(service: Service, client: httpx.AsyncClient) -> None:
    content = b"with everything"
    object_id = await put(client, content)
    await query(service.settings, "INSERT INTO aliases SELECT $1, unnest(ARRAY['b', 'a'])", object_id)
    insert = "INSERT INTO checksums (digest, algorithm, value) VALUES ($1, 'md5', $2)"
    md5 = hashlib.md5(content).hexdigest()
    await query(service.settings, insert, hashlib.sha256(content).digest(), md5)
    await query(service.settings, "UPDATE objects SET description = 'd', version = 'v' WHERE id = $1", object_id)
    drs_object = (await client.get(f"{OBJECTS}/{object_id}")).json()
    assert_valid(drs_object, DRS_OBJECT)
    assert [drs_object[name] for name in ("aliases", "description", "version")] == [["a", "b"], "d", "v"]
    assert drs_object["checksums"][1:] == [{"checksum": md5, "type": "md5"}]


async def test_what_real_clients_add_to_a_get_does_no_harm(client: httpx.AsyncClient) -> None:
    path = f"{OBJECTS}/{await put(client)}"
    plain = (await client.get(path)).json()
    for query_string in ("expand=True", "expand=true", "expand=0", "unknown=%ff"):
        assert (await client.get(f"{path}?{query_string}")).json() == plain
    for body in ({}, {"expand": True}, "not an object"):
        assert (await client.request("GET", path, json=body)).json() == plain
        assert (await client.request("GET", f"{path}/access/https", json=body)).status_code == 200
    answer = await client.request("GET", path, content=b"{", headers={"Content-Type": "application/json"})
    assert answer.json() == plain


async def test_the_access_url_leads_to_the_bytes(client: httpx.AsyncClient) -> None:
    object_id = await put(client)
    [method] = (await client.get(f"{OBJECTS}/{object_id}")).json()["access_methods"]
    answer = await client.get(f"{OBJECTS}/{object_id}/access/{method['access_id']}")
    assert answer.status_code == 200
    assert_valid(answer.json(), ACCESS_URL)
    assert answer.json() == method["access_url"]
    assert (await client.get(httpx.URL(answer.json()["url"]).path)).content == b"hello"


async def test_an_access_method_that_is_not_there_is_not_found(service: Service, client: httpx.AsyncClient) -> None:
    object_id = await put(client)
    for access_id in ("s3", "HTTPS", "https%00", "%2E", "x" * 10_000, "%ff"):
        answer = await asked(service, request("GET", f"{OBJECTS}/{object_id}/access/{access_id}"))
        assert_refused(answer, 404, "access_method_not_found")
    assert_refused(await client.get(f"{OBJECTS}/nobody/access/https"), 404, "object_not_found")


async def test_an_object_that_is_not_there_is_not_found(service: Service, client: httpx.AsyncClient) -> None:
    object_id = await put(client)
    near = (object_id.upper(), object_id + "0", object_id[:-1], f"{object_id}%20", f"%0A{object_id}", f"{object_id}%00")
    odd = ("%00", "a%00b", ".", "..", "~", "%ff", "%F0%9F%98%80", "a:b", "'%20OR%201=1--", "x" * 128, "x" * 10_000)
    for unknown in (*near, *odd, "tags", str(uuid.uuid4()), "0" * 26):
        for path in (f"{OBJECTS}/{unknown}", f"/data/{unknown}"):
            assert_refused(await asked(service, request("GET", path)), 404, "object_not_found")


async def test_an_id_with_a_slash_is_another_route(service: Service) -> None:
    for path in ("a/b", "a%2Fb", "a%2F%2E%2E", "a/access", "a/access/", "a/access/b/c"):
        assert_refused(await asked(service, request("GET", f"{OBJECTS}/{path}")), 404, "route_not_found")


async def test_a_change_behind_the_back_of_the_service_is_soon_seen(
    service: Service, client: httpx.AsyncClient
) -> None:
    object_id = await put(client)
    path = f"{OBJECTS}/{object_id}"
    assert "description" not in (await client.get(path)).json()

    await query(service.settings, "UPDATE objects SET description = 'new' WHERE id = $1", object_id)
    await until_known(lambda: says(client, path, "description", "new"))

    await query(service.settings, "INSERT INTO aliases VALUES ($1, 'also')", object_id)
    await until_known(lambda: says(client, path, "aliases", ["also"]))

    await query(service.settings, "DELETE FROM aliases WHERE object_id = $1", object_id)
    await query(service.settings, "DELETE FROM objects WHERE id = $1", object_id)
    for gone in (path, f"{path}/access/https", f"/data/{object_id}"):
        await until_known(lambda gone=gone: has_gone(client, gone))  # type: ignore[misc]


async def says(client: httpx.AsyncClient, path: str, name: str, value: object) -> bool:
    return bool((await client.get(path)).json().get(name) == value)


async def has_gone(client: httpx.AsyncClient, path: str) -> bool:
    return (await client.get(path)).status_code == 404


async def test_an_object_is_read_by_many_at_once(client: httpx.AsyncClient) -> None:
    ids = [await put(client, b"%d" % n) for n in range(10)]
    answers = await asyncio.gather(*(client.get(f"{OBJECTS}/{object_id}") for object_id in ids * 5))
    assert [answer.json()["id"] for answer in answers] == ids * 5


async def test_service_info_says_who_serves_here(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ga4gh/drs/v1/service-info")
    assert answer.status_code == 200
    info = answer.json()
    assert_valid(info, SERVICE_INFO)
    # DRS 1.5.0 wants the limit in both places.
    assert info["maxBulkRequestLength"] == info["drs"]["maxBulkRequestLength"]
