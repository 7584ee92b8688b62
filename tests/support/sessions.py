"""Sessions and nodes for tests, on the real database."""

import secrets
from datetime import timedelta

from drs_service.db.pool import Database
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.sessions import Session
from drs_service.usecases.bells import Bells
from drs_service.usecases.sessions import Created, Sessions, Terms
from drs_service.usecases.tunnels import Tunnels

HOUR = timedelta(hours=1)


def sessions_on(database: Database, bells: Bells | None = None, *, most: int = 1000) -> Sessions:
    terms = Terms(longest=timedelta(days=7), idle=HOUR, join=HOUR, most=most)
    return Sessions(database, bells or Bells(), terms)


def tunnels_on(database: Database) -> Tunnels:
    return Tunnels(database, lost=HOUR)


async def created(sessions: Sessions, *, life: int | None = None, idle: int | None = None) -> Created:
    return await sessions.create(ANONYMOUS, name="analysis", target=None, life=life, idle=idle)


def new_credential() -> str:
    """As an agent makes it."""
    return secrets.token_urlsafe(32)


def told(session: Session) -> list[str]:
    """Its history."""
    return [f"{one.after} {one.reason}" if one.reason else str(one.after) for one in session.history]
