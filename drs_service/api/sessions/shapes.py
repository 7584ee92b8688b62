"""What is said of sessions in JSON."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from drs_service.api.public import PublicUrls
from drs_service.domain import sessions as domain
from drs_service.domain.sessions import Reason, State, Step
from drs_service.usecases.sessions import MAX_NAME, MAX_TARGET, Created, Link, Listed

Seconds = Annotated[int, msgspec.Meta(ge=1)]


class NewSession(msgspec.Struct, kw_only=True):
    """What a session is to be; all of it may be left out."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)] | None = None
    target: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TARGET)] | None = None
    """What the agent will serve, such as http://127.0.0.1:8888: a note for whoever starts it."""
    max_seconds: Seconds | None = None
    """Its longest life."""
    idle_seconds: Seconds | None = None
    """For how long nothing may move in it, and no work be under way."""


class StepSaid(msgspec.Struct, kw_only=True, omit_defaults=True):
    """When it came into a state."""

    at: datetime
    state: State
    reason: Reason | UnsetType = UNSET
    left_out: int | UnsetType = UNSET
    """Steps before this one that are not kept."""


class Tunnel(msgspec.Struct, kw_only=True, omit_defaults=True):
    connected: bool
    """Whether the workspace can be reached right now."""
    since: datetime | UnsetType = UNSET
    """Since when that is so; left out if it never was connected."""


class Session(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A remote workspace as it stands."""

    id: str
    url: str
    """Where the workspace is driven."""
    state: State
    reason: Reason | UnsetType = UNSET
    """Why it ends or has ended."""
    tunnel: Tunnel
    running: int
    """Work that the agent reports to be under way."""
    created_at: datetime
    active_at: datetime
    """When anything last moved in it."""
    idle_seconds: int
    expires_at: datetime
    name: str | UnsetType = UNSET
    target: str | UnsetType = UNSET
    join_by: datetime | UnsetType = UNSET
    """Until when an agent must join; left out once one has."""
    joined_at: datetime | UnsetType = UNSET
    ended_at: datetime | UnsetType = UNSET
    history: list[StepSaid]
    """Of its states: the first ten, and the newest ninety."""


class LinkSaid(msgspec.Struct, kw_only=True):
    """Opens the session in one browser, once. Whoever has it can, so it is a secret."""

    url: str
    expires_at: datetime


class CreatedSession(msgspec.Struct, kw_only=True):
    """A new session, and its secrets, which are told only now."""

    session: Session
    secret: str
    """Whoever has it may do everything with the session: Authorization: Bearer …"""
    join_token: str
    """With it one agent may join, once."""
    link: LinkSaid


class ListedSession(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A session. Its id is told only to an owner who is identified."""

    session: str
    """Tells it from others: the beginning of the SHA-256 of its id."""
    state: State
    created_at: datetime
    expires_at: datetime
    reason: Reason | UnsetType = UNSET
    name: str | UnsetType = UNSET
    id: str | UnsetType = UNSET


class ListedSessions(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A page of sessions."""

    sessions: list[ListedSession]
    next_page_token: str | UnsetType = UNSET


def shown(one: domain.Session, urls: PublicUrls) -> Session:
    return Session(
        id=one.id,
        url=urls.socket(one.id),
        state=one.state,
        reason=one.reason or UNSET,
        tunnel=Tunnel(connected=one.held, since=one.tunnel_at or UNSET),
        running=one.running,
        created_at=one.created_at,
        active_at=one.active_at,
        idle_seconds=int(one.idle.total_seconds()),
        expires_at=one.expires_at,
        name=one.name or UNSET,
        target=one.target or UNSET,
        join_by=one.join_by if one.joined_at is None else UNSET,
        joined_at=one.joined_at or UNSET,
        ended_at=one.ended_at or UNSET,
        history=steps(one.history),
    )


def steps(history: Sequence[Step]) -> list[StepSaid]:
    before = (0, *(step.number for step in history))
    return [
        StepSaid(
            at=step.at,
            state=step.after,
            reason=step.reason or UNSET,
            left_out=step.number - number - 1 or UNSET,
        )
        for number, step in zip(before, history, strict=False)
    ]


def link(made: Link, session_id: str, urls: PublicUrls) -> LinkSaid:
    return LinkSaid(url=urls.enter(session_id, made.code), expires_at=made.expires_at)


def created(made: Created, urls: PublicUrls) -> CreatedSession:
    return CreatedSession(
        session=shown(made.session, urls),
        secret=made.secret,
        join_token=made.join_token,
        link=link(made.link, made.session.id, urls),
    )


def listed(one: Listed) -> ListedSession:
    return ListedSession(
        session=one.fingerprint,
        state=one.session.state,
        created_at=one.session.created_at,
        expires_at=one.session.expires_at,
        reason=one.session.reason or UNSET,
        name=one.session.name or UNSET,
        id=one.id or UNSET,
    )
