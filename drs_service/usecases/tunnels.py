"""What nodes do with the tunnels of sessions: hold them, find them, and speak to each other about them.

The database alone says who holds a tunnel. Each time an agent attaches, the epoch of its session grows, and whoever
holds it with an earlier one holds nothing any more: that is found out with the next beat, or when the change is heard.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from drs_service.db import nodes, session_keys, tunnels
from drs_service.db.pool import Connection, Database
from drs_service.db.tunnels import Activity, Held, Standing, Whereabouts
from drs_service.domain.sessions import SECRET_BYTES, Kind, Reason, State, hashed, is_session_id
from drs_service.errors import JoinRefused, SessionEnded

__all__ = ["Activity", "Call", "Fate", "Held", "Tunnels", "Verdict", "Whereabouts"]

MAX_CREDENTIAL = 256  # characters
MIN_CREDENTIAL = 43  # of 32 bytes, as an agent makes them


class Fate(StrEnum):
    """What a node has to do with a tunnel."""

    FENCED = "fenced"
    """Close it: another one is the session's tunnel, or none is."""
    STOPPING = "stopping"
    """Tell the agent to end."""
    ENDED = "ended"
    """Close it: the session is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    session_id: str
    epoch: int
    fate: Fate
    reason: Reason | None
    """Why the session ends or has ended."""


@dataclass(frozen=True, slots=True)
class Call:
    """By which one node is believed by another: it says the token once, and hears the answer."""

    token: str
    answer: str


class Tunnels:
    def __init__(self, database: Database, *, lost: timedelta) -> None:
        """lost: how long an agent may be away before its session ends."""
        self._database = database
        self._lost = lost
        self._addresses: dict[str, str] = {}

    async def enlist(self, address: str) -> str:
        """A new node, which others reach at this host:port. Returns its id."""
        node_id = secrets.token_hex(8)
        async with self._database.connection() as connection:
            await nodes.seen(connection, node_id, address)
        self._addresses[node_id] = address
        return node_id

    async def leave(self, node_id: str) -> None:
        """There is no such node any more, and nobody has its tunnels."""
        async with self._database.connection() as connection:
            await nodes.delete(connection, node_id)
        self._addresses.pop(node_id, None)

    async def attach(self, node_id: str, credential: str, join_token: str | None) -> Held:
        """Have the tunnel of the session whose agent this is. May be said again, with the same credential.

        The credential is the agent's own making: at least 32 random bytes, url-safe. With its join token, which is used
        up by that, it becomes the agent of a session. JoinRefused, SessionEnded, Unavailable.
        """
        if not (MIN_CREDENTIAL <= len(credential) <= MAX_CREDENTIAL and credential.isascii()):
            raise JoinRefused("A credential is made of at least 32 random bytes, url-safe.")
        token = hashed(join_token) if join_token is not None else None
        async with self._database.transaction() as connection:
            session_id = await joined(connection, hashed(credential), token)
            held = await tunnels.attach(connection, session_id, node_id)
        if held is None:
            raise SessionEnded
        return held

    async def detach(self, held: Held, *, left: bool) -> None:
        """Nobody has it any more, unless somebody has attached it since. May be said again.

        left: the agent has said that it ends for good, and the session ends with that.
        """
        async with self._database.connection() as connection:
            await tunnels.detach(connection, held, left=left)

    async def find(self, session_id: str) -> Whereabouts | None:
        """Where its tunnel is, and who may drive it; None if there is no such session, or it has ended."""
        if not is_session_id(session_id):
            return None
        async with self._database.connection() as connection:
            return await tunnels.find(connection, session_id)

    async def enter(self, session_id: str, visits: Sequence[bytes]) -> None:
        """Cookies with these hashes are shown for the first time, which uses their link up. May be said again."""
        async with self._database.transaction() as connection:
            await session_keys.enter(connection, session_id, visits)
            await session_keys.cut(connection, session_id, Kind.COOKIE)

    async def beat(self, node_id: str, activities: Sequence[Activity]) -> list[Verdict]:
        """Say every few seconds that the node lives, and what it has seen of each tunnel that it holds.

        Ends whatever sessions are due, also those of others. Returns what the node has to do; what it has not done by
        the next time it is told again.
        """
        async with self._database.connection() as connection:
            await nodes.seen(connection, node_id, self._addresses[node_id])
            found = await tunnels.beat(connection, node_id, activities)
            found += await tunnels.end_due(connection, node_id, lost=self._lost)
            await nodes.forget(connection)
        return [verdict(one) for one in found]

    async def call(self, node_id: str, to_node: str) -> Call:
        """What node_id says to to_node within half a minute, and what it is to hear then."""
        made = Call(secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES))
        async with self._database.connection() as connection:
            await nodes.call(connection, hashed(made.token), to_node, made.answer)
        return made

    async def answer(self, node_id: str, token: str) -> str | None:
        """What node_id, who was called with this token, says to that: once. None if nobody of ours has called it."""
        async with self._database.connection() as connection:
            return await nodes.answer(connection, hashed(token), node_id)


async def joined(connection: Connection, credential: bytes, token: bytes | None) -> str:
    """The session that this credential is of, now if not before. JoinRefused."""
    found = await session_keys.agent(connection, credential, token)
    if found is None and token is not None:
        found = await session_keys.join(connection, token, credential)
        if found is None:  # the same agent may just have done so, and not have heard of it
            found = await session_keys.agent(connection, credential, token)
    if found is None:
        raise JoinRefused
    return found


def verdict(standing: Standing) -> Verdict:
    if standing.state is State.ENDED:
        fate = Fate.ENDED
    elif not standing.is_newest:
        fate = Fate.FENCED
    else:
        assert standing.state is State.STOPPING
        fate = Fate.STOPPING
    return Verdict(session_id=standing.session_id, epoch=standing.epoch, fate=fate, reason=standing.reason)
