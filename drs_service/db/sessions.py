"""Rows of sessions, for the people whose they are. What nodes do with them is in `tunnels`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from drs_service.db.nodes import DEAD
from drs_service.db.pool import Connection
from drs_service.domain.sessions import Reason, Session, State, Step, before

# Who creates more than one at a time waits here, so that the number is right; who only refers to the owner does not.
LOCK_OWNER = "SELECT FROM principals WHERE id = $1 FOR NO KEY UPDATE"
COUNT = "SELECT count(*) FROM sessions WHERE owner_id = $1 AND state <> 'ended'"


async def count_locked(connection: Connection, owner: str) -> int:
    """How many live sessions an owner has; nobody else adds one until the transaction ends."""
    await connection.execute(LOCK_OWNER, owner)
    found: int = await connection.fetchval(COUNT, owner)
    return found


INSERT = """
    INSERT INTO sessions (id, owner_id, space_id, name, target, idle_seconds, join_by, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, now() + least($7::interval, $8), now() + $8::interval)
"""


async def insert(
    connection: Connection,
    session_id: str,
    *,
    owner: str,
    space: str,
    name: str | None,
    target: str | None,
    idle: timedelta,
    join: timedelta,
    life: timedelta,
) -> None:
    seconds = int(idle.total_seconds())
    await connection.execute(INSERT, session_id, owner, space, name, target, seconds, join, life)


# A node that is not heard of any more holds nothing.
HELD = f"""
    EXISTS (SELECT FROM nodes WHERE nodes.id = node_id AND nodes.seen_at > now() - interval '{DEAD} seconds')
"""
# In one statement: a session is never shown without the step that led to its state.
SELECT = f"""
    SELECT sessions.*, {HELD} AS held, step.number AS step, step.at, step.before, step.after, step.reason AS step_reason
    FROM sessions JOIN session_history AS step ON session_id = sessions.id
    WHERE sessions.id = $1 ORDER BY step.number
"""  # noqa: S608  # of constants


async def select(connection: Connection, session_id: str) -> Session | None:
    """With what is kept of its history."""
    rows = await connection.fetch(SELECT, session_id)
    return session(rows[0], [step(row) for row in rows]) if rows else None


@dataclass(frozen=True, slots=True)
class Numbered:
    """A session in the order in which they were created."""

    number: int
    session: Session


PAGE = f"""
    SELECT sessions.*, {HELD} AS held FROM sessions
    WHERE number > $2 AND ($1::text IS NULL OR owner_id = $1) AND ($4 OR state <> 'ended')
    ORDER BY number LIMIT $3
"""  # noqa: S608  # of constants


async def page(
    connection: Connection, owner: str | None, *, after: int, limit: int, ended: bool = True
) -> list[Numbered]:
    """Sessions of owner, or of everybody, behind the number after; without their histories. ended: those as well."""
    rows = await connection.fetch(PAGE, owner, after, limit, ended)
    return [Numbered(row["number"], session(row)) for row in rows]


# Whom a node holds the tunnel of, is told to end. Where nobody does, there is nobody to wait for.
STOP = f"""
    UPDATE sessions SET
        state = CASE WHEN {HELD} THEN 'stopping' ELSE 'ended' END,
        node_id = CASE WHEN {HELD} THEN node_id END,
        reason = $2
    WHERE id = $1 AND state = ANY($3)
"""  # noqa: S608  # of constants


async def stop(connection: Connection, session_id: str, reason: Reason) -> None:
    """End it, unless it ends already."""
    await connection.execute(STOP, session_id, reason, sorted(before(State.ENDED) - {State.STOPPING}))


PURGE = """
    DELETE FROM sessions WHERE state = 'ended' AND state_at < now() - $1::interval
"""


async def purge(connection: Connection, *, older_than: timedelta) -> None:
    """Forget sessions that ended long ago, with their secrets and their histories."""
    await connection.execute(PURGE, older_than)


def session(row: asyncpg.Record, history: Sequence[Step] = ()) -> Session:
    return Session(
        id=row["id"],
        owner=row["owner_id"],
        space=row["space_id"],
        name=row["name"],
        target=row["target"],
        state=State(row["state"]),
        reason=Reason(row["reason"]) if row["reason"] is not None else None,
        state_at=row["state_at"],
        epoch=row["epoch"],
        held=row["held"],
        tunnel_at=row["tunnel_at"],
        running=row["running"],
        created_at=row["created_at"],
        join_by=row["join_by"],
        joined_at=row["joined_at"],
        active_at=row["active_at"],
        expires_at=row["expires_at"],
        idle=timedelta(seconds=row["idle_seconds"]),
        history=tuple(history),
    )


def step(row: asyncpg.Record) -> Step:
    return Step(
        number=row["step"],
        at=row["at"],
        before=State(row["before"]) if row["before"] is not None else None,
        after=State(row["after"]),
        reason=Reason(row["step_reason"]) if row["step_reason"] is not None else None,
    )
