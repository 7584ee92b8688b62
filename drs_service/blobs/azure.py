"""A container of Azure Blob Storage.

Parts are blocks that have not been committed, of an object that is not there before they are. There is no way to forget
them but to commit none of them and to delete what that makes: names that are published are never treated so. What a
publication that was killed has copied Azure itself forgets a week later.
"""

import asyncio
import base64
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from drs_service.blobs.access import AzureAccess
from drs_service.blobs.azure_keys import keys_of
from drs_service.blobs.bucket import Found, Overrides, Seen, Source
from drs_service.blobs.cloud_http import Answer, CloudHttp, Request, refusal
from drs_service.blobs.driver import READABLE, Buffer, Condition, Frost
from drs_service.blobs.hashing import content_md5
from drs_service.blobs.spans import spans
from drs_service.domain.thawing import Thaw, Tier
from drs_service.errors import BytesArchived, StorageUnavailable

COPY_SIZE = 256 * 1024**2  # bytes of one request of a copy
COPIES = 8  # such requests at once
MOST_BLOCKS = 50_000
ABSENT = {"If-None-Match": "*"}
IS_THERE = {409, 412}
ARCHIVE = "Archive"
PRIORITY = {Tier.EXPEDITED: "High", Tier.STANDARD: "Standard", Tier.BULK: "Standard"}
PART, COPY = "p", "c"  # who has sent a block: the first letter of its id


class AzureBucket:
    """The blobs of one container whose names start with prefix, which names here do not say."""

    least_part = 1

    def __init__(self, container: str, prefix: str, access: AzureAccess) -> None:
        self._container = container
        self._prefix = prefix
        self._keys = keys_of(access)
        endpoint = access.endpoint_url or f"https://{access.account}.blob.core.windows.net"
        self._url = f"{endpoint.rstrip('/')}/{container}"
        self._http = CloudHttp(self._keys.sign, code_in)

    async def put(self, name: str, body: bytes, *, absent_only: bool = False) -> None:
        headers = {"x-ms-blob-type": "BlockBlob", **await sent(body), **(ABSENT if absent_only else {})}
        try:
            await self._call("PUT", name, headers=headers, body=body)
        except StorageUnavailable as error:
            if not (absent_only and refusal(error).status in IS_THERE):
                raise

    async def begin(self, name: str) -> str:
        return new_id()  # there is nothing to tell Azure yet

    async def put_part(self, name: str, multipart: str, number: int, body: bytes) -> str:
        block = block_id(PART, multipart, number)
        query = {"comp": "block", "blockid": block}
        await self._call("PUT", name, query=query, headers=await sent(body), body=body)
        return block

    async def complete(self, name: str, multipart: str, tags: Sequence[str]) -> None:
        try:
            await self._commit(name, tags)
        except StorageUnavailable as error:
            # It may be that it was done, and the answer was lost.
            if refusal(error).status // 100 != 4 or not await self._is_there(name):
                raise

    async def _commit(self, name: str, blocks: Sequence[str]) -> None:
        listed = "".join(f"<Uncommitted>{block}</Uncommitted>" for block in blocks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        headers = {"x-ms-blob-content-type": "application/octet-stream", **await sent(body), **ABSENT}
        await self._call("PUT", name, query={"comp": "blocklist"}, headers=headers, body=body)

    async def abort(self, name: str, multipart: str) -> None:
        try:
            await self._commit(name, ())
        except StorageUnavailable as error:
            if refusal(error).status not in IS_THERE:
                raise
        else:
            await self.delete(name)

    async def concatenate(self, name: str, sources: Sequence[Source]) -> None:
        pieces = list(spans(sources, size=COPY_SIZE, most=MOST_BLOCKS))
        if not pieces:
            await self.put(name, b"")
            return
        multipart = new_id()
        turns = asyncio.Semaphore(COPIES)

        async def copied(number: int, source: str, start: int, end: int) -> str:
            block = block_id(COPY, multipart, number)
            async with turns:
                await self.copy_block(name, block, source, start, end)
            return block

        copying = [asyncio.ensure_future(copied(number, *piece)) for number, piece in enumerate(pieces, 1)]
        try:
            # Another one that publishes the same bytes may be first, and Azure forgets our blocks with its commit.
            await self.complete(name, multipart, await asyncio.gather(*copying))
        finally:
            for one in copying:
                one.cancel()

    async def copy_block(self, name: str, block: str, source: str, start: int, end: int) -> None:
        """Have Azure itself read a block of name. KeyError if the source is not there."""
        origin = await self._keys.as_source(self._at(source), self._container, self._prefix + source)
        headers = {**origin, "x-ms-source-range": f"bytes={start}-{end - 1}"}
        await self._call("PUT", name, query={"comp": "block", "blockid": block}, headers=headers, missing=source)

    async def read(self, name: str, start: int, end: int, *, tag: str | None = None) -> AsyncGenerator[Buffer, None]:
        if start == end:
            await self.size(name)
            return
        held = None if tag is None else ("ETag", tag)
        try:
            async for piece in self._http.read(Request(method="GET", url=self._at(name)), name, start, end, tag=held):
                yield piece
        except StorageUnavailable as error:
            raise told(error, name) from error.__cause__

    async def look(self, name: str) -> Seen:
        headers = (await self._call("HEAD", name)).headers
        return Seen(int(headers["Content-Length"]), headers["ETag"].strip('"'), condition_of(headers))

    async def size(self, name: str) -> int:
        return (await self.look(name)).size

    async def condition(self, name: str) -> Condition:
        return (await self.look(name)).condition

    async def thaw(self, name: str, how: Thaw) -> None:
        asked = {"x-ms-access-tier": "Hot", "x-ms-rehydrate-priority": PRIORITY[how.tier]}
        try:
            await self._call("PUT", name, query={"comp": "tier"}, headers=asked)
        except StorageUnavailable as error:
            if refusal(error).code != "BlobBeingRehydrated":
                raise

    async def _is_there(self, name: str) -> bool:
        try:
            await self.size(name)
        except KeyError:
            return False
        return True

    async def delete(self, name: str) -> None:
        with contextlib.suppress(KeyError):
            await self._call("DELETE", name, headers={"x-ms-delete-snapshots": "include"})

    async def objects(self, prefix: str) -> AsyncIterator[Found]:
        async for blob in self._listed(prefix):
            at = parsedate_to_datetime(blob.findtext("Properties/Last-Modified", ""))
            yield Found(
                self._name(blob),
                at,
                archived=blob.findtext("Properties/AccessTier") == ARCHIVE,
                size=int(blob.findtext("Properties/Content-Length", "0")),
                tag=blob.findtext("Properties/Etag", "").strip('"'),
            )

    async def unfinished(self, prefix: str) -> AsyncIterator[Found]:
        async for blob in self._listed(prefix, include="uncommittedblobs"):
            # Few are empty and there: the signs of life, and the file without a byte.
            if blob.findtext("Properties/Content-Length", "0") == "0":
                for kind, multipart in await self._begun(name := self._name(blob)):
                    if kind == PART:
                        yield Found(name, begun_at(multipart), multipart)

    async def _begun(self, name: str) -> set[tuple[str, str]]:
        """Who has sent the blocks that are not committed, and the id under which that was begun."""
        query = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        try:
            answer = await self._call("GET", name, query=query)
        except KeyError:
            return set()
        names = [base64.b64decode(one.text or "").decode() for one in parsed(answer).iter("Name")]
        return {(one[0], one[1:].partition("-")[0]) for one in names}

    async def _listed(self, prefix: str, **more: str) -> AsyncIterator[Element]:
        query = {"restype": "container", "comp": "list", "prefix": self._prefix + prefix, **more}
        while True:
            page = parsed(await self._http.ask(Request(method="GET", url=self._url, query=query)))
            for blob in page.iter("Blob"):
                yield blob
            marker = page.findtext("NextMarker")
            if not marker:
                return
            query["marker"] = marker

    async def presign_read(self, name: str, *, expires_in: timedelta, overrides: Overrides) -> str:
        return self._keys.presigned(
            self._at(name), self._container, self._prefix + name, valid=expires_in, overrides=overrides
        )

    async def close(self) -> None:
        await self._http.close()
        await self._keys.close()

    async def _call(
        self,
        method: str,
        name: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        missing: str | None = None,
    ) -> Answer:
        """KeyError if name is not there, or what a copy is to be made of: missing."""
        request = Request(
            method=method, url=self._at(name), query=query or {}, headers=headers or {}, body=(body,) if body else ()
        )
        try:
            return await self._http.ask(request)
        except StorageUnavailable as error:
            raise told(error, missing or name) from error.__cause__

    def _at(self, name: str) -> str:
        return f"{self._url}/{quote(self._prefix + name)}"

    def _name(self, blob: Element) -> str:
        return blob.findtext("Name", "")[len(self._prefix) :]


def told(error: StorageUnavailable, name: str) -> Exception:
    said = refusal(error)
    if said.code == "BlobArchived":
        return BytesArchived(key=name)
    return KeyError(name) if said.status == 404 and said.code != "ContainerNotFound" else error


def condition_of(headers: Mapping[str, str]) -> Condition:
    """What the answer to a HEAD says of the object."""
    if headers.get("x-ms-archive-status"):
        return Condition(Frost.THAWING)
    return Condition(Frost.ARCHIVED) if headers.get("x-ms-access-tier") == ARCHIVE else READABLE


def code_in(headers: Mapping[str, str], body: bytes) -> str:
    return headers.get("x-ms-error-code", "")


async def sent(body: bytes) -> Mapping[str, str]:
    """What the server checks a body against."""
    return {"Content-MD5": await content_md5(body), "Content-Type": "application/octet-stream"}


def new_id() -> str:
    """It says when: Azure tells of what is not committed only its name."""
    return f"{int(time.time()):08x}{secrets.token_hex(4)}"


def begun_at(multipart: str) -> datetime:
    return datetime.fromtimestamp(int(multipart[:8], 16), UTC)


def block_id(kind: str, multipart: str, number: int) -> str:
    # All ids of a blob must have the same length.
    return base64.b64encode(f"{kind}{multipart}-{number:05}".encode()).decode()


def parsed(answer: Answer) -> Element:
    try:
        return ElementTree.fromstring(answer.body)  # noqa: S314  # of the store that we were told to trust
    except ElementTree.ParseError as error:
        raise StorageUnavailable(reason=f"no XML: {error}") from error
