"""A client of tus 1.0.0 that does what it is told, and knows what it has begun."""

import base64
import hashlib
from collections.abc import AsyncIterator, Iterable

import httpx

from tests.support.raw_http import request

PUBLIC = "https://drs.example.org"
VERSION = {"Tus-Resumable": "1.0.0"}
CHUNK = {"Content-Type": "application/offset+octet-stream"}


def metadata(values: dict[str, str | bytes]) -> dict[str, str]:
    pairs = ((key, value.encode() if isinstance(value, str) else value) for key, value in values.items())
    return {"Upload-Metadata": ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in pairs)}


def checksum(content: bytes, algorithm: str = "sha1") -> dict[str, str]:
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"}


def patch_head(path: str, offset: int, *headers: str) -> bytes:
    """The head of a PATCH, for a body that is sent by hand."""
    own = (f"{name}: {value}" for name, value in {**VERSION, **CHUNK, "Upload-Offset": str(offset)}.items())
    return request("PATCH", path, *own, *headers)


class Tus:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.begun: list[str] = []

    async def post(
        self, headers: dict[str, str], content: bytes | AsyncIterator[bytes] | None = None
    ) -> httpx.Response:
        body = {} if content is None else CHUNK
        answer = await self.client.post("/tus", headers={**VERSION, **body, **headers}, content=content)
        if answer.status_code == 201:
            self.begun.append(path_of(answer))
        return answer

    async def begin(self, length: int | None = None, headers: dict[str, str] | None = None) -> str:
        """The path of a new upload."""
        size = {} if length is None else {"Upload-Length": str(length)}
        answer = await self.post({**size, **(headers or {})})
        assert answer.status_code == 201, answer.text
        return path_of(answer)

    async def patch(
        self, path: str, offset: int, content: bytes | AsyncIterator[bytes], headers: dict[str, str] | None = None
    ) -> httpx.Response:
        said = {**VERSION, **CHUNK, "Upload-Offset": str(offset), **(headers or {})}
        return await self.client.patch(path, headers=said, content=content)

    async def sent(self, path: str, offset: int, content: bytes) -> httpx.Response:
        answer = await self.patch(path, offset, content)
        assert answer.status_code == 204, answer.text
        assert answer.headers["upload-offset"] == str(offset + len(content))
        return answer

    async def head(self, path: str) -> httpx.Response:
        return await self.client.head(path, headers=VERSION)

    async def offset(self, path: str) -> int:
        answer = await self.head(path)
        assert answer.status_code == 200, answer.headers
        return int(answer.headers["upload-offset"])

    async def delete(self, path: str) -> httpx.Response:
        return await self.client.delete(path, headers=VERSION)

    async def join(self, parts: Iterable[str], headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.post({"Upload-Concat": "final;" + " ".join(parts), **(headers or {})})

    async def object_of(self, path: str) -> str:
        """The path of the object that an upload became."""
        answer = await self.head(path)
        assert answer.status_code == 200, answer.headers
        return answer.headers["content-location"].removeprefix(PUBLIC)

    async def content_of(self, path: str) -> bytes:
        """The bytes of the object that an upload became."""
        object_id = (await self.object_of(path)).rpartition("/")[2]
        return (await self.client.get(f"/data/{object_id}")).raise_for_status().content

    async def give_up_all(self) -> None:
        for path in self.begun:
            assert (await self.delete(path)).status_code in {204, 404}


def path_of(answer: httpx.Response) -> str:
    location = answer.headers["location"]
    assert location.startswith(f"{PUBLIC}/tus/")
    return str(location.removeprefix(PUBLIC))
