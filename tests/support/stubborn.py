"""A client that does not give up: whatever happens to a request, it asks how far it has come and goes on, anywhere."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import httpx

from tests.support.tus import CHUNK, VERSION

PIECE = 64 * 1024
RETRY = 0.02  # seconds
PATIENCE = 60.0
# What a service says that cannot do better just now; when to come again has to be said with it.
LATER = {423, 503, 507}


@dataclass(frozen=True, slots=True)
class Tongue:
    """How a protocol of resumable uploads says it, in headers."""

    begin: Callable[[int], dict[str, str]]
    ask: dict[str, str]
    send: Callable[[int, bool], dict[str, str]]
    """To go on at this offset, and whether nothing comes behind it."""


TUS = Tongue(
    begin=lambda size: {**VERSION, "Upload-Length": str(size)},
    ask=VERSION,
    send=lambda offset, _: {**VERSION, **CHUNK, "Upload-Offset": str(offset)},
)
DRAFT = Tongue(
    begin=lambda size: {"Upload-Complete": "?0", "Upload-Length": str(size)},
    ask={"Upload-Draft-Interop-Version": "8"},
    send=lambda offset, last: {
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(offset),
        "Upload-Complete": "?1" if last else "?0",
    },
)


class Cut(Exception):
    """The client has hung up on purpose."""


@dataclass(slots=True)
class Stubborn:
    """Asks any of the nodes each time, which may become others, and cuts so many of its own requests short."""

    client: httpx.AsyncClient
    nodes: list[str]
    random: random.Random
    cuts: float = 0.0
    answered: Counter[int] = field(default_factory=Counter)
    """How often each status has come; 0 is a connection that was lost."""

    async def upload(self, tongue: Tongue, content: bytes) -> str:
        """The path of the object that content became. AssertionError if a byte is lost that was acknowledged."""
        begun = await self.answer("POST", "/tus", tongue.begin(len(content)))
        return await self._go_on(tongue, path_in(begun, "location"), content) or ""

    async def joined(self, content: bytes) -> str:
        """The path of the object that content became, sent in three parts at once."""
        third = len(content) // 3
        parts = content[:third], content[third : 2 * third], content[2 * third :]
        paths = await asyncio.gather(*map(self._part, parts))
        final = {**VERSION, "Upload-Concat": f"final;{' '.join(paths)}"}
        return path_in(await self.answer("POST", "/tus", final), "content-location")

    async def _part(self, content: bytes) -> str:
        begun = await self.answer("POST", "/tus", {**TUS.begin(len(content)), "Upload-Concat": "partial"})
        path = path_in(begun, "location")
        assert await self._go_on(TUS, path, content) is None
        return path

    async def _go_on(self, tongue: Tongue, path: str, content: bytes) -> str | None:
        """Send until all has come. The path of the object, unless it is a part of one."""
        acknowledged, lost = 0, False
        while True:
            asked = await self.answer("HEAD", path, tongue.ask)
            offset = int(asked.headers["upload-offset"])
            assert acknowledged <= offset <= len(content)
            if "content-location" in asked.headers:
                return path_in(asked, "content-location")
            if offset == len(content) and "upload-concat" in asked.headers:
                return None
            end = min(len(content), offset + self.random.randint(1, len(content) + 1))
            sent = await self.ask("PATCH", path, tongue.send(offset, end == len(content)), content[offset:end])
            if sent is None or sent.status_code in LATER:
                lost = True
                continue
            if lost and sent.status_code == 409:
                continue  # what was lost has been worked on since
            assert sent.is_success, sent.text
            acknowledged = int(sent.headers["upload-offset"])
            assert acknowledged == end
            if "content-location" in sent.headers:
                return path_in(sent, "content-location")

    async def put(self, content: bytes) -> str:
        """The path of the object that content became; others may be there, of which no answer came."""
        return path_in(await self.answer("PUT", "/upload/a.bam", {}, content), "location")

    async def content_of(self, object_path: str) -> bytes:
        return (await self.answer("GET", f"/data/{object_path.rpartition('/')[2]}", {})).content

    async def answer(
        self, method: str, path: str, headers: dict[str, str], content: bytes | None = None
    ) -> httpx.Response:
        """The answer to a request that may be made again and again."""
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self.ask(method, path, headers, content)
                if answer is not None and answer.status_code not in LATER:
                    assert answer.is_success, answer.text
                    return answer
                await asyncio.sleep(RETRY)

    async def ask(
        self, method: str, path: str, headers: dict[str, str], content: bytes | None = None
    ) -> httpx.Response | None:
        """What one of the nodes says; nothing if the connection was lost."""
        url = self.random.choice(self.nodes) + path
        body = None
        if content is not None:
            headers, body = {**headers, "Content-Length": str(len(content))}, self._pieces(content)
        try:
            answer = await self.client.request(method, url, headers=headers, content=body)
        except (httpx.TransportError, Cut):
            self.answered[0] += 1
            return None
        self.answered[answer.status_code] += 1
        assert answer.status_code not in LATER or "retry-after" in answer.headers
        return answer

    async def _pieces(self, content: bytes) -> AsyncIterator[bytes]:
        end = self.random.randrange(len(content) + 1) if self.random.random() < self.cuts else None
        for start in range(0, len(content), PIECE):
            if end is not None and start + PIECE > end:
                yield content[start:end]
                raise Cut
            yield content[start : start + PIECE]


WAYS: tuple[Callable[[Stubborn, bytes], Awaitable[str]], ...] = (
    lambda one, content: one.upload(TUS, content),
    lambda one, content: one.upload(DRAFT, content),
    Stubborn.joined,
    Stubborn.put,
)
"""How content becomes an object."""


def path_in(answer: httpx.Response, header: str) -> str:
    return httpx.URL(answer.headers[header]).path
