"""The one place where an error becomes a status. Every body is DRS's `Error` with our stable `code` beside it."""

import msgspec
import structlog
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, ExceptionHandlersMap

from drs_service import errors
from drs_service.api.bodies import AnyRequest
from drs_service.api.metrics.tally import CODE
from drs_service.domain.ranges import unsatisfied_content_range
from drs_service.errors import (
    BytesArchived,
    DrsServiceError,
    ObjectPending,
    QuotaExceeded,
    RangeNotSatisfiable,
    Rejected,
    TooManyAtOnce,
    TooManyRequests,
    UploadBusy,
    UploadStalled,
)

log = structlog.get_logger()

# The nearest ancestor of an error wins.
STATUS: dict[type[DrsServiceError], int] = {
    errors.DrsServiceError:      500,
    errors.NotFound:             404,
    errors.Rejected:             400,
    errors.JoinRefused:          401,
    errors.UploadStalled:        408,
    errors.NotAcceptable:        406,
    errors.ChecksumConflict:     409,
    errors.UploadConflict:       409,
    errors.UploadDone:           409,
    errors.OffsetMismatch:       409,
    errors.PartsMissing:         409,
    errors.DirectImpossible:     409,
    errors.ArchiveImpossible:    409,
    errors.BytesPutAway:         409,
    errors.ObjectDeleted:        410,
    errors.UploadLost:           410,
    errors.UploadFailed:         410,
    errors.UploadExpired:        410,
    errors.SessionEnded:         410,
    errors.PreconditionFailed:   412,
    errors.TusVersionUnsupported: 412,
    errors.TooMany:              413,
    errors.UploadTooLarge:       413,
    errors.BodyTooLarge:         413,
    errors.RequestLineTooLong:   414,
    errors.EncodingUnsupported:  415,
    errors.RangeNotSatisfiable:  416,
    errors.HostUnknown:          421,
    # draft-ietf-httpapi-idempotency-key-header-07 2.7: the key with another request.
    errors.IdempotencyKeyReused: 422,
    errors.UploadBusy:           423,
    errors.HeadersTooLarge:      431,
    # tus 1.0.0, Checksum: "460 Checksum Mismatch".
    errors.ChunkMismatch:        460,
    errors.Forbidden:            403,
    errors.BlobCorrupt:          502,
    errors.AppFailed:            502,
    errors.TargetTimeout:        504,
    errors.Misconfigured:        503,
    errors.Unavailable:          503,
    # DRS 1.5.0: "The operation is delayed and will continue asynchronously", with Retry-After and no body.
    errors.ObjectPending:        202,
    errors.BytesArchived:        202,
    errors.TooManyUploads:       429,
    errors.TooManyAtOnce:        429,
    errors.TooManyRequests:      429,
    errors.TooManySessions:      429,
    errors.TooManyStreams:       429,
    errors.StorageFull:          507,
    errors.QuotaExceeded:        507,
}  # fmt: skip

# What the framework refuses before any of our code is asked.
FRAMEWORK_CODES = {404: "route_not_found", 405: "method_not_allowed"}

# As it says that there is no body: the name of the argument that it would have been.
NO_BODY = "data: 'data'"

RETRY_AFTER = "5"  # seconds
TRY_AGAIN = {202, 423, 429, 503, 507}
NO_STORE = {"cache-control": "no-store"}


class Error(msgspec.Struct, kw_only=True):
    """DRS 1.5.0 `Error`, and the stable name of what went wrong."""

    msg: str
    status_code: int
    code: str


def status_of(error: type[DrsServiceError]) -> int:
    return next(STATUS[ancestor] for ancestor in error.__mro__ if ancestor in STATUS)


def respond(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response[Error]:
    return Response(
        Error(msg=message, status_code=status, code=code),
        status_code=status,
        media_type="application/json",
        headers={**NO_STORE, **(headers or {})},
    )


def on_service_error(request: AnyRequest, error: DrsServiceError) -> Response[Error] | Response[bytes]:
    status = status_of(type(error))
    request.scope["state"][CODE] = error.code
    headers = {}
    if status >= 500 and not isinstance(error, Rejected):
        log.error("request failed", code=error.code, path=request.scope["path"], error=str(error), **error.facts)
    if status in TRY_AGAIN and not isinstance(error, QuotaExceeded):
        headers["retry-after"] = str(error.facts.get("retry_after", RETRY_AFTER))
    if isinstance(error, ObjectPending | BytesArchived):
        # Bytes, for the framework would write None as `null`.
        return Response(b"", status_code=status, media_type="text/plain", headers={**NO_STORE, **headers})
    if isinstance(error, UploadStalled | UploadBusy | TooManyAtOnce | TooManyRequests):
        # RFC 9110 15.5.9: the rest of the request is not waited for. Nor is that of one that had to make room, or got
        # none.
        headers["connection"] = "close"
    if status == 401:
        headers["www-authenticate"] = "Bearer"  # RFC 9110 15.5.2: say how to be let in
    if isinstance(error, RangeNotSatisfiable):
        # RFC 9110 15.5.17: say how long the representation is.
        size = error.facts["size"]
        assert isinstance(size, int)
        headers["content-range"] = unsatisfied_content_range(size)
    return respond(status, error.code, str(error), headers)


def on_framework_error(_: AnyRequest, error: HTTPException) -> Response[Error]:
    status = 400 if error.status_code == 422 else error.status_code
    code = FRAMEWORK_CODES.get(status, "bad_request" if status < 500 else "internal")
    # RFC 9110 15.5.6 asks for Allow on a 405; the framework knows it.
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    return respond(status, code, fault_of(error), headers)


def fault_of(error: HTTPException) -> str:
    """What the framework finds wrong, with the members that it is about."""
    faults = [one for one in error.extra or () if isinstance(one, dict)] if isinstance(error.extra, list) else []
    said = [": ".join(filter(None, (str(one.get("key") or ""), str(one.get("message") or "")))) for one in faults]
    if said == [NO_BODY]:
        return "The request has no body. It needs one of JSON."
    return f"The request is not valid: {'; '.join(said)}" if said else error.detail


def told(error: DrsServiceError) -> tuple[int, bytes]:
    """The status of an answer that says what is wrong, and its body."""
    status = status_of(type(error))
    return status, msgspec.json.encode(Error(msg=str(error), status_code=status, code=error.code))


def refused(error: DrsServiceError) -> ASGIApp:
    """The answer to a request that does not get as far as the framework."""
    status, body = told(error)
    return ASGIResponse(body=body, status_code=status, media_type="application/json", headers=NO_STORE)


def on_bug(request: AnyRequest, error: Exception) -> Response[Error]:
    log.exception("unexpected error", path=request.scope["path"], exc_info=error)
    return respond(500, DrsServiceError.code, "The service made a mistake. It has been logged.")


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    DrsServiceError: on_service_error,
    HTTPException: on_framework_error,
    Exception: on_bug,
}
