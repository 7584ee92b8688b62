"""A bucket of S3, or of one of the many servers that speak it."""

import asyncio
import io
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from s3fs import S3FileSystem

from drs_service.blobs.access import S3Access
from drs_service.blobs.bucket import Found, Overrides, Seen, Source
from drs_service.blobs.driver import Buffer, Condition, PartHere
from drs_service.blobs.hashing import content_md5
from drs_service.blobs.s3_archive import ARCHIVES, condition_of, restore_request
from drs_service.blobs.s3_errors import (
    CONFLICT,
    IN_ARCHIVE,
    MISSING_MULTIPART,
    NO_HASTE,
    PRECONDITION,
    RESTORING,
    UNSATISFIABLE,
    code_of,
    is_missing,
    translated,
)
from drs_service.blobs.s3_short import Address, ShortWay
from drs_service.blobs.sigv4 import Key
from drs_service.blobs.spans import check_given, spans
from drs_service.domain.thawing import Thaw, Tier
from drs_service.errors import BlobCorrupt, BytesArchived, StorageUnavailable

MIB = 1024**2
GIB = 1024**3

# What S3 allows.
LEAST_PART = 5 * MIB
MOST_PARTS = 10_000
MOST_COPIED = 5 * GIB  # by one request

COPY_SIZE = 256 * MIB  # bytes of one request of a copy that takes several
COPIES = 8  # such requests at once
READ_SIZE = MIB
CONNECTIONS = 512  # a slow reader holds one for long
CONNECT_TIMEOUT = 2  # seconds
READ_TIMEOUT = 60
SAMPLE = "sample"  # a name
ATTEMPTS = 3  # botocore's, of what may succeed later: nobody else tries again
CONFLICTS = 6  # attempts to write what is not there while others do, too
PAUSE = 0.1  # seconds, the more the oftener it was tried


class S3Bucket:
    """The objects of one bucket whose names start with prefix, which names here do not say."""

    least_part = LEAST_PART

    def __init__(self, bucket: str, prefix: str, access: S3Access) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._access = access
        self._opening = asyncio.Lock()
        self._filesystem: S3FileSystem | None = None
        self._client: Any = None
        self._short: ShortWay | None = None

    async def put(self, name: str, body: bytes, *, absent_only: bool = False) -> None:
        if not absent_only:
            await self._call("put_object", name, **await sent(body))
            return
        for attempt in range(1, CONFLICTS + 1):
            try:
                await self._call("put_object", name, **await sent(body), IfNoneMatch="*")
                return
            except StorageUnavailable as error:
                if code_of(error) in PRECONDITION:
                    return
                if code_of(error) not in CONFLICT or attempt == CONFLICTS:
                    raise
            # Somebody else is writing it just now, which may still come to nothing.
            await asyncio.sleep(random.uniform(0.5, 1) * PAUSE * attempt)  # noqa: S311  # a pause is no secret

    async def begin(self, name: str) -> str:
        answer = await self._call("create_multipart_upload", name)
        return str(answer["UploadId"])

    async def put_part(self, name: str, multipart: str, number: int, body: bytes) -> str:
        part = await sent(body)
        answer = await self._call("upload_part", name, UploadId=multipart, PartNumber=number, **part)
        return str(answer["ETag"])

    async def parts(self, name: str, multipart: str) -> Sequence[PartHere]:
        found: list[PartHere] = []
        after: dict[str, object] = {}
        while True:
            try:
                page = await self._call("list_parts", name, UploadId=multipart, **after)
            except StorageUnavailable as error:
                if code_of(error) in MISSING_MULTIPART:
                    raise KeyError(name) from error
                raise
            found += [PartHere(one["PartNumber"], one["Size"], one["ETag"]) for one in page.get("Parts", ())]
            if not page.get("IsTruncated"):
                return found
            after = {"PartNumberMarker": page["NextPartNumberMarker"]}

    async def complete(self, name: str, multipart: str, tags: Sequence[str]) -> None:
        try:
            await self.complete_brought(name, multipart, tags)
        except KeyError as error:
            raise StorageUnavailable(reason=f"what was begun for {name} has been aborted") from error

    async def complete_brought(self, name: str, multipart: str, tags: Sequence[str]) -> None:
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
        try:
            await self._call("complete_multipart_upload", name, UploadId=multipart, MultipartUpload={"Parts": parts})
        except StorageUnavailable as error:
            # Not every server says of what is gone that it is. It may be that it was done, and the answer was lost.
            if not code_of(error) or await self._is_begun(name, multipart):
                raise
            if not await self._is_there(name):
                raise KeyError(name) from error

    async def abort(self, name: str, multipart: str) -> None:
        try:
            await self._call("abort_multipart_upload", name, UploadId=multipart)
        except StorageUnavailable as error:
            if code_of(error) not in MISSING_MULTIPART:
                raise

    async def concatenate(self, name: str, sources: Sequence[Source]) -> None:
        total = sum(one.size for one in sources)
        if len(sources) == 1 and 0 < total <= MOST_COPIED:
            await self._call("copy_object", name, CopySource=self._origin(sources[0].name))
        elif total:
            await self._join(name, list(spans(sources, size=COPY_SIZE, most=MOST_PARTS)))
        else:
            await self.put(name, b"")

    async def _join(self, name: str, pieces: Sequence[tuple[str, int, int]]) -> None:
        beginning = asyncio.ensure_future(self.begin(name))
        turns = asyncio.Semaphore(COPIES)

        async def copy(number: int, source: str, start: int, end: int) -> str:
            async with turns:
                answer = await self._call(
                    "upload_part_copy",
                    name,
                    UploadId=await beginning,
                    PartNumber=number,
                    CopySource=self._origin(source),
                    CopySourceRange=f"bytes={start}-{end - 1}",
                )
            return str(answer["CopyPartResult"]["ETag"])

        copying: list[asyncio.Future[str]] = []
        try:
            await asyncio.shield(beginning)
            copying = [asyncio.ensure_future(copy(number, *piece)) for number, piece in enumerate(pieces, 1)]
            await self.complete(name, beginning.result(), await asyncio.gather(*copying))
        except BaseException:
            for one in copying:
                one.cancel()
            await asyncio.shield(self._give_up(name, beginning, copying))
            raise

    async def _give_up(self, name: str, beginning: asyncio.Future[str], copying: Sequence[asyncio.Future[str]]) -> None:
        # A part that arrived after the others had been forgotten would stay for ever.
        await asyncio.gather(beginning, *copying, return_exceptions=True)
        if beginning.exception() is None:
            await self.abort(name, beginning.result())

    async def read(self, name: str, start: int, end: int, *, tag: str | None = None) -> AsyncGenerator[Buffer, None]:
        if start == end:
            await self.size(name)
            return
        try:
            answer = await self._call("get_object", name, Range=f"bytes={start}-{end - 1}")
        except StorageUnavailable as error:
            if code_of(error) in UNSATISFIABLE:
                raise BlobCorrupt(key=name, ends=start) from error
            if code_of(error) in IN_ARCHIVE:
                raise BytesArchived(key=name) from error
            raise
        body = answer["Body"]
        try:
            if tag not in (None, answer["ETag"]):
                raise BlobCorrupt(key=name, tag=answer["ETag"])
            length = answer.get("ContentLength")
            check_given(name, start, end, content_range=answer.get("ContentRange"), length=length)
            while start < end:
                async with translated():
                    piece = await body.read(READ_SIZE)
                if not piece:
                    raise BlobCorrupt(key=name, ends=start)
                yield piece
                start += len(piece)
        finally:
            body.close()

    async def look(self, name: str) -> Seen:
        answer = await self._head(name)
        return Seen(int(answer["ContentLength"]), str(answer["ETag"]), condition_of(answer))

    async def size(self, name: str) -> int:
        return (await self.look(name)).size

    async def _head(self, name: str) -> Any:
        return await self._call("head_object", name)

    async def condition(self, name: str) -> Condition:
        return (await self.look(name)).condition

    async def thaw(self, name: str, how: Thaw) -> None:
        asked = restore_request(await self._head(name), how)
        try:
            await self._call("restore_object", name, RestoreRequest=asked)
        except StorageUnavailable as error:
            if code_of(error) in NO_HASTE:
                await self.thaw(name, replace(how, tier=Tier.STANDARD))
            elif code_of(error) not in RESTORING:
                raise

    async def _is_begun(self, name: str, multipart: str) -> bool:
        try:
            await self._call("list_parts", name, UploadId=multipart, MaxParts=1)
        except StorageUnavailable as error:
            if code_of(error) in MISSING_MULTIPART:
                return False
            raise
        return True

    async def _is_there(self, name: str) -> bool:
        try:
            await self.size(name)
        except KeyError:
            return False
        return True

    async def delete(self, name: str) -> None:
        await self._call("delete_object", name)

    async def objects(self, prefix: str) -> AsyncIterator[Found]:
        after: dict[str, str] = {}
        while True:
            page = await self._listing("list_objects_v2", prefix, after)
            for one in page.get("Contents", ()):
                archived = one.get("StorageClass") in ARCHIVES
                yield Found(
                    self._name(one["Key"]), one["LastModified"], archived=archived, size=one["Size"], tag=one["ETag"]
                )
            if not page.get("IsTruncated"):
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}

    async def unfinished(self, prefix: str) -> AsyncIterator[Found]:
        after: dict[str, str] = {}
        while True:
            page = await self._listing("list_multipart_uploads", prefix, after)
            for one in page.get("Uploads", ()):
                yield Found(self._name(one["Key"]), one["Initiated"], one["UploadId"])
            if not page.get("IsTruncated"):
                return
            after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    async def presign_read(self, name: str, *, expires_in: timedelta, overrides: Overrides) -> str:
        said = {
            "ResponseContentType": overrides.content_type,
            "ResponseContentDisposition": overrides.content_disposition,
        }
        return await self._presign(
            "get_object", name, expires_in, {key: value for key, value in said.items() if value is not None}
        )

    async def presign_part(self, name: str, multipart: str, number: int, *, size: int, expires_in: timedelta) -> str:
        # What is said of a header is signed: a request with another Content-Length, or with none, is refused.
        said = {"UploadId": multipart, "PartNumber": number, "ContentLength": size}
        return await self._presign("upload_part", name, expires_in, said)

    async def _presign(self, method: str, name: str, expires_in: timedelta, more: Mapping[str, object]) -> str:
        client = await self._opened()
        async with translated():
            url = await client.generate_presigned_url(
                method,
                Params={"Bucket": self._bucket, "Key": self._prefix + name, **more},
                ExpiresIn=int(expires_in.total_seconds()),
            )
        return str(url)

    async def close(self) -> None:
        if self._short is not None:
            await self._short.close()
        if self._client is not None:
            await self._client.close()

    async def _call(self, method: str, name: str, **arguments: object) -> Any:
        """KeyError if the object is not there."""
        client = await self._opened()
        try:
            async with translated():
                if self._short is not None:
                    answer = await self._short.call(method, self._prefix + name, arguments)
                    if answer is not None:
                        return answer
                return await getattr(client, method)(Bucket=self._bucket, Key=self._prefix + name, **arguments)
        except StorageUnavailable as error:
            if is_missing(method, code_of(error)):
                raise KeyError(name) from error
            raise

    async def _listing(self, method: str, prefix: str, after: Mapping[str, str]) -> Any:
        client = await self._opened()
        async with translated():
            return await getattr(client, method)(Bucket=self._bucket, Prefix=self._prefix + prefix, **after)

    async def _opened(self) -> Any:
        # On first use, because what is opened belongs to the event loop that runs then.
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._filesystem = filesystem(self._access)
                    async with translated():
                        client = await self._filesystem.set_session()
                        self._short = await self._short_way(client)
                        self._client = client
        return self._client

    async def _short_way(self, client: Any) -> ShortWay | None:
        """None if nobody is known who asks, or if requests are signed in another way than ours."""
        sample = {"Bucket": self._bucket, "Key": SAMPLE}
        try:
            async with translated():
                presigned = await client.generate_presigned_url("get_object", Params=sample)
        except StorageUnavailable:
            return None
        address = Address.found_in(presigned, SAMPLE)
        return ShortWay(address, self._key_now) if address is not None else None

    async def _key_now(self) -> Key | None:
        access = self._access
        if access.access_key_id is not None and access.secret_access_key is not None:
            return Key(id=access.access_key_id, secret=access.secret_access_key)
        assert self._filesystem is not None
        found = await self._filesystem.session.get_credentials()
        if found is None:
            return None
        now = await found.get_frozen_credentials()
        return Key(id=now.access_key, secret=now.secret_key, token=now.token)

    def _origin(self, name: str) -> Mapping[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    def _name(self, key: str) -> str:
        return key[len(self._prefix) :]


def filesystem(access: S3Access) -> S3FileSystem:
    """What s3fs makes of the settings. Its client is used as it is: its own verbs retry and translate once more."""
    addressing = {"addressing_style": "path"} if access.endpoint_url else {}
    return S3FileSystem(
        asynchronous=True,
        skip_instance_cache=True,
        use_listings_cache=False,
        endpoint_url=access.endpoint_url,
        key=access.access_key_id,
        secret=access.secret_access_key,
        client_kwargs={"region_name": access.region} if access.region else {},
        config_kwargs={
            "signature_version": "s3v4",
            # Bodies go with their MD5, which every server checks; signing them would hash them on the event loop.
            "s3": {"payload_signing_enabled": False, **addressing},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "retries": {"total_max_attempts": ATTEMPTS, "mode": "standard"},
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
            "max_pool_connections": CONNECTIONS,
        },
    )


async def sent(body: bytes) -> Mapping[str, object]:
    """A body, and what the server checks it against."""
    return {"Body": io.BytesIO(body), "ContentMD5": await content_md5(body), "ContentLength": len(body)}
