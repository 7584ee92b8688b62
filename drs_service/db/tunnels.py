"""Rows of sessions, for the nodes that hold their tunnels. Every change is made only if nobody else was first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drs_service.db.nodes import DEAD
from drs_service.db.pool import Connection
from drs_service.db.sessions import HELD
from drs_service.domain.sessions import Reason, State, before

QUIET = 10  # seconds without activity after which a session is idle
GRACE = 30  # seconds that an agent has to end when it is told to

ATTACHABLE = before(State.CONNECTED) | {State.CONNECTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A tunnel, for as long as nobody attaches another one for the session."""

    session_id: str
    epoch: int
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where the tunnel of a session is, and who may drive it."""

    session_id: str
    state: State
    epoch: int
    node_id: str | None
    """Who holds the tunnel."""
    address: str | None
    """host:port where other nodes reach that node; None if nobody holds the tunnel who lives."""
    keys: frozenset[bytes]
    """The sha-256 of each secret that drives it."""
    visits: frozenset[bytes] = frozenset()
    """And of each that is to drive it from when it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What was seen of a tunnel since the last time."""

    session_id: str
    epoch: int
    active: bool
    """Whether anything moved, or was under way."""
    running: int
    """Work that the agent reports to be under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What became of a session whose tunnel a node holds, or thinks it does."""

    session_id: str
    epoch: int
    """Of the tunnel."""
    is_newest: bool
    """Whether it is still the session's tunnel."""
    state: State
    reason: Reason | None


# An agent that comes back is no activity: else one with a bad connection would live for ever.
ATTACH = """
    UPDATE sessions SET epoch = epoch + 1, node_id = $2, state = 'connected', joined_at = coalesce(joined_at, now()),
        active_at = CASE WHEN joined_at IS NULL THEN now() ELSE active_at END
    WHERE id = $1 AND state = ANY($3) AND expires_at > now()
    RETURNING epoch, expires_at
"""


async def attach(connection: Connection, session_id: str, node_id: str) -> Held | None:
    """Give its tunnel to a node, whoever had it before. None if the session ends or has ended."""
    row = await connection.fetchrow(ATTACH, session_id, node_id, sorted(ATTACHABLE))
    if row is None:
        return None
    return Held(session_id=session_id, epoch=row["epoch"], expires_at=row["expires_at"])


DETACH = """
    UPDATE sessions SET node_id = NULL, running = CASE WHEN $3 THEN 0 ELSE running END,
        state = CASE WHEN $3 THEN 'ended' ELSE state END,
        reason = CASE WHEN $3 THEN coalesce(reason, 'agent_left') ELSE reason END
    WHERE id = $1 AND epoch = $2 AND state = ANY($4)
"""


async def detach(connection: Connection, held: Held, *, left: bool) -> None:
    """Nobody holds it any more, unless another one does. left: and the session ends with that."""
    await connection.execute(DETACH, held.session_id, held.epoch, left, sorted(before(State.ENDED)))


FIND = f"""
    SELECT state, epoch, node_id, (
        SELECT address FROM nodes WHERE nodes.id = node_id AND seen_at > now() - interval '{DEAD} seconds'
    ) AS address, ARRAY(
        SELECT hash FROM session_keys
        WHERE session_id = sessions.id AND kind IN ('driving', 'cookie') AND (expires_at IS NULL OR expires_at > now())
    ) AS keys, ARRAY(
        SELECT hash FROM session_keys
        WHERE session_id = sessions.id AND kind = 'visit' AND expires_at > now()
    ) AS visits
    FROM sessions WHERE id = $1
"""  # noqa: S608  # of constants


async def find(connection: Connection, session_id: str) -> Whereabouts | None:
    """None if there is no such session."""
    row = await connection.fetchrow(FIND, session_id)
    if row is None:
        return None
    return Whereabouts(
        session_id=session_id,
        state=State(row["state"]),
        epoch=row["epoch"],
        node_id=row["node_id"],
        address=row["address"],
        keys=frozenset(row["keys"]),
        visits=frozenset(row["visits"]),
    )


# What stays as it is, is not written.
BEAT = f"""
    WITH said AS (
        SELECT * FROM unnest($2::text[], $3::bigint[], $4::boolean[], $5::integer[])
            AS said (said_id, said_epoch, active, now_running)
    ), heard AS (
        UPDATE sessions SET
            running = now_running,
            active_at = CASE WHEN active OR now_running > 0 THEN now() ELSE active_at END,
            state = CASE
                WHEN active OR now_running > 0 THEN 'connected'
                WHEN active_at <= now() - interval '{QUIET} seconds' THEN 'idle'
                ELSE state
            END
        FROM said
        WHERE id = said_id AND epoch = said_epoch AND node_id = $1 AND state IN ('connected', 'idle') AND (
            active OR now_running > 0 OR running <> now_running
            OR (state = 'connected' AND active_at <= now() - interval '{QUIET} seconds')
        )
    )
    SELECT said_id, said_epoch, state, reason, (epoch, node_id) IS NOT DISTINCT FROM (said_epoch, $1) AS is_newest
    FROM said LEFT JOIN sessions ON id = said_id
    WHERE (epoch, node_id) IS DISTINCT FROM (said_epoch, $1) OR state NOT IN ('connected', 'idle')
"""  # noqa: S608  # of constants


async def beat(connection: Connection, node_id: str, activities: Sequence[Activity]) -> list[Standing]:
    """Write down what was seen of a node's tunnels. Returns those that it may hold no longer, or not for long."""
    rows = await connection.fetch(
        BEAT,
        node_id,
        [one.session_id for one in activities],
        [one.epoch for one in activities],
        [one.active for one in activities],
        [one.running for one in activities],
    )
    return [
        Standing(
            session_id=row["said_id"],
            epoch=row["said_epoch"],
            is_newest=row["is_newest"],
            state=State(row["state"] or State.ENDED),  # one that is forgotten has ended
            reason=Reason(row["reason"]) if row["reason"] is not None else None,
        )
        for row in rows
    ]


# Why a session ends now, if it does. Whether one is idle, the node knows that holds it ($2) and nobody else: it may
# have seen something since its last word, or have lost the database, and will tell.
DUE = f"""
    CASE
        WHEN state = 'stopping' THEN CASE WHEN state_at <= now() - interval '{GRACE} seconds' THEN reason END
        WHEN expires_at <= now() THEN 'expired'
        WHEN state = 'created' THEN CASE WHEN join_by <= now() THEN 'never_joined' END
        WHEN node_id IS NULL AND tunnel_at <= now() - $1::interval THEN 'agent_left'
        WHEN (node_id IS NULL OR node_id = $2)
            AND running = 0 AND active_at <= now() - make_interval(secs => idle_seconds)
            THEN 'idle'
    END
"""
# What another node is about is left to it.
END = f"""
    WITH due AS (
        SELECT id AS due_id, {HELD} AND state <> 'stopping' AS is_told, {DUE} AS why FROM sessions
        WHERE state <> 'ended' AND {DUE} IS NOT NULL
        FOR UPDATE SKIP LOCKED
    )
    UPDATE sessions SET
        state = CASE WHEN is_told THEN 'stopping' ELSE 'ended' END,
        node_id = CASE WHEN is_told THEN node_id END,
        reason = why
    FROM due WHERE id = due_id
    RETURNING id, epoch, state, reason, node_id
"""  # noqa: S608  # of constants


async def end_due(connection: Connection, node_id: str, *, lost: timedelta) -> list[Standing]:
    """End the sessions whose time is over, whoever holds them. Returns those that this node is to end.

    lost: how long an agent may be away.
    """
    return [
        Standing(
            session_id=row["id"],
            epoch=row["epoch"],
            is_newest=True,
            state=State(row["state"]),
            reason=Reason(row["reason"]),
        )
        for row in await connection.fetch(END, lost, node_id)
        if row["node_id"] == node_id
    ]
