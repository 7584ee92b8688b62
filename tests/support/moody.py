"""A real S3 server behind a proxy that refuses what it is told to refuse."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tests.support.proxying import Handler, asked, proxying, refused, streamed
from tests.support.s3 import S3Server


class Moody:
    def __init__(self, server: S3Server) -> None:
        self.url = ""
        self.refusal = 503, "SlowDown"
        """The status and the code that S3 says."""
        self.refuses: Callable[[web.Request], bool] = lambda _: False
        self.refused: Counter[str] = Counter()
        """How often, by method and path."""
        self._server = server

    def answering(self, session: aiohttp.ClientSession) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            if self.refuses(request):
                self.refused[f"{request.method} {request.path_qs}"] += 1
                await request.read()
                status, code = self.refusal
                return refused(status, code, "so it was told")
            async with asked(session, self._server.url, request) as (said, headers):
                return await streamed(request, said, headers)

        return answer


@asynccontextmanager
async def moody(server: S3Server) -> AsyncIterator[Moody]:
    made = Moody(server)
    async with proxying(made.answering) as made.url:
        yield made
