"""`/schema`: what the API says of itself."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import httpx

from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.support.server import running

ROUTES = {
    "/data/{object_id}": {"get", "head"},
    "/ga4gh/drs/v1/objects": {"get", "head", "options", "post"},
    "/ga4gh/drs/v1/objects/access": {"post"},
    "/ga4gh/drs/v1/objects/access-methods": {"put"},
    "/ga4gh/drs/v1/objects/checksum/{checksum}": {"get", "head"},
    "/ga4gh/drs/v1/objects/checksums": {"put"},
    "/ga4gh/drs/v1/objects/delete": {"put"},
    "/ga4gh/drs/v1/objects/register": {"post"},
    "/ga4gh/drs/v1/objects/{object_id}": {"get", "head", "options", "post"},
    "/ga4gh/drs/v1/objects/{object_id}/access/{access_id}": {"get", "head", "post"},
    "/ga4gh/drs/v1/objects/{object_id}/access-methods": {"put"},
    "/ga4gh/drs/v1/objects/{object_id}/checksums": {"put"},
    "/ga4gh/drs/v1/objects/{object_id}/delete": {"put"},
    "/ga4gh/drs/v1/objects/{object_id}/tags": {"post"},
    "/ga4gh/drs/v1/service-info": {"get", "head"},
    "/ga4gh/drs/v1/upload-request": {"post"},
    "/jobs": {"get", "head"},
    "/livez": {"get", "head"},
    "/metrics": {"get", "head"},
    "/readyz": {"get", "head"},
    "/sessions": {"get", "head", "post"},
    "/sessions/{session_id}": {"delete", "get", "head"},
    "/sessions/{session_id}/enter": {"get"},
    "/sessions/{session_id}/events": {"get"},
    "/sessions/{session_id}/links": {"post"},
    "/tus": {"options", "post"},
    "/tus/{upload_id}": {"delete", "head", "options", "patch", "post"},
    "/upload": {"post"},
    "/upload/{name}": {"put"},
    "/uploads": {"get", "head"},
    "/uploads/{upload_id}": {"get", "head", "post", "put"},
}


class Page(HTMLParser):
    """The text of a page, and every attribute that names something to load or to follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [text or "" for name, text in attrs if name in {"src", "href", "action", "data", "srcset"}]

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_can_be_read_and_loads_nothing(client: httpx.AsyncClient) -> None:
    for path in ("/schema", "/schema/"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        page = Page(answer.text)
        assert page.references == ["/schema/openapi.json"]
        assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
        assert not re.search(r"https?:|@import|url\(", answer.text)
        for route, methods in ROUTES.items():
            assert all(f"{method.upper()} {route}" in page.text for method in methods)


async def test_below_a_path_it_leads_to_what_is_below_that(settings: Settings) -> None:
    async with (
        running(replace(settings, public_url="https://drs.example.org/below/")) as service,
        httpx.AsyncClient(base_url=service.url) as client,
    ):
        assert Page((await client.get("/schema")).text).references == ["/below/schema/openapi.json"]
        assert (await client.get("/schema/openapi.json")).json()["servers"] == [{"url": "/below"}]


async def test_the_document_lists_every_route(client: httpx.AsyncClient) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1.")
    assert {path: set(methods) for path, methods in document["paths"].items()} == ROUTES
    assert all(operation["summary"] for methods in document["paths"].values() for operation in methods.values())


async def test_what_may_be_tried_again_says_when(client: httpx.AsyncClient) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            answers = operation["responses"]
            assert ("503" in answers) == (path != "/livez")
            assert all(answers[status]["headers"]["Retry-After"] for status in answers.keys() & {"423", "429", "503"})


async def test_what_the_document_refers_to_is_in_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/schema/openapi.json")
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', answer.text)):
        assert name in answer.json()["components"]["schemas"]


async def test_nothing_else_is_there(client: httpx.AsyncClient) -> None:
    for path in ("/schema/swagger", "/schema/redoc", "/schema/openapi.yaml", "/schema/other.json", "/schema/a/b"):
        assert_refused(await client.get(path), 404, "route_not_found")
