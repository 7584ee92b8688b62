"""A server on a free port that keeps bytes which are not ours, and gives them out well or badly."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tests.support.registries import Handler


class Elsewhere:
    """What it keeps by path, as bytes or as a handler, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.kept: dict[str, bytes | Handler] = {}
        self.asked: list[web.BaseRequest] = []

    def at(self, path: str) -> str:
        return self.url + path

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.asked]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        kept = self.kept.get(request.path)
        if kept is None:
            return web.Response(status=404)
        return web.Response(body=kept) if isinstance(kept, bytes) else await kept(request)


@asynccontextmanager
async def elsewhere(tls: ssl.SSLContext | None = None) -> AsyncIterator[Elsewhere]:
    served = Elsewhere()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", served.answer)
    # Handlers that never end are part of the tests.
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        served.port = runner.addresses[0][1]
        served.url = f"{'https' if tls else 'http'}://127.0.0.1:{served.port}"
        yield served
    finally:
        await runner.cleanup()


def redirect(to: str, status: int = 302) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": to, "Set-Cookie": "seen=1; Path=/"})

    return handler


def failing(times: int, then: bytes, status: int = 500) -> Handler:
    """An error for the first times, then the bytes."""
    left = times

    async def handler(_: web.Request) -> web.StreamResponse:
        nonlocal left
        left -= 1
        return web.Response(status=status) if left >= 0 else web.Response(body=then)

    return handler


def cut(content: bytes, *, said: int | None) -> Handler:
    """The content, and then the connection ends. said: the length that was promised; None promises none at all."""

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        length = f"Content-Length: {said}\r\n" if said is not None else ""
        request.transport.write(f"HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n".encode() + content)
        request.transport.close()
        return web.Response()

    return handler


class Held:
    """Gives the first bytes, and the others once it is let go."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.began = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(self._content)
        await response.prepare(request)
        await response.write(self._content[:1])
        self.began.set()
        await self.let_go.wait()
        await response.write(self._content[1:])
        return response
