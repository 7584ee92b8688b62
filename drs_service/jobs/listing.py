"""The jobs there are, and what an operator does with those that were given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from drs_service.db.pool import Connection


class State(StrEnum):
    QUEUED = "queued"
    """The next worker with room for it takes it."""
    SCHEDULED = "scheduled"
    """It waits for its time: the next attempt after one that failed."""
    RUNNING = "running"
    DEAD = "dead"
    """It was given up."""


WHERE = {
    State.QUEUED: "job.status = 'queued' AND job.execute_after <= now()",
    State.SCHEDULED: "job.status = 'queued' AND job.execute_after > now()",
    State.RUNNING: "job.status = 'picked'",
    State.DEAD: "job.status = 'failed'",
}
ANY = "job.status IN ('queued', 'picked', 'failed')"

# Progress of an attempt before this one is none.
PAGE = """
    SELECT job.id, job.entrypoint AS kind, job.status::text, job.payload, job.attempts, job.created AS created_at,
        job.updated, job.heartbeat, job.execute_after, job.execute_after > now() AS waits, now() AS now,
        note.done, note.total, note.unit, note.progressed_at >= job.updated AS current,
        note.error_code, note.error_message, note.failed_at,
        worker.host || ':' || worker.pid AS worker
    FROM pgqueuer AS job
    LEFT JOIN job_notes AS note ON note.job_id = job.id
    LEFT JOIN workers AS worker ON worker.id = job.queue_manager_id
    WHERE {state} AND job.id > $1 AND ($2::text IS NULL OR job.entrypoint = $2)
    ORDER BY job.id LIMIT $3
"""

# As one that is born now: its age and its attempts are counted anew. PgQueuer's own trigger tells of no update.
REQUEUE = """
    WITH born AS (
        UPDATE pgqueuer SET status = 'queued', created = now(), updated = now(), execute_after = now(), attempts = 0,
            queue_manager_id = NULL, dedupe_key = NULL
        WHERE status = 'failed' AND ($1::bigint[] IS NULL OR id = ANY($1))
        RETURNING id, entrypoint, priority
    ), logged AS (
        INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)
        SELECT id, 'queued', entrypoint, priority FROM born
    ), told AS (
        SELECT pg_notify('ch_pgqueuer', json_build_object('channel', 'ch_pgqueuer', 'operation', 'update',
            'sent_at', now(), 'table', 'pgqueuer', 'type', 'table_changed_event')::text)
    )
    SELECT id FROM born, told ORDER BY id
"""
FORGET = """
    WITH forgotten AS (
        DELETE FROM pgqueuer WHERE status = 'failed' AND ($1::bigint[] IS NULL OR id = ANY($1))
        RETURNING id, entrypoint, priority
    ), logged AS (
        INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)
        SELECT id, 'deleted', entrypoint, priority FROM forgotten
    )
    SELECT id FROM forgotten ORDER BY id
"""
PURGE = "DELETE FROM pgqueuer WHERE status = 'failed' AND updated < now() - $1::interval"
SCHEDULES = "SELECT expression, entrypoint, next_run, last_run FROM pgqueuer_schedules ORDER BY next_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    done: int
    total: int | None
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    code: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A job as it stands."""

    id: int
    kind: str
    state: State
    payload: bytes
    """Its JSON."""
    attempts: int
    """That have ended, one way or another."""
    created_at: datetime
    since: datetime
    """Since when it is in this state."""
    next_at: datetime | None
    worker: str | None
    silent: timedelta | None
    """How long ago its worker last said that it has it."""
    progress: Progress | None
    error: LastError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What is added to the queue again and again."""

    kind: str
    expression: str
    next_at: datetime
    last_at: datetime | None


async def page(
    connection: Connection, *, state: State | None, kind: str | None, after: int, limit: int
) -> list[Listed]:
    """Jobs in the order in which they were added, behind the id after."""
    rows = await connection.fetch(PAGE.format(state=WHERE[state] if state else ANY), after, kind, limit)
    return [
        Listed(
            id=row["id"],
            kind=row["kind"],
            state=state_of(row["status"], waits=row["waits"]),
            payload=row["payload"] or b"{}",
            attempts=row["attempts"],
            created_at=row["created_at"],
            since=row["updated"],
            next_at=row["execute_after"] if row["status"] == "queued" and row["waits"] else None,
            worker=row["worker"],
            silent=row["now"] - row["heartbeat"] if row["status"] == "picked" else None,
            progress=Progress(done=row["done"], total=row["total"], unit=row["unit"])
            if row["current"] and row["status"] == "picked"
            else None,
            error=LastError(code=row["error_code"], message=row["error_message"], at=row["failed_at"])
            if row["error_code"] is not None
            else None,
        )
        for row in rows
    ]


def state_of(status: str, *, waits: bool) -> State:
    if status == "queued":
        return State.SCHEDULED if waits else State.QUEUED
    return State.RUNNING if status == "picked" else State.DEAD


async def requeue(connection: Connection, ids: Sequence[int] | None) -> list[int]:
    """Do those of the jobs that were given up once more; None: all. Returns which there were."""
    return [row["id"] for row in await connection.fetch(REQUEUE, ids)]


async def forget(connection: Connection, ids: Sequence[int] | None) -> list[int]:
    """Forget those of the jobs that were given up; None: all. Returns which there were."""
    return [row["id"] for row in await connection.fetch(FORGET, ids)]


async def purge(connection: Connection, *, older_than: timedelta) -> None:
    """Forget what was given up long ago."""
    await connection.execute(PURGE, older_than)


async def schedules(connection: Connection) -> list[Scheduled]:
    return [
        Scheduled(
            kind=row["entrypoint"].removeprefix("schedule_"),
            expression=row["expression"],
            next_at=row["next_run"],
            last_at=row["last_run"],
        )
        for row in await connection.fetch(SCHEDULES)
    ]
