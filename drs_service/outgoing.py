"""HTTP that goes out: the one place that knows the client. Only for answers that are small and soon there."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import aiohttp
import msgspec

from drs_service.errors import NotFound, Unavailable

Shape = TypeVar("Shape")

MIB = 1024**2
MAX_REDIRECTS = 5
CONNECTIONS_PER_HOST = 8  # a request that waits for one uses up its own time
READ_SIZE = 64 * 1024


class Http:
    """GET. NotFound if the server says that there is nothing; Unavailable for everything else that goes wrong."""

    def __init__(self, session: aiohttp.ClientSession, *, max_bytes: int) -> None:
        self._session = session
        self._max_bytes = max_bytes

    async def get_text(self, url: str) -> str:
        """The answer as UTF-8."""
        body = await self._get(url)
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise Unavailable(f"The answer of {url} is not UTF-8.") from error

    async def get_json(self, url: str, shape: type[Shape]) -> Shape:
        """The answer as JSON of this shape; what else is in it is left out."""
        return decoded(await self._get(url), shape, url=url)

    async def _get(self, url: str) -> bytes:
        if not url.startswith(("http://", "https://")):
            raise Unavailable(f"{url} is not an http(s) URL.")
        body = bytearray()
        with translating(url):
            async with self._session.get(url, max_redirects=MAX_REDIRECTS) as response:
                check(response)
                async for chunk in response.content.iter_chunked(READ_SIZE):
                    body += chunk
                    if len(body) > self._max_bytes:
                        raise Unavailable(f"The answer of {url} is larger than {self._max_bytes} bytes.")
        return bytes(body)


@asynccontextmanager
async def open_http(*, timeout_seconds: float = 10, max_bytes: int = MIB) -> AsyncIterator[Http]:
    """A client that gives up an answer after timeout_seconds, redirects and all, or after max_bytes decompressed."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit_per_host=CONNECTIONS_PER_HOST),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        headers={"User-Agent": "drs-service"},
    ) as session:
        yield Http(session, max_bytes=max_bytes)


def decoded(body: bytes | str, shape: type[Shape], *, url: str) -> Shape:
    """Unavailable if body is not JSON of this shape."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unavailable(f"The answer of {url} is not the JSON that was expected: {error}") from error


def check(response: aiohttp.ClientResponse) -> None:
    asked = (*response.history, response)[0].url
    # The client itself follows nothing but http(s).
    if asked.scheme == "https" and any(hop.url.scheme != "https" for hop in (*response.history, response)):
        raise Unavailable(f"{asked} redirects from https to http.")
    if response.status in (404, 410):
        raise NotFound(f"There is nothing at {asked}.")
    if response.status != 200:
        raise Unavailable(f"{asked} answers {response.status}.")


@contextmanager
def translating(url: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"{url} takes too long to answer.") from error
    except aiohttp.ClientError as error:
        raise Unavailable(f"{url} does not answer: {error}") from error
