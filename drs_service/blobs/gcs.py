"""A bucket of Google Cloud Storage.

It has no parts, but makes an object of up to 32 others without moving a byte. So a part is an object of its own:

    <prefix>staging/multipart/<name>/<id>/<number>    parts, and what is made of 32 of them on the way
"""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import google_crc32c

from drs_service.blobs.access import GcsAccess
from drs_service.blobs.bucket import Found, Overrides, Seen, Source
from drs_service.blobs.cloud_http import Answer, CloudHttp, Request, refusal
from drs_service.blobs.driver import Buffer
from drs_service.blobs.gcs_keys import keys_of
from drs_service.errors import BlobCorrupt, StorageUnavailable

ENDPOINT = "https://storage.googleapis.com"
HIDDEN = "staging/multipart/"
MOST_COMPOSED = 32  # objects by one request
AT_ONCE = 16  # requests of one verb
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Piece:
    """An object to make another one of."""

    name: str
    generation: str | None = None
    """Of exactly these bytes, if it is known."""


class GcsBucket:
    """The objects of one bucket whose names start with prefix, which names here do not say."""

    least_part = 1

    def __init__(self, bucket: str, prefix: str, access: GcsAccess) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._endpoint = (access.endpoint_url or ENDPOINT).rstrip("/")
        self._keys = keys_of(access)
        self._http = CloudHttp(self._keys.sign, code_in)

    async def put(self, name: str, body: bytes, *, absent_only: bool = False) -> None:
        try:
            await self._insert(name, body, {"ifGenerationMatch": "0"} if absent_only else {})
        except StorageUnavailable as error:
            if not (absent_only and refusal(error).status == 412):
                raise

    async def _insert(self, name: str, body: bytes, condition: Mapping[str, str]) -> str:
        """Returns the generation."""
        crc32c = base64.b64encode(google_crc32c.value(body).to_bytes(4)).decode()
        boundary = secrets.token_hex(16)
        said = json.dumps({"name": self._prefix + name, "crc32c": crc32c})
        before = f"--{boundary}\r\nContent-Type: {JSON}\r\n\r\n{said}\r\n--{boundary}\r\n"
        request = Request(
            method="POST",
            url=f"{self._endpoint}/upload/storage/v1/b/{self._bucket}/o",
            query={"uploadType": "multipart", "fields": "generation", **condition},
            headers={"Content-Type": f"multipart/related; boundary={boundary}"},
            body=(
                f"{before}Content-Type: application/octet-stream\r\n\r\n".encode(),
                body,
                f"\r\n--{boundary}--\r\n".encode(),
            ),
        )
        return str(parsed(await self._http.ask(request))["generation"])

    async def begin(self, name: str) -> str:
        return secrets.token_hex(8)  # there is nothing to tell Google yet

    async def put_part(self, name: str, multipart: str, number: int, body: bytes) -> str:
        return await self._insert(f"{folder(name, multipart)}{number:05}", body, {})

    async def complete(self, name: str, multipart: str, tags: Sequence[str]) -> None:
        hidden = folder(name, multipart)
        try:
            await self._join(name, [Piece(f"{hidden}{number:05}", tag) for number, tag in enumerate(tags, 1)], hidden)
        except KeyError as error:
            # It may be that it was done, and the answer was lost.
            if not await self._is_there(name):
                raise StorageUnavailable(reason=f"{error} is gone") from error
        await self.abort(name, multipart)

    async def abort(self, name: str, multipart: str) -> None:
        hidden = folder(name, multipart)
        await gathered([self.delete(one) for one in [found.name async for found in self._listed(hidden)]])

    async def concatenate(self, name: str, sources: Sequence[Source]) -> None:
        if not sum(one.size for one in sources):
            await self.put(name, b"")
            return
        multipart = secrets.token_hex(8)
        try:
            await self._join(name, [Piece(one.name) for one in sources], folder(name, multipart))
        finally:
            if len(sources) > MOST_COMPOSED:
                await asyncio.shield(self.abort(name, multipart))

    async def _join(self, name: str, pieces: Sequence[Piece], hidden: str) -> None:
        """KeyError if one of them is not there."""
        level = 0
        while len(pieces) > MOST_COMPOSED:
            level += 1
            groups = [pieces[first : first + MOST_COMPOSED] for first in range(0, len(pieces), MOST_COMPOSED)]
            names = [f"{hidden}{level}-{number:05}" for number in range(len(groups))]
            pieces = await gathered([self._compose(*one) for one in zip(names, groups, strict=True)])
        await self._compose(name, pieces)

    async def _compose(self, name: str, pieces: Sequence[Piece]) -> Piece:
        sources = [
            {"name": self._prefix + one.name, **({"generation": one.generation} if one.generation else {})}
            for one in pieces
        ]
        said = {"destination": {"contentType": "application/octet-stream"}, "sourceObjects": sources}
        request = Request(
            method="POST",
            url=f"{self._at(name)}/compose",
            query={"fields": "generation"},
            headers={"Content-Type": JSON},
            body=(json.dumps(said).encode(),),
        )
        try:
            return Piece(name, str(parsed(await self._http.ask(request))["generation"]))
        except StorageUnavailable as error:
            raise told(error, " or ".join(one.name for one in pieces)) from error.__cause__

    async def read(self, name: str, start: int, end: int, *, tag: str | None = None) -> AsyncGenerator[Buffer, None]:
        if start == end:
            await self.size(name)
            return
        query = {"alt": "media"} | ({"ifGenerationMatch": tag} if tag is not None else {})
        # Whoever takes no gzip gets what is stored as such decompressed, whole, and without its length.
        request = Request(method="GET", url=self._at(name), query=query, headers={"Accept-Encoding": "gzip"})
        try:
            async for piece in self._http.read(request, name, start, end):
                yield piece
        except StorageUnavailable as error:
            if refusal(error).status == 412:
                await self.look(name)  # nothing there is no other object
                raise BlobCorrupt(key=name, tag=tag) from error
            raise told(error, name) from error.__cause__

    async def look(self, name: str) -> Seen:
        request = Request(method="GET", url=self._at(name), query={"fields": "size,generation"})
        try:
            found = parsed(await self._http.ask(request))
        except StorageUnavailable as error:
            raise told(error, name) from error.__cause__
        return Seen(int(found["size"]), str(found["generation"]))

    async def size(self, name: str) -> int:
        return (await self.look(name)).size

    async def _is_there(self, name: str) -> bool:
        try:
            await self.size(name)
        except KeyError:
            return False
        return True

    async def delete(self, name: str) -> None:
        try:
            await self._http.ask(Request(method="DELETE", url=self._at(name)))
        except StorageUnavailable as error:
            if refusal(error).status != 404:
                raise

    async def objects(self, prefix: str) -> AsyncIterator[Found]:
        async for found in self._listed(prefix):
            if not found.name.startswith(HIDDEN):
                yield found

    async def unfinished(self, prefix: str) -> AsyncIterator[Found]:
        last: Found | None = None
        async for part in self._listed(HIDDEN + prefix):
            words = part.name.removeprefix(HIDDEN).rsplit("/", 2)
            if len(words) < 3:
                continue  # none of ours: the console keeps a folder as an empty object of its name
            name, multipart, _ = words
            if last is not None and (last.name, last.multipart) != (name, multipart):
                yield last
                last = None
            last = Found(name, part.at if last is None else max(last.at, part.at), multipart)
        if last is not None:
            yield last

    async def _listed(self, prefix: str) -> AsyncIterator[Found]:
        query = {"prefix": self._prefix + prefix, "fields": "nextPageToken,items(name,updated,size,generation)"}
        while True:
            url = f"{self._endpoint}/storage/v1/b/{self._bucket}/o"
            page = parsed(await self._http.ask(Request(method="GET", url=url, query=query)))
            for one in page.get("items", ()):
                yield Found(
                    one["name"][len(self._prefix) :],
                    datetime.fromisoformat(one["updated"]),
                    size=int(one["size"]),
                    tag=str(one["generation"]),
                )
            if not (token := page.get("nextPageToken")):
                return
            query["pageToken"] = token

    async def presign_read(self, name: str, *, expires_in: timedelta, overrides: Overrides) -> str:
        url = f"{self._endpoint}/{self._bucket}/{quote(self._prefix + name)}"
        return await asyncio.to_thread(self._keys.presigned, url, valid=expires_in, overrides=overrides)

    async def close(self) -> None:
        await self._http.close()

    def _at(self, name: str) -> str:
        return f"{self._endpoint}/storage/v1/b/{self._bucket}/o/{quote(self._prefix + name, safe='')}"


def folder(name: str, multipart: str) -> str:
    return f"{HIDDEN}{name}/{multipart}/"


async def gathered(asking: Sequence[Any]) -> list[Any]:
    """What each of them returns, so many at once; all have ended when one of them has failed."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(one: Any) -> Any:
        async with turns:
            return await one

    done = await asyncio.gather(*map(in_turn, asking), return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException):
            raise one
    return done


def told(error: StorageUnavailable, name: str) -> Exception:
    said = refusal(error)
    return KeyError(name) if said.status == 404 and "bucket does not exist" not in str(said) else error


def code_in(headers: Mapping[str, str], body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["errors"][0]["reason"])
    except (ValueError, LookupError, TypeError):
        return ""


def parsed(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise StorageUnavailable(reason=f"no JSON: {error}") from error
