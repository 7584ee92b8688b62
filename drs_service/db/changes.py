"""Hearing from Postgres what has changed, for as long as it can be heard.

The triggers of the migrations send `object <id>`, `blob <hex digest>` and `session <id>` on one channel, and nodes that
want to go on with an upload send `turn <id>`, or `send <id> <who>` to send what another one may be about to. Whoever
keeps rows in memory may do so only between `on_connect` and `on_loss`: outside of it a change could go unheard.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg
import structlog

from drs_service.db.pool import Connection
from drs_service.db.translate import connecting, translating
from drs_service.domain.digest import Digest
from drs_service.errors import DatabaseRefused, DatabaseUnavailable

log = structlog.get_logger()

CHANNEL = "object_changes"
NODES = 0x64727331  # class of the advisory locks that say which processes live
HEARTBEAT = 5.0  # seconds: a dead connection that says nothing is found out after two of these
RETRY = 1.0  # seconds between attempts to connect


@dataclass(frozen=True, slots=True)
class ObjectChanged:
    id: str


@dataclass(frozen=True, slots=True)
class BlobChanged:
    digest: Digest


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """Its state, who holds its tunnel, or who may drive it."""

    id: str


@dataclass(frozen=True, slots=True)
class TurnCalled:
    """Somebody wants to go on with an upload."""

    upload_id: str
    by: str | None = None
    """Who would send what another one may be about to send; None for who goes before whoever sends."""


Change = ObjectChanged | BlobChanged | SessionChanged | TurnCalled


class Listener(Protocol):
    def on_connect(self) -> None: ...
    def on_change(self, change: Change) -> None: ...
    def on_loss(self) -> None: ...


class Together:
    """All of listeners."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def on_connect(self) -> None:
        for one in self._listeners:
            one.on_connect()

    def on_change(self, change: Change) -> None:
        for one in self._listeners:
            one.on_change(change)

    def on_loss(self) -> None:
        for one in self._listeners:
            one.on_loss()


async def listen(url: str, listener: Listener, *, new_node: Callable[[], int]) -> None:
    """Keep listener informed until cancelled, connecting again whatever happens: nobody looks whether this ended.

    For as long as one connection hears, a lock says that the process lives under the number that it was given for it.
    """
    while True:
        try:
            await listen_once(url, listener, node=new_node())
        except (DatabaseUnavailable, DatabaseRefused) as error:
            log.warning("changes are not heard", **error.facts)
        except Exception:
            log.exception("changes are not heard")
        await asyncio.sleep(RETRY)


async def listen_once(url: str, listener: Listener, *, node: int) -> None:
    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        listener.on_change(parse(str(payload)))

    with translating():
        with connecting():
            connection: Any = await asyncpg.connect(
                url,
                timeout=10,
                command_timeout=HEARTBEAT,
                server_settings={"application_name": "drs-service changes"},
                statement_cache_size=0,
            )
        try:
            await connection.execute("SELECT pg_advisory_lock_shared($1, $2)", NODES, node)
            await connection.add_listener(CHANNEL, hear)
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _connection: lost.set())
            listener.on_connect()
            while not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), HEARTBEAT)
                if not lost.is_set():
                    await connection.execute("SELECT 1")
        finally:
            listener.on_loss()
            connection.terminate()


def parse(payload: str) -> Change:
    kind, _, name = payload.partition(" ")
    match kind:
        case "blob":
            return BlobChanged(Digest.from_hex(name))
        case "session":
            return SessionChanged(name)
        case "turn":
            return TurnCalled(name)
        case "send":
            upload_id, _, by = name.partition(" ")
            return TurnCalled(upload_id, by)
    return ObjectChanged(name)


async def call_for_turn(connection: Connection, call: TurnCalled) -> None:
    """Let every node hear it."""
    said = f"turn {call.upload_id}" if call.by is None else f"send {call.upload_id} {call.by}"
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, said)
