"""draft-ietf-httpbis-resumable-upload, of the IETF: its headers as values, and its answers.

What it says of 104 cannot be done here: ASGI has no interim responses. So who wants to resume asks for the URL first,
with `Upload-Complete: ?0` (in the draft: Careful Upload Creation).
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Response
from litestar.types import ASGIApp

from drs_service.api.answers import Json
from drs_service.api.bodies import (
    AnyRequest,
    body_of,
    check_is,
    check_whole,
    content_length,
    has_body,
    list_header,
)
from drs_service.api.drs import shapes
from drs_service.api.errors import RETRY_AFTER, Error
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.api.streaming import Bytes
from drs_service.domain.checksums import Checksum
from drs_service.domain.digest_fields import parse_repr_digest, parse_want_repr_digest
from drs_service.domain.media_types import media_type
from drs_service.domain.names import form_file_name, name_in_disposition
from drs_service.domain.structured_fields import boolean, integer
from drs_service.domain.uploads import Upload
from drs_service.errors import (
    ChecksumMismatch,
    DraftInvalid,
    DrsServiceError,
    OffsetMismatch,
    SizeMismatch,
    UploadDone,
    UploadFailed,
    UploadTooLarge,
)
from drs_service.usecases.objects import Objects
from drs_service.usecases.resuming import Resuming, Sending, Wanted
from drs_service.usecases.turns import Interruption

NO_STORE = {"cache-control": "no-store"}
CHUNK = "application/partial-upload"
ALL_CAME = (ChecksumMismatch, UploadFailed)
PROBLEM = "https://iana.org/assignments/http-problem-types#"
PROBLEMS: dict[type[Exception], str] = {
    OffsetMismatch: "mismatching-upload-offset",
    SizeMismatch: "inconsistent-upload-length",
    UploadDone: "completed-upload",  # up to -11; the newest draft has none for it
}


class Problem(Error, kw_only=True, rename={"expected_offset": "expected-offset", "provided_offset": "provided-offset"}):
    """An error with the members that the draft asks for (RFC 9457)."""

    type: str
    title: str
    status: int
    expected_offset: int | msgspec.UnsetType = msgspec.UNSET
    provided_offset: int | msgspec.UnsetType = msgspec.UNSET


class Draft:
    def __init__(
        self,
        resuming: Resuming,
        objects: Objects[Json],
        urls: PublicUrls,
        *,
        idle: float,
        max_bytes: int,
        lifetime: int,
    ) -> None:
        self._resuming = resuming
        self._objects = objects
        self._urls = urls
        self._idle = idle
        self._max_bytes = max_bytes
        self._lifetime = lifetime

    def options(self) -> dict[str, str]:
        return {"upload-limit": self._limit(self._lifetime)}

    async def create(self, request: AnyRequest) -> ASGIApp:
        check_whole(request)
        ends = completes(request)
        first = self._sending(request, 0, ends) if ends or has_body(request) else None
        said = wanted(request, total(request, 0, ends))
        upload = await self._resuming.create(principal_of(request), said, first)
        return await self._answer(request, upload, {"location": self._urls.tus(upload.id)}, otherwise=201)

    async def ask(self, upload_id: str, _: AnyRequest) -> ASGIApp:
        upload = await self._resuming.settle(upload_id)
        length = {"upload-length": str(upload.size)} if upload.size is not None else {}
        return Bytes(204, {**NO_STORE, **self._state(upload), **length})

    async def go_on(self, upload_id: str, request: AnyRequest) -> ASGIApp:
        check_is(request, CHUNK)
        offset, ends = integer(list_header(request, "upload-offset") or ""), completes(request)
        if offset is None or offset < 0:
            raise DraftInvalid("Upload-Offset is missing: how far the upload has come, as a number of bytes.")
        try:
            upload = await self._resuming.send(upload_id, self._sending(request, offset, ends))
        except UploadTooLarge:
            # The draft, 4.4.2: past its length an upload is invalid.
            with suppress(DrsServiceError):  # it expires
                await self._resuming.terminate(upload_id)
            raise
        return await self._answer(request, upload, {}, otherwise=204)

    async def give_up(self, upload_id: str, _: AnyRequest) -> Response[None]:
        await self._resuming.terminate(upload_id)
        return Response(None, status_code=204, headers=NO_STORE)

    def _sending(self, request: AnyRequest, offset: int, ends: bool) -> Sending:
        interruption = Interruption()
        digest = parse_repr_digest(list_header(request, "content-digest"))
        return Sending(
            source=body_of(request, idle=self._idle, interruption=interruption),
            interruption=interruption,
            offset=offset,
            length=content_length(request),
            total=total(request, offset, ends),
            expect=Checksum("sha-256", digest.hex) if digest is not None else None,
            ends=ends,
        )

    async def _answer(
        self, request: AnyRequest, upload: Upload, headers: Mapping[str, str], *, otherwise: int
    ) -> ASGIApp:
        """What the upload became; or how far it has come, with the status otherwise."""
        said = {**self._state(upload), **headers}
        if upload.finishing:
            said |= {"retry-after": RETRY_AFTER, "content-length": "0"}
            if upload.promised_id is not None:
                said["content-location"] = self._urls.object(upload.promised_id)
            return Bytes(202, {**NO_STORE, **said})
        if upload.object_id is None:
            return Bytes(otherwise, {**NO_STORE, **said, **({} if otherwise == 204 else {"content-length": "0"})})
        known = await self._objects.get(principal_of(request), upload.object_id)
        said["content-location"] = self._urls.object(upload.object_id)
        return Json(shapes.shape(known.object, self._urls), cache_control="no-store", headers=said)

    def _state(self, upload: Upload) -> dict[str, str]:
        left = max(0, int((upload.expires_at - datetime.now(UTC)).total_seconds()))
        return {
            "upload-complete": "?1" if upload.is_closed else "?0",
            "upload-offset": str(upload.received),
            "upload-limit": self._limit(left),
        }

    def _limit(self, seconds: int) -> str:
        return f"max-size={self._max_bytes}, max-age={seconds}"

    def refusal(self, answer: Response[Any], error: Exception) -> Response[Any]:
        """The answer to an error, as a part of this protocol."""
        # All has come, and is not what it should be: going on would not help.
        answer.headers["upload-complete"] = "?1" if isinstance(error, ALL_CAME) else "?0"
        if isinstance(error, UploadTooLarge):
            answer.headers["upload-limit"] = self._limit(self._lifetime)
        name = PROBLEMS.get(type(error))
        if name is not None and isinstance(error, DrsServiceError):
            if "expected" in error.facts:
                answer.headers["upload-offset"] = str(error.facts["expected"])
            answer.content = problem(answer.content, name, error)
        return answer


def problem(said: Error, name: str, error: DrsServiceError) -> Problem:
    expected, provided = (error.facts.get(key) for key in ("expected", "provided"))
    return Problem(
        msg=said.msg,
        status_code=said.status_code,
        code=said.code,
        type=PROBLEM + name,
        title=type(error).__doc__ or "",
        status=said.status_code,
        expected_offset=expected if isinstance(expected, int) else msgspec.UNSET,
        provided_offset=provided if isinstance(provided, int) else msgspec.UNSET,
    )


def completes(request: AnyRequest) -> bool:
    """Whether nothing comes behind this body. DraftInvalid."""
    complete = boolean(list_header(request, "upload-complete") or "")
    if complete is None:
        raise DraftInvalid("Upload-Complete is missing: ?1 if nothing comes behind this body, otherwise ?0.")
    return complete


def total(request: AnyRequest, offset: int, ends: bool) -> int | None:
    """Bytes of the whole, as far as this request tells. SizeMismatch if it tells two numbers."""
    stated = integer(list_header(request, "upload-length") or "")
    length = content_length(request) if has_body(request) else 0
    told = {one for one in (stated, offset + length if ends and length is not None else None) if one is not None}
    if len(told) > 1:
        raise SizeMismatch(f"Upload-Length says {stated} bytes; with this body they are {max(told - {stated})}.")
    return next((one for one in told if one >= 0), None)


def wanted(request: AnyRequest, size: int | None) -> Wanted:
    """What is said of the upload. NameInvalid, MediaTypeInvalid, DigestMalformed."""
    disposition = request.headers.get("content-disposition", "").encode("latin-1").decode(errors="replace")
    name = form_file_name(name_in_disposition(disposition) or "upload")
    digest = parse_repr_digest(list_header(request, "repr-digest"))
    return Wanted(
        name=name,
        media_type=media_type(request.headers.get("content-type"), name=name.original),
        size=size,
        checksums=(Checksum("sha-256", digest.hex),) if digest is not None else (),
        wanted=parse_want_repr_digest(list_header(request, "want-repr-digest")),
        ends_by_size=False,
    )
