"""Files on their way out and in, for whoever named the servers: of any length, and however slow."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp

from drs_service.errors import Unavailable
from drs_service.outgoing.http import AGENT, CONNECT_SECONDS, follow, readable, translating

MIB = 1024**2
IDLE_SECONDS = 120  # for which nothing may move
ANSWER_SECONDS = 600  # for which a server may think about all that it was sent
MAX_BODY = 256 * MIB  # of an answer that is read whole: a bundle of 100,000 members has some 20 MB

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer, whatever its status."""

    url: str
    status: int
    headers: Mapping[str, str]
    """By name in any case."""
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An answer whose body is coming."""

    url: str
    status: int
    headers: Mapping[str, str]
    """By name in any case."""
    pieces: AsyncIterator[bytes]
    """Unavailable if they break off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A secret that is shown to whatever is below a URL, and to nothing else."""

    url: str
    """Without a slash at its end."""
    secret: str

    def fits(self, url: str) -> bool:
        return url.startswith((f"{self.url}/", f"{self.url}?")) or url == self.url


class Transfers:
    """Every method raises Unavailable if there is no answer, and Forbidden for what is not a URL that can be asked."""

    def __init__(self, session: aiohttp.ClientSession, opening: Opening | None) -> None:
        self._session = session
        self._opening = opening

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | AsyncIterable[Buffer] | None = None
    ) -> Reply:
        """The answer of this URL itself: redirects are not followed. What body raises is raised."""
        failure: Exception | None = None

        async def watched(pieces: AsyncIterable[Buffer]) -> AsyncIterator[Buffer]:
            nonlocal failure
            try:
                async for piece in pieces:
                    idle.reschedule(loop.time() + IDLE_SECONDS)
                    yield piece
            except Exception as error:
                failure = error
                raise
            idle.reschedule(loop.time() + ANSWER_SECONDS)

        loop = asyncio.get_running_loop()
        data = body if body is None or isinstance(body, bytes) else watched(body)
        try:
            with translating(url):
                async with (
                    asyncio.timeout(ANSWER_SECONDS if isinstance(body, bytes) else IDLE_SECONDS) as idle,
                    self._session.request(
                        method,
                        readable(url),
                        headers=self._shown(url, headers.items()),
                        data=data,
                        allow_redirects=False,
                    ) as response,
                ):
                    content = await response.read()
        except Unavailable:
            # The client takes an error of the body for one of the connection.
            if failure is not None:
                raise failure from None
            raise
        return Reply(url=url, status=response.status, headers=response.headers, body=content)

    async def get(self, url: str) -> Reply:
        """The answer at the end of all redirects, read whole."""
        body = bytearray()
        async with self.fetch(url) as incoming:
            async for piece in incoming.pieces:
                body += piece
                if len(body) > MAX_BODY:
                    raise Unavailable(f"The answer of {url} is larger than {MAX_BODY} bytes.")
        return Reply(url=incoming.url, status=incoming.status, headers=incoming.headers, body=bytes(body))

    @asynccontextmanager
    async def fetch(
        self, url: str, *, headers: Iterable[tuple[str, str]] = (), ours: Sequence[tuple[str, str]] = ()
    ) -> AsyncIterator[Incoming]:
        """The answer at the end of all redirects. headers go to the origin of the URL and to no other."""
        with translating(url):
            async with AsyncExitStack() as stack:
                response = await follow(self._session, stack, url, self._shown(url, headers), ours=ours)
                yield Incoming(
                    url=str(response.url),
                    status=response.status,
                    headers=response.headers,
                    pieces=response.content.iter_any(),
                )

    def _shown(self, url: str, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The headers, and what opens the URL."""
        opening = self._opening
        if opening is None or not opening.fits(url):
            return list(headers)
        theirs = [(name, value) for name, value in headers if name.lower() != "authorization"]
        return [*theirs, ("Authorization", f"Bearer {opening.secret}")]


@asynccontextmanager
async def open_transfers(opening: Opening | None = None) -> AsyncIterator[Transfers]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=IDLE_SECONDS),
        auto_decompress=False,
        read_bufsize=MIB,
        headers={**AGENT, "Accept-Encoding": "identity"},
    ) as session:
        yield Transfers(session, opening)
