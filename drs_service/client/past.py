"""The client's side of uploads that go past the service, to where it keeps the bytes."""

from collections.abc import AsyncIterable

import msgspec

from drs_service.client.answers import read, refused
from drs_service.errors import NotFound, Rejected, Unavailable
from drs_service.outgoing.transfers import Buffer, Transfers


class Progress(msgspec.Struct):
    parts_url: str | None = None


class PartHere(msgspec.Struct):
    number: int
    size: int


class Here(msgspec.Struct):
    """How the upload is cut, and what of it has come."""

    part_size: int
    count: int
    parts: list[PartHere]


class Ticket(msgspec.Struct):
    url: str
    size: int


class Tickets(msgspec.Struct):
    parts: list[Ticket]


class Becoming(msgspec.Struct):
    id: str


class Completed(msgspec.Struct):
    object: Becoming | None = None


class Past:
    """One upload of a service."""

    def __init__(self, transfers: Transfers, service_url: str, upload_id: str) -> None:
        self._transfers = transfers
        self._service_url = service_url.rstrip("/")
        self._url = f"{self._service_url}/uploads/{upload_id}"

    async def here(self) -> Here:
        """Rejected if the service takes nothing past itself; NotFound, Unavailable."""
        if read(await self._transfers.get(self._url), Progress).parts_url is None:
            raise Rejected("This service takes no bytes past itself: send them without --direct.")
        return read(await self._transfers.get(f"{self._url}/parts"), Here)

    async def bring(self, number: int, pieces: AsyncIterable[Buffer]) -> None:
        """Bring the bytes of one part. NotFound, Unavailable."""
        body = msgspec.json.encode({"numbers": [number]})
        reply = await self._transfers.send("POST", f"{self._url}/parts", {"Content-Type": "application/json"}, body)
        [ticket] = read(reply, Tickets).parts
        brought = await self._transfers.send("PUT", ticket.url, {"Content-Length": str(ticket.size)}, pieces)
        if brought.status == 404:
            raise NotFound("The storage knows nothing of this upload any more: begin again.")
        if brought.status not in (200, 201):
            # Of the storage, whose reasons are not for its senders: the next URL may do.
            raise Unavailable(f"The storage answers {brought.status} to part {number}.")

    async def complete(self) -> str:
        """The URL of the object that it becomes. NotFound, Rejected, Unavailable."""
        reply = await self._transfers.send("POST", f"{self._url}/complete", {}, b"")
        if reply.status not in (200, 202):
            raise refused(reply)
        made = msgspec.json.decode(reply.body, type=Completed).object
        if made is None:
            raise Rejected(f"{self._url} does not become an object.")
        return f"{self._service_url}/ga4gh/drs/v1/objects/{made.id}"
