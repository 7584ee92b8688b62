"""The client's side of tus 1.0.0: https://tus.io/protocols/resumable-upload"""

from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

from drs_service.client.answers import refused
from drs_service.domain import tus
from drs_service.errors import Unavailable
from drs_service.outgoing.transfers import Buffer, Reply, Transfers

RESUMABLE = {"Tus-Resumable": tus.VERSION}
CHUNK = "application/offset+octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far an upload has come."""

    url: str
    offset: int
    length: int | None = None
    object_url: str | None = None
    """What became of it."""


class Tus:
    """NotFound if the upload is no more; else as `answers.refused` has it."""

    def __init__(self, transfers: Transfers, service_url: str) -> None:
        self._transfers = transfers
        self._url = f"{service_url.rstrip('/')}/tus"

    async def create(self, size: int, metadata: Mapping[str, str], *, is_part: bool = False) -> Standing:
        headers = {"Upload-Length": str(size)} | ({"Upload-Concat": "partial"} if is_part else {})
        return await self._create(headers, metadata)

    async def join(self, parts: Sequence[str], metadata: Mapping[str, str]) -> Standing:
        """The upload that these make, in their order. Once joined, they are no more; joining them again is harmless."""
        return await self._create({"Upload-Concat": f"final;{' '.join(parts)}"}, metadata)

    async def _create(self, headers: Mapping[str, str], metadata: Mapping[str, str]) -> Standing:
        said = {"Upload-Metadata": tus.written_metadata(metadata)} if metadata else {}
        reply = await self._transfers.send("POST", self._url, {**RESUMABLE, **headers, **said}, b"")
        location = reply.headers.get("Location")
        if reply.status != 201 or location is None:
            raise refused(reply)
        return standing(reply, urljoin(self._url, location), offset="0")

    async def ask(self, url: str) -> Standing:
        """Whoever else is sending to the upload is made to stop."""
        reply = await self._transfers.send("HEAD", url, RESUMABLE)
        if reply.status not in (200, 204):
            raise refused(reply)
        return standing(reply, url)

    async def give_up(self, url: str) -> None:
        reply = await self._transfers.send("DELETE", url, RESUMABLE)
        if reply.status not in (200, 204):
            raise refused(reply)

    async def send(self, url: str, offset: int, length: int, pieces: AsyncIterable[Buffer]) -> Standing:
        headers = {"Upload-Offset": str(offset), "Content-Length": str(length), "Content-Type": CHUNK}
        reply = await self._transfers.send("PATCH", url, {**RESUMABLE, **headers}, pieces)
        if reply.status == 409:
            raise Unavailable(f"The upload does not stand at {offset} any more.")
        if reply.status not in (200, 204):
            raise refused(reply)
        return standing(reply, url)


def standing(reply: Reply, url: str, *, offset: str = "") -> Standing:
    """Unavailable if it is not said."""
    said, length, became = (reply.headers.get(name) for name in ("Upload-Offset", "Upload-Length", "Content-Location"))
    # What is joined of parts has no offset before it is; it becomes something all the same.
    said = said or offset or (length if became and length else "")
    if not (said.isascii() and said.isdigit()):
        raise Unavailable(f"{url} does not say how far the upload has come.")
    return Standing(
        url=url,
        offset=int(said),
        length=int(length) if length and length.isascii() and length.isdigit() else None,
        object_url=urljoin(url, became) if became else None,
    )
