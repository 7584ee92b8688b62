"""tus 1.0.0 (https://tus.io/protocols/resumable-upload): its headers as values, and its answers."""

import re
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any

from litestar import Response
from litestar.types import ASGIApp

from drs_service.api.bodies import AnyRequest, body_of, check_is, content_length, has_body, list_header
from drs_service.api.errors import RETRY_AFTER
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.api.streaming import Bytes
from drs_service.domain import texts, tus
from drs_service.domain.access import DEFAULT_SPACE
from drs_service.domain.checksums import Checksum, checksums, computable
from drs_service.domain.media_types import media_type
from drs_service.domain.names import file_name
from drs_service.domain.uploads import Purpose, Upload
from drs_service.errors import TusInvalid, TusVersionUnsupported
from drs_service.usecases.resuming import Resuming, Sending, Wanted
from drs_service.usecases.turns import Interruption

CHUNK = "application/offset+octet-stream"
NO_STORE = {"cache-control": "no-store"}
# What a client calls things in Upload-Metadata: tus-js-client and Uppy, tuspy, and the words of DRS.
NAMES = ("filename", "name")
TYPES = ("filetype", "type", "mime_type")
DIGESTS = ("sha-256", "sha256")
TAG = "tag."
MOST_ECHOED = 4096  # bytes of an Upload-Concat that are told again


class Tus:
    def __init__(self, resuming: Resuming, urls: PublicUrls, *, idle: float, max_bytes: int) -> None:
        self._resuming = resuming
        self._urls = urls
        self._idle = idle
        self._max_bytes = max_bytes

    def options(self) -> dict[str, str]:
        return {
            "tus-resumable": tus.VERSION,
            "tus-version": tus.VERSION,
            "tus-extension": ",".join(tus.EXTENSIONS),
            "tus-max-size": str(self._max_bytes),
            "tus-checksum-algorithm": ",".join(tus.CHECKSUMS),
        }

    async def create(self, request: AnyRequest) -> ASGIApp:
        check_version(request)
        first_bytes = self._sending(request, 0) if has_body(request) else None
        upload = await self._resuming.create(principal_of(request), wanted(request, self._urls), first_bytes)
        return bare(201, {"location": self._urls.tus(upload.id), **progress(upload, self._urls)})

    async def ask(self, upload_id: str, request: AnyRequest) -> ASGIApp:
        check_version(request)
        upload = await self._resuming.settle(upload_id)
        return bare(200, {**progress(upload, self._urls), **described(upload)})

    async def go_on(self, upload_id: str, request: AnyRequest) -> ASGIApp:
        return bare(204, await self._sent(upload_id, request))

    async def give_up(self, upload_id: str, request: AnyRequest) -> Response[None]:
        check_version(request)
        await self._resuming.terminate(upload_id)
        return empty({})

    async def overridden(self, upload_id: str, request: AnyRequest) -> Response[None]:
        match request.headers.get("x-http-method-override", "").upper():
            case "PATCH":
                return empty(await self._sent(upload_id, request))
            case "DELETE":
                return await self.give_up(upload_id, request)
        raise TusInvalid("X-HTTP-Method-Override says which method is meant: PATCH or DELETE.")

    async def _sent(self, upload_id: str, request: AnyRequest) -> dict[str, str]:
        check_version(request)
        offset = tus.length(request.headers.get("upload-offset", ""), header="Upload-Offset")
        upload = await self._resuming.send(upload_id, self._sending(request, offset))
        return progress(upload, self._urls)

    def _sending(self, request: AnyRequest, offset: int) -> Sending:
        check_is(request, CHUNK)
        interruption = Interruption()
        stated = request.headers.get("upload-length")
        return Sending(
            source=body_of(request, idle=self._idle, interruption=interruption),
            interruption=interruption,
            offset=offset,
            length=content_length(request),
            total=tus.length(stated, header="Upload-Length") if stated is not None else None,
            expect=expected(request),
        )


def refusal(answer: Response[Any], error: Exception) -> Response[Any]:
    """The answer to an error, as a part of this protocol."""
    if isinstance(error, TusVersionUnsupported):
        answer.headers["tus-version"] = tus.VERSION
    return answer


def check_version(request: AnyRequest) -> None:
    if request.headers.get("tus-resumable") != tus.VERSION:
        raise TusVersionUnsupported


def expected(request: AnyRequest) -> Checksum | None:
    stated = request.headers.get("upload-checksum")
    return tus.checksum(stated) if stated is not None else None


def wanted(request: AnyRequest, urls: PublicUrls) -> Wanted:
    """What is said of the upload. TusInvalid, NameInvalid, MediaTypeInvalid, ChecksumInvalid, TextInvalid."""
    metadata = list_header(request, "upload-metadata")
    values = tus.metadata(metadata or "")
    stated, deferred = (request.headers.get(name) for name in ("upload-length", "upload-defer-length"))
    concat = request.headers.get("upload-concat")
    urls_of_parts = tus.concat(concat) if concat is not None else None
    if deferred not in (None, "1") or (stated is not None and deferred is not None):
        raise TusInvalid("Either Upload-Length is stated, or Upload-Defer-Length is 1.")
    if urls_of_parts is None and stated is None and deferred is None:
        raise TusInvalid("Upload-Length is missing, or Upload-Defer-Length: 1.")
    if urls_of_parts is not None and (stated is not None or deferred is not None):
        raise TusInvalid("A final upload has the length of its parts.")
    name = file_name(first(values, NAMES) or "upload")
    digest = first(values, DIGESTS)
    description = tus.text(values, "description")
    tags = {key.removeprefix(TAG): tus.text(values, key) or "" for key in values if key.startswith(TAG)}
    return Wanted(
        name=name,
        media_type=media_type(first(values, TYPES), name=name.original),
        size=tus.length(stated, header="Upload-Length") if stated is not None else None,
        purpose=Purpose.PART if concat is not None and urls_of_parts is None else Purpose.OBJECT,
        checksums=checksums([("sha-256", digest)]) if digest else (),
        description=texts.text(description, what="description", most=texts.MAX_DESCRIPTION, lines=True)
        if description
        else None,
        tags=texts.tags(tags),
        space=tus.text(values, "space") or DEFAULT_SPACE,
        wanted=computable(tus.text(values, "checksums") or ""),
        parts=tuple(part_of(url, urls) for url in urls_of_parts) if urls_of_parts is not None else None,
        metadata=metadata,
        concat=concat,
    )


def first(values: Mapping[str, bytes], keys: tuple[str, ...]) -> str | None:
    return next((tus.text(values, key) for key in keys if values.get(key)), None)


def part_of(url: str, urls: PublicUrls) -> str:
    """The id in the URL of a partial upload; whole, or only its path. TusInvalid."""
    found = re.fullmatch(rf"(?:{re.escape(urls.tus(''))}|/tus/)([A-Za-z0-9_-]+)", url)
    if found is None:
        raise TusInvalid(f"{url} is not the URL of a partial upload.")
    return found[1]


def progress(upload: Upload, urls: PublicUrls) -> dict[str, str]:
    """How far it has come, and until when it is waited for."""
    said = {"upload-expires": format_datetime(upload.expires_at, usegmt=True)}
    # tus 1.0.0, Concatenation: a final upload has no offset before it is joined.
    if upload.parts is None or upload.is_complete:
        said["upload-offset"] = str(upload.received)
    becomes = upload.object_id or upload.promised_id
    if becomes is not None:
        said["content-location"] = urls.object(becomes)
    if upload.finishing:
        said["retry-after"] = RETRY_AFTER
    return said


def described(upload: Upload) -> dict[str, str]:
    """What was said of it, as it was said."""
    said = {"upload-defer-length": "1"} if upload.size is None else {"upload-length": str(upload.size)}
    if upload.purpose is Purpose.ANNOUNCED:
        said["upload-metadata"] = tus.written_metadata(
            {"filename": upload.name.original, "filetype": upload.media_type}
        )
    elif upload.metadata:
        said["upload-metadata"] = upload.metadata
    if upload.concat is not None:
        # Neither proxies nor clients let headers of any length through; what is left says that it is a final one.
        said["upload-concat"] = upload.concat if len(upload.concat) <= MOST_ECHOED else "final;"
    return said


def empty(headers: Mapping[str, str]) -> Response[None]:
    return Response(None, status_code=204, headers={**NO_STORE, **headers})


def bare(status: int, headers: Mapping[str, str]) -> ASGIApp:
    # RFC 9110 8.6: none in a 204. Otherwise it must be there, for the framework would put a null into the body.
    length = {} if status == 204 else {"content-length": "0"}
    return Bytes(status, {**NO_STORE, **length, **headers})
