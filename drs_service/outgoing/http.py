"""Questions and downloads of the service itself.

`Http` is for services that we chose: answers that are small and soon there. `StrangersHttp` is for URLs that anybody
may have stated: it connects to no address that is not public, whatever a name resolves to, wherever a redirect leads.
"""

import asyncio
import errno
import re
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import aiohttp
import msgspec
from yarl import URL

from drs_service.domain.addresses import Network, may_be_asked
from drs_service.errors import EncodingUnsupported, Forbidden, NotFound, Unavailable

Shape = TypeVar("Shape")

MIB = 1024**2
MAX_REDIRECTS = 5
CONNECTIONS_PER_HOST = 8  # a request that waits for one uses up its own time
READ_SIZE = 64 * 1024
CONNECT_SECONDS = 15
IDLE_SECONDS = 60  # for which a stranger may send nothing
AGENT = {"User-Agent": "drs-service"}
# What the connection and the client speak for themselves; and bytes are asked for as they are.
OWN_HEADERS = {
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


class Http:
    """Small talk. NotFound if the server says that there is nothing; Unavailable for all else that goes wrong."""

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

    async def post_json(self, url: str, body: bytes) -> None:
        """Hand over JSON; what is answered besides the status is left unread. The URL is nobody's else to know.

        Redirects are not followed.
        """
        said = str(URL(url).origin())
        with translating(said):
            asking = self._session.post(
                url, data=body, headers={"Content-Type": "application/json"}, allow_redirects=False
            )
            async with asking as response:
                if not 200 <= response.status < 300:
                    raise Unavailable(f"{said} answers {response.status}.")

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
        headers=AGENT,
    ) as session:
        yield Http(session, max_bytes=max_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Bytes that are coming."""

    length: int | None
    """How many there are, if the server says so."""
    delimited: bool
    """Whether their end can be told from a connection that broke."""
    pieces: AsyncIterator[bytes]
    """Unavailable if they break off."""


class StrangersHttp:
    """GET of bytes of any length."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @asynccontextmanager
    async def get(self, url: str, *, headers: Iterable[tuple[str, str]] = (), within: float) -> AsyncIterator[Answer]:
        """The answer of an http(s) URL, which the caller reads within so many seconds.

        headers go to the origin of the URL and to no other. Forbidden if the URL may not be asked, or does not let us;
        EncodingUnsupported if the answer is not the bytes as they are; Unavailable for everything else that goes wrong.
        """
        with translating(url):
            async with asyncio.timeout(within), AsyncExitStack() as stack:
                response = await follow(self._session, stack, url, headers)
                check_bytes(response)
                yield Answer(
                    length=response.content_length,
                    delimited=response.content_length is not None or "Transfer-Encoding" in response.headers,
                    pieces=response.content.iter_chunked(READ_SIZE),
                )


@asynccontextmanager
async def open_strangers_http(
    *, also: Sequence[Network] = (), connect_seconds: float = CONNECT_SECONDS, idle_seconds: float = IDLE_SECONDS
) -> AsyncIterator[StrangersHttp]:
    """A client that connects to public addresses only, and to those of also."""
    async with aiohttp.ClientSession(
        # Looked at where it is connected to: nothing that resolves a name again comes after this.
        connector=aiohttp.TCPConnector(limit=0, socket_factory=partial(public_socket, also)),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=idle_seconds),
        auto_decompress=False,
        headers={**AGENT, "Accept-Encoding": "identity"},
    ) as session:
        yield StrangersHttp(session)


async def follow(
    session: aiohttp.ClientSession,
    stack: AsyncExitStack,
    url: str,
    headers: Iterable[tuple[str, str]],
    *,
    ours: Sequence[tuple[str, str]] = (),
) -> aiohttp.ClientResponse:
    """The answer to a GET at the end of all redirects, each of which is looked at as if it had been stated.

    headers go to the origin of the URL and to no other, ours wherever it leads. Forbidden, Unavailable.
    """
    theirs = [(name, value) for name, value in headers if name.lower() not in OWN_HEADERS]
    at = readable(url)
    for _ in range(MAX_REDIRECTS + 1):
        try:
            asking = session.get(at, headers=[*theirs, *ours], allow_redirects=False)
            response = await stack.enter_async_context(asking)
        except aiohttp.InvalidURL as error:  # 127.1 and other ways of writing an address
            raise Forbidden(f"{at} is not a URL that can be asked.") from error
        except UnicodeError as error:  # a name that cannot be one, as `a..b`
            raise Unavailable(f"{at} cannot be asked: {error}") from error
        if response.status not in (301, 302, 303, 307, 308) or "Location" not in response.headers:
            return response
        to = readable(response.headers["Location"], base=at)
        if at.scheme == "https" and to.scheme != "https":
            raise Forbidden(f"{at} redirects from https to http.")
        if to.origin() != at.origin():
            theirs = []
        response.close()
        at = to
    raise Unavailable(f"{url} redirects more than {MAX_REDIRECTS} times.")


class AddressRefused(OSError):
    """An address that is not public."""


def public_socket(also: Sequence[Network], info: aiohttp.AddrInfoType) -> socket.socket:
    """A socket for an address that may be asked. AddressRefused."""
    family, kind, protocol, _, address = info
    if not may_be_asked(str(address[0]), also=also):
        # The same text for each: of several errors that differ the client makes a new one.
        raise AddressRefused(errno.EACCES, "the address is not public")
    return socket.socket(family, kind, protocol)


def readable(text: str, *, base: URL | None = None) -> URL:
    """A URL that may be asked, relative to base. Forbidden."""
    try:
        # As it was stated: some signatures do not survive another way of quoting.
        url = URL(text, encoded=re.fullmatch("[!-~]*", text) is not None)
        url = (base.join(url) if base is not None else url).with_fragment(None)
        _ = url.origin(), url.port  # ValueError unless it is absolute, and for a port that is none
    except ValueError as error:
        raise Forbidden(f"{text} is not a URL that can be asked: {error}") from error
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise Forbidden(f"{text} is not an http(s) URL.")
    if url.raw_user is not None or url.raw_password is not None:
        raise Forbidden("A URL with a password is not asked.")
    return url


def check_bytes(response: aiohttp.ClientResponse) -> None:
    if response.status in (401, 403, 407, 451):
        raise Forbidden(f"{response.url} answers {response.status}: it wants credentials, or lets nobody.")
    if response.status != 200:
        raise Unavailable(f"{response.url} answers {response.status}.")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise EncodingUnsupported(f"{response.url} answers in the encoding {encoding}, which was not asked for.")


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
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, AddressRefused):
            raise Forbidden(f"{url} may not be asked: {error.os_error.strerror}.") from error
        raise Unavailable(f"{url} does not answer: {error}") from error
    except aiohttp.ClientError as error:
        raise Unavailable(f"{url} does not answer: {error}") from error
