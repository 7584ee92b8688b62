"""Requests to the object stores that speak plain HTTP: bounded in number and time, and tried again here alone."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import quote

import aiohttp
from yarl import URL

from drs_service.blobs.driver import Buffer
from drs_service.blobs.proxies import proxy_of
from drs_service.blobs.spans import check_given
from drs_service.errors import BlobCorrupt, StorageFull, StorageUnavailable

CONNECTIONS = 512  # a slow reader holds one for long
CONNECT_TIMEOUT = 2  # seconds
READ_TIMEOUT = 60
ATTEMPTS = 3  # of what may succeed later
PAUSE = 0.1  # seconds, twice as many before each attempt
WORTH_AGAIN = {408, 429, 500, 502, 503, 504}
READ_SIZE = 1024**2
WRITE_SIZE = 256 * 1024
MOST_SAID = 64 * 1024  # bytes of an error that are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Sequence[bytes] = ()
    """In pieces, so that a part need not be copied to have something before it."""

    @property
    def size(self) -> int:
        return sum(map(len, self.body))

    def with_headers(self, **more: str) -> "Request":
        return replace(self, headers={**self.headers, **{name.replace("_", "-"): said for name, said in more.items()}})


@dataclass(frozen=True, slots=True)
class Answer:
    headers: Mapping[str, str]
    body: bytes


class Refusal(Exception):
    """An answer that says no."""

    def __init__(self, status: int, code: str, said: str) -> None:
        super().__init__(f"{status} {code}: {said}" if said else f"{status} {code}")
        self.status = status
        self.code = code


Sign = Callable[[Request], Awaitable[Request]]
"""Makes a request one that the store takes from us. Asked before each attempt."""
CodeIn = Callable[[Mapping[str, str], bytes], str]
"""What the store calls the error, from the headers and the body of an answer."""


class CloudHttp:
    """Errors are `StorageUnavailable`; what the store has said of them, if anything, `refusal` tells."""

    def __init__(self, sign: Sign, code_in: CodeIn, *, attempts: int = ATTEMPTS) -> None:
        self._sign = sign
        self._attempts = attempts
        self._code_in = code_in
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[URL, str | None] = {}
        """By origin: to look through the environment costs as much as to sign a request."""

    async def ask(self, request: Request) -> Answer:
        response = await self.answered(request)
        async with response:
            with translated():
                return Answer(response.headers, await response.read())

    async def read(
        self, request: Request, name: str, start: int, end: int, *, tag: tuple[str, str] | None = None
    ) -> AsyncGenerator[Buffer, None]:
        """The bytes [start, end) as one answer gives them, which goes on when the object is deleted meanwhile.

        tag: a header of the answer, and what it must say.
        """
        request = request.with_headers(Range=f"bytes={start}-{end - 1}")
        try:
            response = await self.answered(request)
        except StorageUnavailable as error:
            if refusal(error).status == 416:
                raise BlobCorrupt(key=name, ends=start) from error
            raise
        try:
            if tag is not None and response.headers.get(tag[0], "").strip('"') != tag[1]:
                raise BlobCorrupt(key=name, tag=response.headers.get(tag[0]))
            content_range, length = (response.headers.get(header) for header in ("Content-Range", "Content-Length"))
            check_given(name, start, end, content_range=content_range, length=length)
            while start < end:
                with translated():
                    piece = await response.content.read(min(READ_SIZE, end - start))
                if not piece:
                    raise BlobCorrupt(key=name, ends=start)
                yield piece
                start += len(piece)
        finally:
            if start < end:
                response.close()  # what is still to come is not waited for
            response.release()

    async def answered(self, request: Request) -> aiohttp.ClientResponse:
        """An answer that says yes, of which the body is still to come."""
        attempt = 1
        while True:
            try:
                return await self._sent(await self._sign(request))
            except StorageUnavailable as error:
                said = refusal(error)
                if attempt == self._attempts or said.status not in {0, *WORTH_AGAIN}:
                    raise
            await asyncio.sleep(random.uniform(0.5, 1) * PAUSE * 2**attempt)  # noqa: S311  # a pause is no secret
            attempt += 1

    async def _sent(self, request: Request) -> aiohttp.ClientResponse:
        url = URL(with_query(request.url, request.query), encoded=True)
        with translated():
            response = await self._opened().request(
                request.method,
                url,
                proxy=self._proxy_of(url),
                headers={"Accept-Encoding": "identity", "Content-Length": str(request.size), **request.headers},
                data=flowing(request.body) if request.size else None,
                skip_auto_headers=("Content-Type",),
                allow_redirects=False,
            )
            if response.status < 300:
                return response
            async with response:
                said = await response.content.read(MOST_SAID)
            raise Refusal(response.status, self._code_in(response.headers, said), said.decode(errors="replace")[:500])

    def _proxy_of(self, url: URL) -> str | None:
        origin = url.origin()
        if origin not in self._proxies:
            self._proxies[origin] = proxy_of(str(origin))
        return self._proxies[origin]

    def _opened(self) -> aiohttp.ClientSession:
        # On first use, because a session belongs to the event loop that runs then.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class Body:
    """Of an answer, piece by piece."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def read(self, size: int) -> bytes:
        return await self._response.content.read(size)

    def close(self) -> None:
        if not self._response.content.at_eof():
            self._response.close()  # what is still to come is not waited for
        self._response.release()


@contextmanager
def translated() -> Iterator[None]:
    """Every error of the connection, and every refusal, as one of ours."""
    try:
        yield
    except Refusal as said:
        if said.status in {413, 507}:
            raise StorageFull(reason=str(said)) from said
        is_ours = said.status // 100 in {3, 4}
        message = f"The storage refuses what it is asked: {said.code or said.status}." if is_ours else None
        refused = is_ours and said.status not in WORTH_AGAIN
        raise StorageUnavailable(message, reason=str(said), refused=refused) from said
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise StorageUnavailable(reason=str(error) or type(error).__name__) from error


def refusal(error: StorageUnavailable) -> Refusal:
    """What the store has said; of status 0 if it did not come to that."""
    return error.__cause__ if isinstance(error.__cause__, Refusal) else Refusal(0, "", "")


async def flowing(pieces: Sequence[bytes]) -> AsyncIterator[memoryview]:
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), WRITE_SIZE):
            yield view[start : start + WRITE_SIZE]


def with_query(url: str, query: Mapping[str, str]) -> str:
    said = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    return f"{url}?{said}" if said else url
