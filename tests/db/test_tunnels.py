"""Who holds the tunnel of a session, whoever else wants to at the same time."""

import asyncio
import secrets
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from drs_service.db.pool import Connection, Database
from drs_service.domain.sessions import Reason, State, hashed
from drs_service.errors import JoinRefused, SessionEnded, Unavailable
from drs_service.usecases.sessions import Created, Sessions
from drs_service.usecases.tunnels import Activity, Fate, Held, Tunnels, Verdict
from tests.support.sessions import created, new_credential, sessions_on, told, tunnels_on

ADDRESS = "127.0.0.1:9000"


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return sessions_on(database)


@pytest.fixture
def tunnels(database: Database) -> Tunnels:
    return tunnels_on(database)


async def attached(sessions: Sessions, tunnels: Tunnels, node: str) -> tuple[Created, str, Held]:
    """A new session, the credential of its agent, and its tunnel."""
    made, credential = await created(sessions), new_credential()
    return made, credential, await tunnels.attach(node, credential, made.join_token)


async def shown(sessions: Sessions, made: Created) -> tuple[State, Reason | None, bool]:
    session = await sessions.show(made.session.id, made.secret)
    return session.state, session.reason, session.held


async def ago(connection: Connection, made: Created, **columns: str) -> None:
    """Have times of a session be so long ago."""
    said = ", ".join(f"{name} = now() - interval '{span}'" for name, span in columns.items())
    await connection.execute(f"UPDATE sessions SET {said} WHERE id = $1", made.session.id)


async def die(connection: Connection, node: str, *, seconds: int) -> None:
    """Have a node not say anything for so long."""
    await connection.execute(
        "UPDATE nodes SET seen_at = now() - make_interval(secs => $2) WHERE id = $1", node, seconds
    )


def seen(held: Held, *, active: bool = False, running: int = 0) -> Activity:
    return Activity(session_id=held.session_id, epoch=held.epoch, active=active, running=running)


def about(held: Held, fate: Fate, reason: Reason | None = None) -> Verdict:
    return Verdict(session_id=held.session_id, epoch=held.epoch, fate=fate, reason=reason)


async def outcomes(*attempts: Awaitable[object]) -> list[object]:
    """What came of all at once: an error by its type."""
    found = await asyncio.gather(*attempts, return_exceptions=True)
    return [type(one) if isinstance(one, BaseException) else one for one in found]


async def test_an_agent_attaches_moves_falls_silent_and_leaves(
    sessions: Sessions, tunnels: Tunnels, connection: Connection
) -> None:
    node = await tunnels.enlist(ADDRESS)
    made, _, held = await attached(sessions, tunnels, node)
    assert held == Held(session_id=made.session.id, epoch=1, expires_at=made.session.expires_at)
    where = await tunnels.find(made.session.id)
    assert where is not None
    assert (where.state, where.epoch, where.node_id, where.address) == (State.CONNECTED, 1, node, ADDRESS)
    assert where.keys == {hashed(made.secret)}
    assert await tunnels.beat(node, [seen(held)]) == []
    assert await shown(sessions, made) == (State.CONNECTED, None, True)
    await ago(connection, made, active_at="11 seconds")
    await tunnels.beat(node, [seen(held)])
    assert await shown(sessions, made) == (State.IDLE, None, True)
    await tunnels.beat(node, [seen(held, active=True)])
    assert await shown(sessions, made) == (State.CONNECTED, None, True)
    await tunnels.detach(held, left=True)
    assert await shown(sessions, made) == (State.ENDED, Reason.AGENT_LEFT, False)
    found = await tunnels.find(made.session.id)
    assert found is not None
    assert (found.state, found.node_id) == (State.ENDED, None)
    session = await sessions.show(made.session.id, made.secret)
    assert told(session) == ["created", "connected", "idle", "connected", "ended agent_left"]
    assert [one.before for one in session.history][1:] == [one.after for one in session.history][:-1]


async def test_of_two_agents_with_one_token_one_joins(sessions: Sessions, tunnels: Tunnels) -> None:
    node = await tunnels.enlist(ADDRESS)
    for _ in range(5):
        made = await created(sessions)
        found = await outcomes(*(tunnels.attach(node, new_credential(), made.join_token) for _ in range(4)))
        assert sorted(str(one) for one in found if not isinstance(one, Held)) == [str(JoinRefused)] * 3


async def test_an_agent_that_did_not_hear_the_answer_joins_again_and_nobody_else(
    sessions: Sessions, tunnels: Tunnels
) -> None:
    node = await tunnels.enlist(ADDRESS)
    made, credential = await created(sessions), new_credential()
    # Also while the first time is still under way.
    found = await outcomes(*(tunnels.attach(node, credential, made.join_token) for _ in range(3)))
    assert sorted(one.epoch for one in found if isinstance(one, Held)) == [1, 2, 3]
    assert (await tunnels.attach(node, credential, None)).epoch == 4
    other = await created(sessions)
    for shown_credential, token in (
        (new_credential(), made.join_token),
        (new_credential(), None),
        (new_credential(), other.secret),
        (new_credential(), "wrong"),
        (credential, other.join_token),
        (credential, "wrong"),
        ("short", other.join_token),
        (made.secret, None),
    ):
        with pytest.raises(JoinRefused):
            await tunnels.attach(node, shown_credential, token)
    # None of them has used up the other's token.
    assert (await tunnels.attach(node, new_credential(), other.join_token)).session_id == other.session.id


async def test_a_token_that_came_too_late_is_refused(
    sessions: Sessions, tunnels: Tunnels, connection: Connection
) -> None:
    node = await tunnels.enlist(ADDRESS)
    made = await created(sessions)
    await connection.execute("UPDATE session_keys SET expires_at = now() WHERE kind = 'join'")
    with pytest.raises(JoinRefused):
        await tunnels.attach(node, new_credential(), made.join_token)
    stopped = await created(sessions)
    await sessions.stop(stopped.session.id, stopped.secret)
    with pytest.raises(JoinRefused):
        await tunnels.attach(node, new_credential(), stopped.join_token)


async def test_whoever_attaches_last_has_the_tunnel(sessions: Sessions, tunnels: Tunnels) -> None:
    one, two = await tunnels.enlist(ADDRESS), await tunnels.enlist("127.0.0.1:9001")
    made, credential, first = await attached(sessions, tunnels, one)
    second, third = await asyncio.gather(
        *(tunnels.attach(node, credential, None) for node in (one, two)),
    )
    last = max(second, third, key=lambda held: held.epoch)
    assert {second.epoch, third.epoch} == {2, 3}
    # Those before it can neither let go of it nor say anything of it.
    early = min(second, third, key=lambda held: held.epoch)
    for held in (first, early):
        await tunnels.detach(held, left=True)
    where = await tunnels.find(made.session.id)
    assert where is not None and where.epoch == last.epoch
    for node in (one, two):
        mine = where.node_id == node
        said = [seen(first, running=99), seen(early, running=99), seen(last, running=7 if mine else 99)]
        verdicts = await tunnels.beat(node, said)
        assert {one.epoch: one.fate for one in verdicts} == dict.fromkeys(
            [first.epoch, early.epoch] + ([] if mine else [last.epoch]), Fate.FENCED
        )
    assert (await sessions.show(made.session.id, made.secret)).running == 7


async def test_stopping_and_attaching_at_once_leave_no_tunnel_behind(sessions: Sessions, tunnels: Tunnels) -> None:
    node = await tunnels.enlist(ADDRESS)
    for _ in range(10):
        made, credential, held = await attached(sessions, tunnels, node)
        await tunnels.detach(held, left=False)
        found = await outcomes(tunnels.attach(node, credential, None), sessions.stop(made.session.id, made.secret))
        if isinstance(found[0], Held):
            state = await shown(sessions, made)
            assert state == (State.STOPPING, Reason.STOPPED, True)
            assert await tunnels.beat(node, [seen(found[0])]) == [about(found[0], Fate.STOPPING, Reason.STOPPED)]
            await tunnels.detach(found[0], left=True)
        else:
            assert found[0] is SessionEnded
        assert await shown(sessions, made) == (State.ENDED, Reason.STOPPED, False)


async def test_a_session_that_is_to_stop_takes_no_tunnel_and_ends_after_its_grace(
    sessions: Sessions, tunnels: Tunnels, connection: Connection
) -> None:
    node = await tunnels.enlist(ADDRESS)
    made, credential, held = await attached(sessions, tunnels, node)
    await sessions.stop(made.session.id, made.secret)
    await sessions.stop(made.session.id, made.secret)
    with pytest.raises(SessionEnded):
        await tunnels.attach(node, credential, None)
    await tunnels.beat(node, [seen(held, active=True)])
    assert await shown(sessions, made) == (State.STOPPING, Reason.STOPPED, True)
    await ago(connection, made, state_at="31 seconds")
    await tunnels.beat(node, [])
    assert await shown(sessions, made) == (State.ENDED, Reason.STOPPED, False)
    assert await tunnels.beat(node, [seen(held)]) == [about(held, Fate.ENDED, Reason.STOPPED)]
    await tunnels.detach(held, left=True)
    session = await sessions.show(made.session.id, made.secret)
    assert told(session) == ["created", "connected", "stopping stopped", "ended stopped"]


async def test_a_node_that_dies_holds_nothing_and_one_that_was_only_cut_off_goes_on(
    sessions: Sessions, tunnels: Tunnels, connection: Connection
) -> None:
    dying, living = await tunnels.enlist(ADDRESS), await tunnels.enlist("127.0.0.1:9001")
    made, credential, held = await attached(sessions, tunnels, dying)
    await die(connection, dying, seconds=11)
    await tunnels.beat(living, [])
    where = await tunnels.find(made.session.id)
    assert where is not None and (where.node_id, where.address) == (dying, None)
    assert await shown(sessions, made) == (State.CONNECTED, None, False)
    # It lost the database for a while, not the agent.
    assert await tunnels.beat(dying, [seen(held)]) == []
    assert await shown(sessions, made) == (State.CONNECTED, None, True)
    await die(connection, dying, seconds=61)
    await tunnels.beat(living, [])
    where = await tunnels.find(made.session.id)
    assert where is not None and (where.node_id, where.address, where.state) == (None, None, State.CONNECTED)
    with pytest.raises(Unavailable):
        await tunnels.attach(dying, credential, None)
    assert await tunnels.beat(dying, [seen(held, running=1)]) == [about(held, Fate.FENCED)]
    assert (await sessions.show(made.session.id, made.secret)).running == 0
    again = await tunnels.attach(dying, credential, None)
    assert again == replace(held, epoch=2)
    await tunnels.leave(dying)
    assert await shown(sessions, made) == (State.CONNECTED, None, False)


async def test_who_is_due_is_told_by_the_node_that_holds_it(
    sessions: Sessions, tunnels: Tunnels, connection: Connection
) -> None:
    one, two = await tunnels.enlist(ADDRESS), await tunnels.enlist("127.0.0.1:9001")
    made, credential, held = await attached(sessions, tunnels, one)
    alone, _, left = await attached(sessions, tunnels, one)
    await tunnels.detach(left, left=False)
    await ago(connection, made, expires_at="1 second")
    await ago(connection, alone, expires_at="1 second")
    # Whichever node finds it; of many that look at once each session is ended by one.
    await asyncio.gather(*(tunnels.beat(two, []) for _ in range(4)))
    assert await shown(sessions, made) == (State.STOPPING, Reason.EXPIRED, True)
    assert await shown(sessions, alone) == (State.ENDED, Reason.EXPIRED, False)
    assert await tunnels.beat(one, [seen(held)]) == [about(held, Fate.STOPPING, Reason.EXPIRED)]
    with pytest.raises(SessionEnded):
        await tunnels.attach(two, credential, None)


async def test_that_a_session_is_idle_its_own_node_knows(
    sessions: Sessions, tunnels: Tunnels, connection: Connection
) -> None:
    """What it has seen since its last word, nobody else does."""
    one, two = await tunnels.enlist(ADDRESS), await tunnels.enlist("127.0.0.1:9001")
    made, _, held = await attached(sessions, tunnels, one)
    alone, _, left = await attached(sessions, tunnels, one)
    await tunnels.detach(left, left=False)
    await ago(connection, made, active_at="2 hours")
    await ago(connection, alone, active_at="2 hours")
    await tunnels.beat(two, [])
    assert await shown(sessions, made) == (State.CONNECTED, None, True)
    assert await shown(sessions, alone) == (State.ENDED, Reason.IDLE, False)
    assert await tunnels.beat(one, [seen(held, running=1)]) == []
    await ago(connection, made, active_at="2 hours")
    assert await tunnels.beat(one, [seen(held)]) == [about(held, Fate.STOPPING, Reason.IDLE)]


async def test_nothing_is_due_before_its_time(sessions: Sessions, tunnels: Tunnels, connection: Connection) -> None:
    one, two = await tunnels.enlist(ADDRESS), await tunnels.enlist("127.0.0.1:9001")
    working, _, held = await attached(sessions, tunnels, one)
    cut_off, _, _ = await attached(sessions, tunnels, two)
    fresh = await created(sessions)
    await die(connection, two, seconds=20)
    await ago(connection, working, active_at="2 hours")
    await ago(connection, cut_off, active_at="2 hours")
    # Work is under way in the first; of the second nobody knows while its node is not heard of.
    assert await tunnels.beat(one, [seen(held, running=1)]) == []
    assert [await shown(sessions, made) for made in (working, cut_off, fresh)] == [
        (State.CONNECTED, None, True),
        (State.CONNECTED, None, False),
        (State.CREATED, None, False),
    ]


async def test_nobody_waits_for_ever_for_an_agent(sessions: Sessions, tunnels: Tunnels, connection: Connection) -> None:
    node = await tunnels.enlist(ADDRESS)
    never = await created(sessions)
    away, _, held = await attached(sessions, tunnels, node)
    await tunnels.beat(node, [seen(held, running=1)])
    await tunnels.detach(held, left=False)
    await ago(connection, never, join_by="1 second")
    await ago(connection, away, tunnel_at="59 minutes", active_at="2 hours")
    await tunnels.beat(node, [])
    assert await shown(sessions, never) == (State.ENDED, Reason.NEVER_JOINED, False)
    assert await shown(sessions, away) == (State.CONNECTED, None, False)
    await ago(connection, away, tunnel_at="61 minutes")
    await tunnels.beat(node, [])
    assert await shown(sessions, away) == (State.ENDED, Reason.AGENT_LEFT, False)


async def test_nodes_believe_each_other_once_and_nobody_else(tunnels: Tunnels, connection: Connection) -> None:
    one, two = await tunnels.enlist(ADDRESS), await tunnels.enlist("127.0.0.1:9001")
    call = await tunnels.call(one, two)
    assert await tunnels.answer(one, call.token) is None
    assert await tunnels.answer(two, secrets.token_urlsafe(32)) is None
    assert await tunnels.answer(two, call.answer) is None
    assert sorted(map(str, await outcomes(*(tunnels.answer(two, call.token) for _ in range(3))))) == sorted(
        ["None", "None", call.answer]
    )
    late = await tunnels.call(one, two)
    await connection.execute("UPDATE node_calls SET expires_at = now()")
    assert await tunnels.answer(two, late.token) is None
    await tunnels.leave(two)
    assert await tunnels.answer(two, (await tunnels.call(one, two)).token) is None


async def test_no_secret_is_kept_as_it_is(sessions: Sessions, tunnels: Tunnels, connection: Connection) -> None:
    node = await tunnels.enlist(ADDRESS)
    made, credential, _ = await attached(sessions, tunnels, node)
    visited = await sessions.visit(made.session.id, made.link.code)
    call = await tunnels.call(node, node)
    tables = ("sessions", "session_keys", "session_history", "nodes", "node_calls")
    kept = " ".join([str(await connection.fetch(f"SELECT t::text FROM {table} AS t")) for table in tables])
    for secret in (made.secret, made.join_token, made.link.code, visited.cookie, credential, call.token):
        assert secret not in kept
        assert hashed(secret).hex() in kept


async def drivers(tunnels: Tunnels, made: Created) -> int:
    """How many cookies drive the session."""
    where = await tunnels.find(made.session.id)
    return len(where.keys) - 1 if where is not None else 0


async def test_of_the_visits_of_a_link_one_becomes_a_cookie(sessions: Sessions, tunnels: Tunnels) -> None:
    for _ in range(5):
        made = await created(sessions)
        cookies = [hashed((await sessions.visit(made.session.id, made.link.code)).cookie) for _ in range(4)]
        where = await tunnels.find(made.session.id)
        assert where is not None and where.visits == set(cookies) and len(where.keys) == 1
        await asyncio.gather(*(tunnels.enter(made.session.id, [one]) for one in cookies * 2))
        where = await tunnels.find(made.session.id)
        assert where is not None and not where.visits and len(where.keys & set(cookies)) == 1


LATE = """
    INSERT INTO session_keys (hash, session_id, kind, link, expires_at)
    VALUES (sha256('a'), $1, 'visit', $2, 'infinity')
"""


@pytest.mark.parametrize("why", ["used", "expired", "over", "another session's"])
async def test_a_visit_is_nothing_once_its_link_is_not(
    why: str, sessions: Sessions, tunnels: Tunnels, connection: Connection
) -> None:
    """Whoever came through the door in the moment before it was shut."""
    made, other = await created(sessions), await created(sessions)
    link = hashed(made.link.code)
    first = hashed((await sessions.visit(made.session.id, made.link.code)).cookie)
    before = 0
    match why:
        case "used":
            await tunnels.enter(made.session.id, [first])
            before = 1
        case "expired":
            await connection.execute("UPDATE session_keys SET expires_at = now() WHERE hash = $1", link)
        case "over":
            await sessions.stop(made.session.id, made.secret)
    await connection.execute(LATE, made.session.id, link)
    shown_at = made if why != "another session's" else other
    await tunnels.enter(shown_at.session.id, [hashed("a")])
    assert (await drivers(tunnels, made), await drivers(tunnels, other)) == (before, 0)
    used = "SELECT used_at IS NOT NULL FROM session_keys WHERE hash = $1"
    assert await connection.fetchval(used, link) is (why == "used")
