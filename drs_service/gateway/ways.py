"""Which link leads to the app of a session, from this node."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from drs_service.db import changes
from drs_service.domain.sessions import State
from drs_service.errors import DatabaseUnavailable, SessionEnded, SessionNotFound, TunnelAbsent, Unavailable
from drs_service.tunnel.link import Link
from drs_service.usecases.bells import Bells
from drs_service.usecases.tunnels import Held, Tunnels, Whereabouts

if TYPE_CHECKING:
    from drs_service.gateway.peers import Peers

FRESH = 60.0  # seconds for which what was found holds, unless a change is heard of, or while the database is away
FRESH_UNHEARD = 1.0  # and while none can be heard of
LOOK_AGAIN = 1.0  # seconds between looks for an agent that comes back, unless one is heard of
LOOK_AFTER_REFUSAL = 0.05  # seconds: what refused it was about to go, or is not there yet
MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Holding:
    """A tunnel that ends at this node."""

    held: Held
    link: Link


@dataclass(frozen=True, slots=True)
class Known:
    where: Whereabouts
    since: float
    """When it was asked for, by the loop's time."""


class Ways:
    """Hears of changes; what it knows is looked up otherwise."""

    def __init__(self, tunnels: Tunnels, peers: "Peers", *, grace: float) -> None:
        """grace: seconds for which a request waits for an agent that has lost its connection."""
        self.held: dict[str, Holding] = {}
        """By session."""
        self._tunnels = tunnels
        self._peers = peers
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, Known] = {}
        self._bells = Bells()  # who waits for a session hears that this one has changed, and looks again
        self._heard_since: float | None = None

    def ready(self, session_id: str, secrets: Sequence[bytes]) -> Link | None:
        """The link, if that is known without asking anybody, and one of the secrets opens it."""
        known = self._known.get(session_id)
        if known is None or not self._is_fresh(known) or not opens(known.where, secrets):
            return None
        return self._linked(known.where)

    async def find(self, session_id: str, secrets: Sequence[bytes], *, since: float, refused: bool = False) -> Link:
        """The link, waiting for an agent that may come back. SessionNotFound, also for a stranger; SessionEnded;
        TunnelAbsent.

        since: the loop's time from which on the request waits; refused: by the link that was found before.
        """
        deadline = since + self._grace
        with self._bells.heard(session_id) as changed:
            if refused:
                if self._loop.time() > deadline:
                    raise TunnelAbsent
                await self._change(changed, LOOK_AFTER_REFUSAL)
            while True:
                changed.clear()
                where = await self._look(session_id, secrets, changed)
                if where is not None and (visits := visits_of(where, secrets)):
                    await self._tunnels.enter(session_id, visits)
                    where = await self._look(session_id, secrets, changed)
                if where is None or not opens(where, secrets):
                    raise SessionNotFound
                if where.state is State.ENDED:
                    raise SessionEnded
                if link := self._linked(where) or await self._called(where, changed):
                    return link
                if where.epoch == 0:
                    raise TunnelAbsent("No agent has joined the session yet.")
                left = deadline - self._loop.time()
                if left <= 0 or where.state is State.STOPPING:
                    raise TunnelAbsent
                await self._change(changed, min(left, LOOK_AGAIN))

    async def _change(self, changed: asyncio.Event, patience: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), patience)

    def is_opened_by(self, session_id: str, secret: bytes) -> bool:
        """Whether the secret is one of the session's, for which a link was just found; in doubt it is."""
        known = self._known.get(session_id)
        return known is None or opens(known.where, (secret,))

    def forget(self, session_id: str) -> None:
        """What is known of it is old."""
        self._known.pop(session_id, None)

    def moved(self, session_id: str) -> None:
        """What is known of it is old, and who waits for it looks again."""
        self.forget(session_id)
        self._bells.ring(session_id)

    async def _look(self, session_id: str, secrets: Sequence[bytes], changed: asyncio.Event) -> Whereabouts | None:
        now = self._loop.time()
        try:
            where = await self._tunnels.find(session_id)
        except DatabaseUnavailable:
            # It has not changed since: nobody can have changed it. But a stranger learns nothing of it.
            known = self._known.get(session_id)
            if known is None or now - known.since > FRESH or not opens(known.where, secrets):
                raise
            return known.where
        if where is not None and not changed.is_set():  # else it may be old already
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[session_id] = Known(where, now)
        return where

    def _is_fresh(self, known: Known) -> bool:
        hears = self._heard_since is not None and known.since >= self._heard_since
        return self._loop.time() - known.since < (FRESH if hears else FRESH_UNHEARD)

    def _linked(self, where: Whereabouts) -> Link | None:
        if where.node_id == self._peers.node_id:
            holding = self.held.get(where.session_id)
            if holding is None or holding.held.epoch != where.epoch or not holding.link.is_up:
                return None
            return holding.link
        return self._peers.linked(where.node_id) if where.node_id is not None else None

    async def _called(self, where: Whereabouts, changed: asyncio.Event) -> Link | None:
        """The link to the node that holds the tunnel, unless that is heard to have changed before the node answers."""
        if where.node_id in {None, self._peers.node_id} or where.address is None:
            return None
        assert where.node_id is not None
        calling = asyncio.ensure_future(self._peers.call(where.node_id, where.address))
        hearing = asyncio.ensure_future(changed.wait())
        try:
            await asyncio.wait((calling, hearing), return_when=asyncio.FIRST_COMPLETED)
            return calling.result() if calling.done() else None
        except Unavailable:
            return None
        finally:
            calling.cancel()  # others may wait for the same call, which goes on
            hearing.cancel()

    # What is heard.

    def on_connect(self) -> None:
        self._heard_since = self._loop.time()

    def on_change(self, change: changes.Change) -> None:
        if isinstance(change, changes.SessionChanged):
            self.moved(change.id)

    def on_loss(self) -> None:
        self._heard_since = None


def opens(where: Whereabouts, secrets: Sequence[bytes]) -> bool:
    """Whether one of the secrets lets its bearer drive the session."""
    for one in secrets:  # noqa: SIM110  # each request asks this, and `any` takes thrice as long
        if hashed(one) in where.keys:
            return True
    return False


def visits_of(where: Whereabouts, secrets: Sequence[bytes]) -> list[bytes]:
    """The hashes of those secrets that nobody has shown before."""
    return [digest for digest in map(hashed, secrets) if digest in where.visits]


@lru_cache(maxsize=MOST_KNOWN)
def hashed(secret: bytes) -> bytes:
    """As `sessions.hashed`, and remembered: most requests show the same few."""
    return hashlib.sha256(secret).digest()
