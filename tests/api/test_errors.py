"""Everything that goes wrong is said in DRS's `Error`, with a status and a stable code."""

from collections.abc import Iterator

import httpx
import pytest

from drs_service.api.errors import status_of
from drs_service.errors import DrsServiceError
from tests.api.schemas import assert_refused
from tests.api.test_objects import put
from tests.support.raw_http import asked, connected, request
from tests.support.server import Service

METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "REPORT"}
ROUTES = {
    "/data/{id}": {"GET", "HEAD"},
    "/ga4gh/drs/v1/objects": {"GET", "HEAD", "POST"},
    "/ga4gh/drs/v1/objects/access": {"POST"},
    "/ga4gh/drs/v1/objects/access-methods": {"PUT"},
    "/ga4gh/drs/v1/objects/checksum/00": {"GET", "HEAD"},
    "/ga4gh/drs/v1/objects/checksums": {"PUT"},
    "/ga4gh/drs/v1/objects/delete": {"PUT"},
    "/ga4gh/drs/v1/objects/register": {"POST"},
    "/ga4gh/drs/v1/objects/{id}": {"GET", "HEAD", "POST"},
    "/ga4gh/drs/v1/objects/{id}/access/https": {"GET", "HEAD", "POST"},
    "/ga4gh/drs/v1/objects/{id}/access-methods": {"PUT"},
    "/ga4gh/drs/v1/objects/{id}/checksums": {"PUT"},
    "/ga4gh/drs/v1/objects/{id}/delete": {"PUT"},
    "/ga4gh/drs/v1/objects/{id}/tags": {"POST"},
    "/ga4gh/drs/v1/service-info": {"GET", "HEAD"},
    "/ga4gh/drs/v1/upload-request": {"POST"},
    "/jobs": {"GET", "HEAD"},
    "/livez": {"GET", "HEAD"},
    "/metrics": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
    "/sessions": {"GET", "HEAD", "POST"},
    "/sessions/a": {"DELETE", "GET", "HEAD"},
    "/sessions/a/enter": {"GET"},
    "/sessions/a/events": {"GET"},
    "/sessions/a/links": {"POST"},
    "/tus": {"POST"},
    "/tus/a": {"DELETE", "HEAD", "PATCH", "POST"},
    "/upload": {"POST"},
    "/upload/a": {"PUT"},
    "/uploads": {"GET", "HEAD"},
    "/uploads/a": {"GET", "HEAD", "POST", "PUT"},
}
# Where OPTIONS is DRS's: it tells of authorizations.
AUTHORIZATIONS = {"/ga4gh/drs/v1/objects", "/ga4gh/drs/v1/objects/{id}"}


def tree(error: type[DrsServiceError] = DrsServiceError) -> Iterator[type[DrsServiceError]]:
    yield error
    for child in error.__subclasses__():
        yield from tree(child)


LEAVES = [error for error in tree() if not error.__subclasses__()]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [error.code for error in tree()]
    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("error", LEAVES)
def test_no_error_that_we_know_is_called_our_mistake(error: type[DrsServiceError]) -> None:
    assert status_of(error) in {
        202,
        400,
        401,
        403,
        404,
        406,
        *range(408, 417),
        421,
        422,
        423,
        429,
        431,
        460,
        *range(502, 505),
        507,
    }
    # Only what may go away is worth trying again, and that is never the client's fault, or that it was hasty.
    assert not error.retryable or status_of(error) >= 500 or status_of(error) in {202, 423, 429}


@pytest.mark.parametrize("error", LEAVES)
def test_every_error_has_a_message(error: type[DrsServiceError]) -> None:
    assert str(error()).endswith((".", "migrate", "--upgrade drs-service"))


async def test_a_method_that_a_route_does_not_have_is_refused_with_those_it_has(
    service: Service, client: httpx.AsyncClient
) -> None:
    object_id = await put(client)
    for route, methods in ROUTES.items():
        path = route.format(id=object_id)
        for method in METHODS - methods:
            async with connected(service) as connection:
                await connection.send(request(method, path, "Content-Length: 0"))
                answer = await (connection.head() if method == "HEAD" else connection.answer())
            assert answer.status == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) == methods | {"OPTIONS"}
            if method != "HEAD":
                assert_refused(answer, 405, "method_not_allowed")


async def test_options_say_what_a_route_has(client: httpx.AsyncClient) -> None:
    object_id = await put(client)
    for route in ROUTES.keys() - AUTHORIZATIONS:
        answer = await client.options(route.format(id=object_id))
        assert (answer.status_code, answer.content) == (204, b"")
        assert "OPTIONS" in answer.headers["allow"]


async def test_a_route_that_is_not_there_is_not_found(service: Service) -> None:
    paths = ("/", "/nothing", "/ga4gh/drs/v2/service-info", "/data", "/%00", "//", "/\\", "/%ff")
    for path in (*paths, "/" + "x" * 10_000):
        for method in ("GET", "POST", "OPTIONS", "DELETE"):
            answer = await asked(service, request(method, path, "Content-Length: 0"))
            assert_refused(answer, 404, "route_not_found")


async def test_what_is_not_http_is_refused_as_everything_is(service: Service) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # what a client says that expects TLS
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"FETCH /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        request("GET", "/livez", "No colon"),
        request("GET", "/livez", "Null: \x00"),
        request("PUT", "/upload/a", "Content-Length: -1"),
        request("PUT", "/upload/a", "Content-Length: +1"),
        request("PUT", "/upload/a", "Content-Length: 1", "Content-Length: 2"),
        request("PUT", "/upload/a", f"Content-Length: {2**64}"),
        # Two ways to say where the body ends are how requests are smuggled.
        request("PUT", "/upload/a", "Content-Length: 1", "Transfer-Encoding: chunked"),
        request("PUT", "/upload/a", "Transfer-Encoding: chunked, gzip"),
    ):
        async with connected(service) as connection:
            await connection.send(garbage)
            answer = await connection.answer()
            assert_refused(answer, 400, "bad_request")
            assert answer.headers["connection"] == "close"
            assert await connection.rest() == b""


async def test_a_host_that_cannot_be_is_refused(service: Service) -> None:
    answer = await asked(service, b"GET /livez HTTP/1.1\r\nHost: a b/c\r\n\r\n")
    assert_refused(answer, 421, "host_unknown")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:80", "drs.example.org", "127.9.9.9"]
)
async def test_a_request_for_a_host_of_ours_is_answered(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/livez", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "192.0.2.1", "drs.example.org.evil", ""])
async def test_a_name_that_was_made_to_lead_here_is_not(client: httpx.AsyncClient, host: str) -> None:
    """DNS rebinding: a page of evil.example, whose name now resolves to 127.0.0.1, must not read what is here."""
    answer = await client.get("/ga4gh/drs/v1/service-info", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "host_unknown")


async def test_a_page_of_another_origin_changes_nothing(client: httpx.AsyncClient) -> None:
    form = {"file": ("a.txt", b"a")}
    for origin in ("https://evil.example", "null", "https://evil.example:8000", "https://[", "*", ""):
        answer = await client.post("/upload", files=form, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await client.post("/upload", files=form, headers={"Origin": "https://drs.example.org"})).status_code == 201


async def test_no_error_is_kept_by_a_cache(client: httpx.AsyncClient) -> None:
    for path in ("/nothing", "/data/nothing", "/ga4gh/drs/v1/objects/nothing"):
        assert (await client.get(path)).headers["cache-control"] == "no-store"


async def test_what_is_not_valid_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/ga4gh/drs/v1/objects", json={"bulk_object_ids": "a"})
    assert_refused(answer, 400, "bad_request")
    assert "bulk_object_ids" in answer.json()["msg"]


async def test_a_slash_that_is_encoded_is_no_border_of_a_path(service: Service, client: httpx.AsyncClient) -> None:
    object_id = await put(client)
    for path in (f"objects/{object_id}%2Fdelete", f"objects/{object_id}%2ftags", "objects/%2F", "%2Fobjects"):
        for method in ("GET", "PUT", "POST"):
            answer = await asked(service, request(method, f"/ga4gh/drs/v1/{path}", "Content-Length: 0"))
            assert_refused(answer, 404, "route_not_found")
    assert (await client.get(f"/ga4gh/drs/v1/objects/{object_id}")).status_code == 200


@pytest.mark.parametrize("path", ["/sessions", "/ga4gh/drs/v1/objects"])
async def test_that_there_is_no_body_is_said(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "no body" in answer.json()["msg"]


async def test_a_body_of_too_many_values_is_refused(client: httpx.AsyncClient) -> None:
    body = b'{"candidates": [' + b"[]," * 1_000_000 + b"[]]}"
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/ga4gh/drs/v1/objects/register", content=body, headers=headers)
    assert_refused(answer, 413, "too_many")
    answer = await client.post("/ga4gh/drs/v1/objects", content=body, headers=headers)
    assert answer.status_code == 413
