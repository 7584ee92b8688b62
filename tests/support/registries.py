"""A server on a free port that plays identifiers.org and n2t.net, answering as they do."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

IDENTIFIERS_ORG = "/restApi"
OBJECTS = "/ga4gh/drs/v1/objects/"


def resource(template: str, provider: str = "one", *, official: bool = False, deprecated: bool = False) -> object:
    return {
        "mirId": "MIR:00000001",
        "urlPattern": template,
        "name": "A provider",
        "official": official,
        "providerCode": provider,
        "deprecated": deprecated,
        "_links": {"self": {"href": "https://registry.example/restApi/resources/7"}},
    }


class Registries:
    """What both know, and what they were asked. Set `instead` to have every request answered otherwise."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.identifiers_org: dict[str, list[object]] = {}
        self.n2t_text: dict[str, str] = {}
        self.n2t_json: dict[str, str] = {}
        self.instead: Handler | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if self.instead is not None:
            return await self.instead(request)
        if request.path == f"{IDENTIFIERS_ORG}/namespaces/search/findByPrefix":
            return self.find_by_prefix(request.query["prefix"])
        if request.path == f"{IDENTIFIERS_ORG}/resources/search/findAllByNamespaceId":
            return self.find_all(int(request.query["id"]))
        return self.n2t(request.path.removeprefix("/"))

    def find_by_prefix(self, prefix: str) -> web.Response:
        # Spring Data REST: nothing in the body of a 404, and templates among the links.
        if prefix not in self.identifiers_org:
            return web.Response(status=404)
        number = 1000 + list(self.identifiers_org).index(prefix)
        href = f"https://registry.example/restApi/namespaces/{number}"
        links = {"self": {"href": href}, "namespace": {"href": href}, "resources": {"href": f"{href}/resources"}}
        return web.json_response({"prefix": prefix, "pattern": "^.*$", "_links": links})

    def find_all(self, number: int) -> web.Response:
        resources = list(self.identifiers_org.values())[number - 1000]
        return web.json_response({"_embedded": {"resources": resources}, "_links": {}})

    def n2t(self, path: str) -> web.Response:
        if path in self.n2t_text:
            return web.Response(text=self.n2t_text[path])
        if path in self.n2t_json:
            raise web.HTTPFound(f"/.info/{path}")
        if path.startswith(".info/"):
            pid = path.removeprefix(".info/")
            target = self.n2t_json[pid]
            definition = {"uniq": pid, "scheme": pid.removesuffix(":"), "prefix": None, "target": target}
            return web.json_response({"pid": pid, "target": target, "definition": definition})
        return web.json_response({"error": f"No match was found for {path}"}, status=404)


@asynccontextmanager
async def registries(tls: ssl.SSLContext | None = None) -> AsyncIterator[Registries]:
    served = Registries()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", served.answer)
    # Handlers that never end are part of the tests.
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        served.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        yield served
    finally:
        await runner.cleanup()


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def drip(request: web.Request) -> web.StreamResponse:
    """A byte now and then, for ever."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def flood(request: web.Request) -> web.StreamResponse:
    """More than anybody wants, for ever."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)
