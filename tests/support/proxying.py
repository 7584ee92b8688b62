"""An HTTP proxy in front of a real server: it passes requests on as they are, or answers in its place."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def asked(
    session: aiohttp.ClientSession, server_url: str, request: web.Request
) -> AsyncIterator[tuple[aiohttp.ClientResponse, dict[str, str]]]:
    """The server's answer to a request, and the headers of it that go further."""
    # The Host too: it is signed.
    headers = {name: said for name, said in request.headers.items() if name.lower() not in HOP_BY_HOP}
    async with session.request(
        request.method,
        URL(server_url + request.raw_path, encoded=True),
        headers=headers,
        data=request.content if request.can_read_body else None,
        skip_auto_headers=("Content-Type", "Accept-Encoding", "User-Agent", "Accept"),
        allow_redirects=False,
    ) as answer:
        yield answer, {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}


async def streamed(request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]) -> web.StreamResponse:
    """The answer, piece by piece, under these headers."""
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    return response


def refused(status: int, code: str, message: str) -> web.Response:
    """As S3 does it."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return web.Response(status=status, text=body, content_type="application/xml")


@asynccontextmanager
async def proxying(made: Callable[[aiohttp.ClientSession], Handler]) -> AsyncIterator[str]:
    """The URL under which a handler answers, which is made for a session."""
    async with aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=60)) as session:
        application = web.Application(client_max_size=1024**3)
        application.router.add_route("*", "/{path:.*}", made(session))
        runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
