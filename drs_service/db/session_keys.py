"""Rows of secrets that open sessions, by their hashes."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from drs_service.db.pool import Connection
from drs_service.domain.sessions import Kind

MAX_OF_A_KIND = 100  # links, visits and browsers of one session: the newest stay


INSERT = """
    INSERT INTO session_keys (hash, session_id, kind, expires_at)
    VALUES ($1, $2, $3, now() + $4::interval) RETURNING expires_at
"""


async def insert(
    connection: Connection, key: bytes, session_id: str, kind: Kind, lifetime: timedelta | None
) -> datetime | None:
    """A new one, for a time or for good. Returns its end."""
    found: datetime | None = await connection.fetchval(INSERT, key, session_id, kind, lifetime)
    return found


OPENS = """
    SELECT EXISTS (SELECT FROM session_keys WHERE hash = $1 AND session_id = $2 AND kind = 'driving')
"""


async def opens(connection: Connection, key: bytes, session_id: str) -> bool:
    """Whether it is the driving secret of this session."""
    return bool(await connection.fetchval(OPENS, key, session_id))


VISIT = """
    INSERT INTO session_keys (hash, session_id, kind, link, expires_at)
    SELECT $3, link.session_id, 'visit', link.hash, link.expires_at
    FROM session_keys AS link JOIN sessions ON sessions.id = link.session_id
    WHERE link.hash = $1 AND link.session_id = $2 AND link.kind = 'link' AND link.used_at IS NULL
        AND link.expires_at > now() AND sessions.state <> 'ended'
    RETURNING expires_at
"""


async def visit(connection: Connection, link: bytes, session_id: str, cookie: bytes) -> datetime | None:
    """Follow a link to a cookie, which is to be shown before the end of the link. None if the link is not good."""
    found: datetime | None = await connection.fetchval(VISIT, link, session_id, cookie)
    return found


# Of two visits that are shown at once, the second waits for the row of the link, and finds it used.
ENTER = """
    WITH entered AS (
        UPDATE session_keys AS link SET used_at = now() FROM session_keys AS visit, sessions
        WHERE visit.hash = ANY($2) AND visit.session_id = $1 AND visit.kind = 'visit'
            AND link.hash = visit.link AND link.used_at IS NULL AND link.expires_at > now()
            AND sessions.id = $1 AND sessions.state <> 'ended'
        RETURNING link.hash AS used, visit.hash AS shown, sessions.expires_at AS until
    ), useless AS (
        DELETE FROM session_keys USING entered WHERE link = used AND hash <> shown
    )
    UPDATE session_keys SET kind = 'cookie', link = NULL, expires_at = until FROM entered WHERE hash = shown
"""


async def enter(connection: Connection, session_id: str, visits: Sequence[bytes]) -> None:
    """Make a visit that is shown a cookie, which is good for as long as the session, if its link is good still."""
    await connection.execute(ENTER, session_id, visits)


CUT = """
    DELETE FROM session_keys WHERE hash IN (
        SELECT hash FROM session_keys WHERE session_id = $1 AND kind = $2 ORDER BY created_at DESC, hash OFFSET $3
    )
"""


async def cut(connection: Connection, session_id: str, kind: Kind) -> None:
    """Forget the oldest, if there are too many."""
    await connection.execute(CUT, session_id, kind, MAX_OF_A_KIND)


# Of two agents that come at once with the same token, the second waits for the row, and finds it used.
JOIN = """
    WITH used AS (
        UPDATE session_keys AS token SET used_at = now() FROM sessions
        WHERE token.hash = $1 AND token.kind = 'join' AND token.used_at IS NULL AND token.expires_at > now()
            AND sessions.id = token.session_id AND sessions.state = 'created'
        RETURNING token.session_id
    )
    INSERT INTO session_keys (hash, session_id, kind)
    SELECT $2, session_id, 'agent' FROM used RETURNING session_id
"""


async def join(connection: Connection, token: bytes, credential: bytes) -> str | None:
    """Use up a join token for a credential. Returns the session; None if the token is not good.

    JoinRefused if the credential is another session's.
    """
    found: str | None = await connection.fetchval(JOIN, token, credential)
    return found


AGENT = """
    SELECT agent.session_id FROM session_keys AS agent
    WHERE agent.hash = $1 AND agent.kind = 'agent' AND ($2::bytea IS NULL OR EXISTS (
        SELECT FROM session_keys AS token
        WHERE token.hash = $2 AND token.kind = 'join' AND token.session_id = agent.session_id
    ))
"""


async def agent(connection: Connection, credential: bytes, token: bytes | None) -> str | None:
    """The session that has this credential, and had this token if one is shown."""
    found: str | None = await connection.fetchval(AGENT, credential, token)
    return found
