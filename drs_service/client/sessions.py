"""Sessions of a service, for whoever has their secrets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec

from drs_service.client.answers import refused
from drs_service.errors import Forbidden
from drs_service.outgoing.http import decoded
from drs_service.outgoing.transfers import Transfers

Shape = TypeVar("Shape")


class Step(msgspec.Struct):
    at: datetime
    state: str
    reason: str | None = None
    left_out: int = 0


class Tunnel(msgspec.Struct):
    connected: bool
    since: datetime | None = None


class Session(msgspec.Struct):
    id: str
    url: str
    state: str
    tunnel: Tunnel
    running: int
    expires_at: datetime
    history: list[Step]
    name: str | None = None
    target: str | None = None
    reason: str | None = None


class Link(msgspec.Struct):
    url: str
    expires_at: datetime


class Created(msgspec.Struct):
    session: Session
    secret: str
    join_token: str
    link: Link


@dataclass(frozen=True, slots=True)
class Said(Generic[Shape]):
    json: bytes
    """As it came."""
    read: Shape


class Sessions:
    """Unavailable, NotFound, Rejected, Forbidden."""

    def __init__(self, transfers: Transfers, service_url: str) -> None:
        self._transfers = transfers
        self._service_url = service_url

    async def create(
        self, *, name: str | None, target: str | None, life: int | None, idle: int | None
    ) -> Said[Created]:
        said = {"name": name, "target": target, "max_seconds": life, "idle_seconds": idle}
        body = msgspec.json.encode({key: value for key, value in said.items() if value is not None})
        return await self._ask("POST", "/sessions", Created, {"Content-Type": "application/json"}, body)

    async def show(self, session_id: str, secret: str) -> Said[Session]:
        return await self._ask("GET", path(session_id), Session, bearer(secret))

    async def stop(self, session_id: str, secret: str) -> Said[Session]:
        return await self._ask("DELETE", path(session_id), Session, bearer(secret))

    async def _ask(
        self, method: str, where: str, shape: type[Shape], headers: dict[str, str], body: bytes | None = None
    ) -> Said[Shape]:
        reply = await self._transfers.send(method, f"{self._service_url}{where}", headers, body)
        if reply.status not in (200, 201, 202):
            raise refused(reply)
        return Said(reply.body, decoded(reply.body, shape, url=reply.url))


def path(session_id: str) -> str:
    return f"/sessions/{quote(session_id, safe='')}"


def bearer(secret: str) -> dict[str, str]:
    """Forbidden for what no header can carry, which is no secret."""
    if not (secret.isascii() and secret.isprintable()):
        raise Forbidden("This is not the secret of a session.")
    return {"Authorization": f"Bearer {secret}"}
