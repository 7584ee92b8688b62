"""What servers answer: DRS objects as they are found out there, and refusals as errors of ours."""

from typing import TypeVar

import msgspec

from drs_service.domain import checksums
from drs_service.domain.checksums import COMPUTABLE
from drs_service.errors import (
    ChecksumInvalid,
    DrsServiceError,
    Forbidden,
    NotFound,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from drs_service.outgoing.http import decoded
from drs_service.outgoing.transfers import Reply

Shape = TypeVar("Shape")

# 408: no bytes came for too long, and what came stays. 423: another request has the upload.
LATER = {408, 423, 425, 429}
MAX_MESSAGE = 500


class Checksum(msgspec.Struct):
    checksum: str
    type: str


class AccessURL(msgspec.Struct):
    url: str
    headers: list[str] | str | None = None
    """DRS's own example is one string, where its schema has a list."""

    def pairs(self) -> list[tuple[str, str]]:
        lines = [self.headers] if isinstance(self.headers, str) else self.headers or []
        return [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


class AccessMethod(msgspec.Struct):
    type: str
    access_url: AccessURL | None = None
    access_id: str | None = None
    available: bool | None = None


class Content(msgspec.Struct):
    name: str
    id: str | None = None
    drs_uri: list[str] | str | None = None
    contents: "list[Content] | None" = None


class DrsObject(msgspec.Struct):
    id: str
    size: int
    checksums: list[Checksum]
    self_uri: str = ""
    name: str | None = None
    access_methods: list[AccessMethod] | None = None
    contents: list[Content] | None = None

    def computable(self) -> dict[str, str]:
        """The checksums that can be held against bytes, by algorithm."""
        found: dict[str, str] = {}
        for one in self.checksums:
            try:
                read = checksums.checksum(one.type, one.checksum)
            except ChecksumInvalid:  # in base64, or cut short: nothing to compare with
                continue
            if read.algorithm in COMPUTABLE:
                found[read.algorithm] = read.value
        return found


class Objects(msgspec.Struct):
    objects: list[DrsObject]


class Error(msgspec.Struct):
    msg: str | None = None
    code: str | None = None


def read(reply: Reply, shape: type[Shape]) -> Shape:
    """The JSON of an answer; its refusal raised."""
    if reply.status not in (200, 201):
        raise refused(reply)
    return decoded(reply.body, shape, url=reply.url)


def refused(reply: Reply) -> DrsServiceError:
    """The error that an answer is. Unavailable, with retry_after if it says so, if the request may yet succeed."""
    if reply.status == 202:
        return preparing(reply)
    message = f"{reply.url} answers {reply.status}"
    try:
        said = msgspec.json.decode(reply.body, type=Error)
    except (msgspec.DecodeError, RecursionError):
        said = Error()
    message += f": {printable(said.msg)}" if said.msg else "."
    if said.code == QuotaExceeded.code:
        return QuotaExceeded(message)  # that lasts until somebody deletes something
    if reply.status in LATER or reply.status >= 500:
        return Unavailable(message, retry_after=retry_after(reply.headers.get("Retry-After")))
    if reply.status in (404, 410):
        return NotFound(message)
    return (Forbidden if reply.status in (401, 403) else Rejected)(message)


def preparing(reply: Reply) -> Unavailable:
    """DRS 1.5.0: "The operation is delayed and will continue asynchronously": in an archive, this takes hours."""
    later = retry_after(reply.headers.get("Retry-After"))
    message = f"{reply.url} answers 202: the bytes are still being prepared; ask again in {later:.0f} s."
    return Unavailable(message, retry_after=later, preparing=True)


def is_preparing(error: Unavailable) -> bool:
    return error.facts.get("preparing") is True


def retry_after(text: str | None) -> float:
    """Seconds. DRS: an integer; what else HTTP allows there is not waited for."""
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def printable(text: str) -> str:
    """What a server says, as it may be shown on a terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[:MAX_MESSAGE])
