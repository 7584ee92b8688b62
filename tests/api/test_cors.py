"""A page of another origin: what a browser is told, and what is refused whatever it was told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from litestar.types import ASGIApp, Receive, Scope, Send

from drs_service.api.cors import Cors
from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.test_objects import OBJECTS, put
from tests.support.raw_http import Answer, asked, request
from tests.support.server import Service, running

PORTAL = "https://portal.example"
OTHER = "http://localhost:3000"
EVIL = "https://evil.example"
PATHS = ("/data/{id}", "/upload/a.txt", "/upload", OBJECTS, OBJECTS + "/{id}", OBJECTS + "/nothing", "/nothing")


@asynccontextmanager
async def serving(settings: Settings, *origins: str) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    async with (
        running(replace(settings, cors_origins=origins)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        yield service, client


def preflight(path: str, origin: str, method: str, *more: str) -> bytes:
    return request("OPTIONS", path, f"Origin: {origin}", f"Access-Control-Request-Method: {method}", *more)


def cors_of(answer: Answer | httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def vary_of(answer: Answer | httpx.Response) -> set[str]:
    return {name.strip().lower() for name in answer.headers.get("vary", "").split(",")} - {""}


def assert_readable(answer: Answer | httpx.Response, by: str) -> None:
    cors = cors_of(answer)
    exposed = cors.pop("access-control-expose-headers").split(", ")
    assert {"ETag", "Content-Range", "Location", "Repr-Digest", "Upload-Offset", "Tus-Resumable"} <= set(exposed)
    assert cors == {"access-control-allow-origin": by}  # and no credentials
    assert ("origin" in vary_of(answer)) == (by != "*")


async def test_without_origins_no_answer_speaks_of_them(client: httpx.AsyncClient, service: Service) -> None:
    object_id = await put(client)
    for path in ("/livez", f"/data/{object_id}", "/nothing"):
        answer = await client.get(path, headers={"Origin": PORTAL})
        assert (cors_of(answer), vary_of(answer)) == ({}, set())
    said = await asked(service, preflight(f"{OBJECTS}/{object_id}", PORTAL, "GET"))
    assert (said.status, cors_of(said)) == (200, {})


async def test_a_listed_page_may_do_everything(settings: Settings) -> None:
    async with serving(settings, OTHER, PORTAL) as (service, client):
        object_id = await put(client)
        for path in PATHS:
            for origin in (PORTAL, OTHER):
                said = await asked(service, preflight(path.format(id=object_id), origin, "PUT"))
                assert (said.status, said.body) == (204, b"")
                assert "content-type" not in said.headers
                assert cors_of(said) == {
                    "access-control-allow-origin": origin,
                    "access-control-allow-methods": "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE",
                    "access-control-max-age": "7200",
                }
                assert vary_of(said) == {
                    "origin",
                    "access-control-request-method",
                    "access-control-request-headers",
                }
        page = {"Origin": PORTAL}
        answer = await client.put("/upload/b.txt", content=b"b", headers=page)
        assert answer.status_code == 201
        assert_readable(answer, PORTAL)
        answer = await client.post(OBJECTS, json={"bulk_object_ids": [object_id]}, headers=page)
        assert answer.json()["summary"]["resolved"] == 1
        assert_readable(answer, PORTAL)
        answer = await client.get(f"/data/{object_id}", headers=page | {"Range": "bytes=1-2"})
        assert (answer.status_code, answer.content) == (206, b"el")
        assert_readable(answer, PORTAL)
        answer = await client.get(f"/data/{object_id}", headers=page | {"If-None-Match": answer.headers["etag"]})
        assert answer.status_code == 304
        assert_readable(answer, PORTAL)


@pytest.mark.parametrize(
    "names", ["authorization", "content-type,range", "Tus-Resumable, upload-offset ,if-match", "x"]
)
async def test_the_headers_that_are_asked_for_are_allowed(settings: Settings, names: str) -> None:
    async with serving(settings, PORTAL) as (service, _):
        said = await asked(service, preflight("/upload/a", PORTAL, "PUT", f"Access-Control-Request-Headers: {names}"))
        assert (said.status, said.headers["access-control-allow-headers"]) == (204, names)


@pytest.mark.parametrize("names", ["", "a b", "a,,b", "a, ", "a:b", "\xe4", "*, (x)"])
async def test_what_is_no_list_of_headers_is_not_given_back(settings: Settings, names: str) -> None:
    async with serving(settings, PORTAL) as (service, _):
        said = await asked(service, preflight("/upload/a", PORTAL, "PUT", f"Access-Control-Request-Headers: {names}"))
        assert said.status == 204
        assert "access-control-allow-headers" not in said.headers


async def test_errors_can_be_read_as_well(settings: Settings) -> None:
    async with serving(settings, PORTAL) as (_, client):
        object_id = await put(client)
        for method, path, headers, status, code in (
            ("GET", "/nothing", {}, 404, "route_not_found"),
            ("GET", f"{OBJECTS}/nothing", {}, 404, "object_not_found"),
            ("DELETE", "/livez", {}, 405, "method_not_allowed"),
            ("GET", f"/data/{object_id}", {"Range": "bytes=9-"}, 416, "range_not_satisfiable"),
            ("GET", "/livez", {"Host": "evil.example"}, 421, "host_unknown"),
        ):
            answer = await client.request(method, path, headers={"Origin": PORTAL, **headers})
            assert_refused(answer, status, code)
            assert_readable(answer, PORTAL)


async def test_an_options_that_is_no_preflight_is_drss_own(settings: Settings) -> None:
    async with serving(settings, PORTAL) as (service, client):
        object_id = await put(client)
        ways = {"drs_object_id": object_id, "supported_types": ["None"]}
        path = f"{OBJECTS}/{object_id}"
        answer = await client.options(path, headers={"Origin": PORTAL})
        assert (answer.status_code, answer.json()) == (200, ways)
        assert_readable(answer, PORTAL)
        answer = await client.options(path, headers={"Origin": EVIL})
        assert (answer.status_code, answer.json(), cors_of(answer)) == (200, ways, {})
        answer = await client.options(path, headers={"Access-Control-Request-Method": "GET"})
        assert (answer.status_code, answer.json(), cors_of(answer)) == (200, ways, {})
        answer = await client.request(
            "OPTIONS", OBJECTS, json={"bulk_object_ids": [object_id]}, headers={"Origin": PORTAL}
        )
        assert answer.json()["resolved_drs_object"] == [ways]
        # A page that wants to ask for authorizations asks first whether it may.
        assert (await asked(service, preflight(path, PORTAL, "OPTIONS"))).status == 204


@pytest.mark.parametrize(
    "origin",
    [
        *(EVIL, "null", "", "*", "http://portal.example", "https://portal.example:8443", "https://portal.example.evil"),
        *("https://PORTAL.example", "https://xportal.example", "http://127.0.0.1:9"),
    ],
)
async def test_a_page_that_is_not_listed_reads_nothing(settings: Settings, origin: str) -> None:
    async with serving(settings, PORTAL) as (service, client):
        object_id = await put(client)
        for path in PATHS:
            for method in ("GET", "POST"):
                said = await asked(service, preflight(path.format(id=object_id), origin, method))
                assert_refused(said, 403, "forbidden")
                assert (cors_of(said), vary_of(said)) == ({}, {"origin"})
        answer = await client.get(f"/data/{object_id}", headers={"Origin": origin})
        assert (answer.status_code, cors_of(answer), vary_of(answer)) == (200, {}, {"origin"})


async def test_a_page_that_is_not_listed_changes_nothing(settings: Settings) -> None:
    for origins in ((PORTAL,), ("*",), ("*", PORTAL)):
        async with serving(settings, *origins) as (_, client):
            for origin in (EVIL, "null", "*"):
                answer = await client.post("/upload", files={"file": ("a", b"a")}, headers={"Origin": origin})
                assert_refused(answer, 403, "forbidden")
                assert cors_of(answer).get("access-control-allow-origin") == ("*" if "*" in origins else None)


async def test_two_origins_are_none_that_is_listed(settings: Settings) -> None:
    async with serving(settings, PORTAL, OTHER) as (service, _):
        lines = (f"Origin: {PORTAL}", f"Origin: {OTHER}")
        said = await asked(service, request("GET", "/livez", *lines))
        assert (said.status, cors_of(said)) == (200, {})
        said = await asked(service, request("OPTIONS", "/livez", *lines, "Access-Control-Request-Method: GET"))
        assert_refused(said, 403, "forbidden")


async def test_any_page_reads_where_the_operator_says_so(settings: Settings) -> None:
    async with serving(settings, "*") as (service, client):
        object_id = await put(client)
        for origin in (EVIL, "null", "*"):
            said = await asked(service, preflight(f"/data/{object_id}", origin, "GET"))
            assert (said.status, said.headers["access-control-allow-origin"]) == (204, "*")
            assert said.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
        # A cache may give what it has kept for nobody to a page: so all answers are alike.
        for headers in ({"Origin": EVIL}, {}):
            assert_readable(await client.get(f"/data/{object_id}", headers=headers), "*")
            assert_readable(await client.get("/nothing", headers=headers), "*")


async def test_beside_a_star_those_listed_may_write(settings: Settings) -> None:
    async with serving(settings, "*", PORTAL) as (service, client):
        said = await asked(service, preflight("/upload/a", PORTAL, "PUT"))
        assert "PUT" in said.headers["access-control-allow-methods"]
        said = await asked(service, preflight("/upload/a", EVIL, "PUT"))
        assert "PUT" not in said.headers["access-control-allow-methods"]
        answer = await client.put("/upload/a", content=b"a", headers={"Origin": PORTAL})
        assert answer.status_code == 201
        assert_readable(answer, "*")


@pytest.mark.parametrize("origins", [("*",), (PORTAL,), ("*", PORTAL)])
async def test_a_name_that_was_made_to_lead_here_is_still_refused(settings: Settings, origins: tuple[str, ...]) -> None:
    async with serving(settings, *origins) as (_, client):
        for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": PORTAL}):
            answer = await client.get("/livez", headers={"Host": "evil.example", **headers})
            assert_refused(answer, 421, "host_unknown")


async def test_vary_is_one_field_and_keeps_what_was_in_it(settings: Settings) -> None:
    async with serving(settings, PORTAL) as (_, client):
        object_id = await put(client)
        assert (await client.get("/livez")).headers["vary"] == "Origin"
        # An answer that may be compressed varies already.
        answer = await client.post(OBJECTS, json={"bulk_object_ids": [object_id, *(f"none-{n}" for n in range(999))]})
        assert answer.headers.get_list("vary") == ["accept-encoding, Origin"]


async def test_what_is_no_http_passes_untouched() -> None:
    passed: list[tuple[object, ...]] = []

    async def app(*given: object) -> None:
        passed.append(given)

    scope: dict[str, Any] = {"type": "websocket", "headers": [(b"origin", EVIL.encode())]}

    async def channel(*_: object) -> Any:
        raise AssertionError

    given = (cast(Scope, scope), cast(Receive, channel), cast(Send, channel))
    await Cors(cast(ASGIApp, app), [PORTAL])(*given)
    assert len(passed) == 1
    assert all(one is other for one, other in zip(passed[0], given, strict=True))


async def test_a_page_may_read_whatever_an_upload_says(settings: Settings) -> None:
    always = {"access-control-allow-origin", "access-control-expose-headers", "vary", "date"}
    # What any page may read: https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name
    safe = {"cache-control", "content-length", "content-type"}
    tus, draft = {"Tus-Resumable": "1.0.0"}, {"Upload-Draft-Interop-Version": "8"}
    async with serving(settings, PORTAL) as (_, client):
        client.headers["Origin"] = PORTAL
        answers = [
            await client.options("/tus"),
            part := await client.post("/tus", headers=tus | {"Upload-Length": "0", "Upload-Concat": "partial"}),
            await client.head("/tus/" + part.headers["location"].rpartition("/")[2], headers=tus),
            later := await client.post("/tus", headers=tus | {"Upload-Defer-Length": "1"}),
            await client.head("/tus/" + later.headers["location"].rpartition("/")[2], headers=tus),
            await client.post("/tus", headers=draft | {"Upload-Complete": "?0"}),
            await client.post("/tus", content=b"a", headers=draft | {"Upload-Complete": "?1"}),
        ]
    for answer in answers:
        assert answer.is_success
        exposed = {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")}
        assert answer.headers.keys() - always - safe <= exposed
