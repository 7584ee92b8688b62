"""What people do with sessions. Who shows the driving secret of one may do everything with it; nobody else anything."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drs_service.db import session_keys, sessions
from drs_service.db.pool import Connection, Database
from drs_service.domain.access import DEFAULT_SPACE, Action, Principal, is_somebody, may
from drs_service.domain.sessions import (
    ID_BYTES,
    SECRET_BYTES,
    Kind,
    Reason,
    Session,
    State,
    hashed,
    is_session_id,
    new_session_id,
)
from drs_service.domain.texts import text
from drs_service.errors import Forbidden, Rejected, SessionEnded, SessionNotFound, TooManySessions
from drs_service.usecases.bells import Bells
from drs_service.usecases.numbered_pages import make_token, read_token

MARK = b"s1:"
FINGERPRINT_DIGITS = 16
MAX_NAME = 255
MAX_TARGET = 2048
USUAL_LIFE = timedelta(hours=24)
LINK_LIFE = timedelta(minutes=10)
PATIENCE = 15.0  # seconds without a change after which a watcher hears that there is none
PATIENCE_UNHEARD = 2.0  # and where changes are not heard: then it is looked again


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What sessions are given."""

    longest: timedelta
    """The longest life that one may ask for."""
    idle: timedelta
    """For how long nothing may move in one, unless it asks for something else."""
    join: timedelta
    """How long an agent may take to join."""
    most: int
    """Live sessions of one owner."""


@dataclass(frozen=True, slots=True)
class Link:
    """Opens the session in a browser, once."""

    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """Its secrets are not to be had again."""

    session: Session
    secret: str
    join_token: str
    link: Link


@dataclass(frozen=True, slots=True)
class Visit:
    """What a browser drives the session with, if it is the first of its link to show it."""

    cookie: str
    expires_at: datetime
    """Until when it is to be shown."""


@dataclass(frozen=True, slots=True)
class Listed:
    fingerprint: str
    """Tells one session from another."""
    id: str | None
    """None for who is not known to be its owner."""
    session: Session


@dataclass(frozen=True, slots=True)
class Page:
    sessions: Sequence[Listed]
    next_token: str | None
    """None at the end."""


class Sessions:
    def __init__(self, database: Database, bells: Bells, terms: Terms) -> None:
        self._database = database
        self._bells = bells
        self._terms = terms

    async def create(
        self, principal: Principal, *, name: str | None, target: str | None, life: int | None, idle: int | None
    ) -> Created:
        """A new session; life and idle in seconds. Forbidden, TextInvalid, Rejected, TooManySessions."""
        if not may(principal, Action.CREATE, space=DEFAULT_SPACE):
            raise Forbidden
        longest = int(self._terms.longest.total_seconds())
        for what, seconds in (("max_seconds", life), ("idle_seconds", idle)):
            if seconds is not None and not 1 <= seconds <= longest:
                raise Rejected(f"{what} must be between 1 and {longest}.")
        if name is not None:
            text(name, what="name", most=MAX_NAME)
        if target is not None:
            text(target, what="target", most=MAX_TARGET)
        session_id = new_session_id(secrets.token_bytes(ID_BYTES))
        lifetime = timedelta(seconds=life) if life is not None else min(USUAL_LIFE, self._terms.longest)
        secret, join_token = new_secret(), new_secret()
        async with self._database.transaction() as connection:
            if await sessions.count_locked(connection, principal.id) >= self._terms.most:
                raise TooManySessions
            await sessions.insert(
                connection,
                session_id,
                owner=principal.id,
                space=DEFAULT_SPACE,
                name=name,
                target=target,
                idle=timedelta(seconds=idle) if idle is not None else self._terms.idle,
                join=self._terms.join,
                life=lifetime,
            )
            await session_keys.insert(connection, hashed(secret), session_id, Kind.DRIVING, None)
            join = min(self._terms.join, lifetime)
            await session_keys.insert(connection, hashed(join_token), session_id, Kind.JOIN, join)
            link = await new_link(connection, session_id)
            session = await sessions.select(connection, session_id)
        assert session is not None
        return Created(session=session, secret=secret, join_token=join_token, link=link)

    async def show(self, session_id: str, secret: str | None) -> Session:
        """Also when it is over. SessionNotFound."""
        async with self._database.connection() as connection:
            return await opened(connection, session_id, secret)

    async def stop(self, session_id: str, secret: str | None) -> Session:
        """Have it end; its agent is told, if there is one. May be said again. SessionNotFound."""
        async with self._database.connection() as connection:
            await opened(connection, session_id, secret)
            await sessions.stop(connection, session_id, Reason.STOPPED)
            return await opened(connection, session_id, secret)

    async def link(self, session_id: str, secret: str | None) -> Link:
        """Another one. SessionNotFound, SessionEnded."""
        async with self._database.transaction() as connection:
            if (await opened(connection, session_id, secret)).state is State.ENDED:
                raise SessionEnded
            made = await new_link(connection, session_id)
            await session_keys.cut(connection, session_id, Kind.LINK)
        return made

    async def visit(self, session_id: str, code: str) -> Visit:
        """Follow a link. SessionNotFound if it is not one that is still good."""
        cookie = new_secret()
        async with self._database.transaction() as connection:
            expires_at = None
            if is_session_id(session_id):
                expires_at = await session_keys.visit(connection, hashed(code), session_id, hashed(cookie))
            if expires_at is None:
                raise SessionNotFound
            await session_keys.cut(connection, session_id, Kind.VISIT)
        return Visit(cookie, expires_at)

    async def watch(
        self, session_id: str, secret: str | None, *, seen: str | None = None
    ) -> AsyncGenerator[Session | None, None]:
        """The session as it is, unless it has the version that was seen, and again each time that it changes, until it
        has ended; None now and then while it does not. SessionNotFound.
        """
        with self._bells.heard(session_id) as rung:
            while True:
                rung.clear()
                session = await self.show(session_id, secret)
                if session.version != seen:
                    seen = session.version
                    yield session
                if session.state is State.ENDED:
                    return
                try:
                    async with asyncio.timeout(PATIENCE if self._bells.hears else PATIENCE_UNHEARD):
                        await rung.wait()
                except TimeoutError:
                    yield None

    async def page(self, principal: Principal, *, size: int, token: str | None) -> Page:
        """Sessions of principal, oldest first, without their histories; also those that are over. PageInvalid.

        Everybody is anonymous who is not identified: so ids are told to somebody alone.
        """
        after = read_token(MARK, token) if token is not None else 0
        async with self._database.connection() as connection:
            # One more than asked for tells whether there is a next page.
            found = await sessions.page(connection, principal.id, after=after, limit=size + 1)
        listed = [
            Listed(fingerprint(one.session), one.session.id if is_somebody(principal) else None, one.session)
            for one in found[:size]
        ]
        return Page(listed, make_token(MARK, found[size - 1].number) if len(found) > size else None)


def new_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


async def new_link(connection: Connection, session_id: str) -> Link:
    code = new_secret()
    expires_at = await session_keys.insert(connection, hashed(code), session_id, Kind.LINK, LINK_LIFE)
    assert expires_at is not None
    return Link(code, expires_at)


async def opened(connection: Connection, session_id: str, secret: str | None) -> Session:
    """The session that the secret opens. SessionNotFound, whether there is none or the secret is not its own."""
    if not (is_session_id(session_id) and secret is not None):
        raise SessionNotFound
    opens = await session_keys.opens(connection, hashed(secret), session_id)
    session = await sessions.select(connection, session_id) if opens else None
    if session is None:
        raise SessionNotFound
    return session


def fingerprint(session: Session) -> str:
    return hashlib.sha256(session.id.encode()).hexdigest()[:FINGERPRINT_DIGITS]
