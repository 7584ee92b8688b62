"""What is kept of sessions, for how long, and who is told of it."""

import asyncio
from contextlib import aclosing

import pytest
from msgspec import UNSET

from drs_service.api.sessions.shapes import steps
from drs_service.blobs.store import BlobStore
from drs_service.db.pool import Connection, Database
from drs_service.domain.access import ANONYMOUS, Principal
from drs_service.domain.sessions import State
from drs_service.errors import SessionNotFound
from drs_service.usecases.tidying import Tidying
from tests.support.deadline import PATIENCE
from tests.support.sessions import created, new_credential, sessions_on, told, tunnels_on


async def test_what_has_ended_is_forgotten_after_a_month_and_nothing_else(
    database: Database, connection: Connection, store: BlobStore
) -> None:
    sessions, tunnels = sessions_on(database), tunnels_on(database)
    node = await tunnels.enlist("127.0.0.1:9000")
    await tunnels.call(node, node)
    old, recent, live = [await created(sessions) for _ in range(3)]
    for one in (old, recent):
        await sessions.stop(one.session.id, one.secret)
    await connection.execute("UPDATE sessions SET state_at = now() - interval '29 days'")
    await connection.execute(
        "UPDATE sessions SET state_at = now() - interval '31 days' WHERE id = ANY($1)",
        [old.session.id, live.session.id],
    )
    await connection.execute("UPDATE node_calls SET expires_at = now() - interval '1 minute'")
    await Tidying(database, store).run()
    with pytest.raises(SessionNotFound):
        await sessions.show(old.session.id, old.secret)
    assert told(await sessions.show(recent.session.id, recent.secret)) == ["created", "ended stopped"]
    assert (await sessions.show(live.session.id, live.secret)).state is State.CREATED
    for table in ("session_keys", "session_history"):
        assert await connection.fetchval(f"SELECT count(DISTINCT session_id) FROM {table}") == 2
    assert await connection.fetchval("SELECT count(*) FROM node_calls") == 0


async def flap(connection: Connection, times: int) -> None:
    for state in ["idle", "connected"] * times:
        await connection.execute("UPDATE sessions SET state = $1", state)


async def test_of_a_long_history_the_beginning_and_the_end_are_kept_and_the_rest_is_counted(
    database: Database, connection: Connection
) -> None:
    sessions, tunnels = sessions_on(database), tunnels_on(database)
    made = await created(sessions)
    await tunnels.attach(await tunnels.enlist("127.0.0.1:9000"), new_credential(), made.join_token)
    await flap(connection, 49)
    history = (await sessions.show(made.session.id, made.secret)).history
    assert [one.number for one in history] == [*range(1, 101)]  # nothing is missing yet
    await flap(connection, 20)
    await sessions.stop(made.session.id, made.secret)
    session = await sessions.show(made.session.id, made.secret)
    assert [one.number for one in session.history] == [*range(1, 11), *range(52, 142)]
    assert told(session)[:3] == ["created", "connected", "idle"] and told(session)[-1] == "stopping stopped"
    assert [one.left_out for one in steps(session.history)] == [UNSET] * 10 + [41] + [UNSET] * 89
    assert await connection.fetchval("SELECT count(*) FROM session_history") == 100


async def test_whoever_watches_hears_of_the_end_where_no_changes_are_heard(database: Database) -> None:
    sessions = sessions_on(database)
    made = await created(sessions)
    async with asyncio.timeout(PATIENCE), aclosing(sessions.watch(made.session.id, made.secret)) as steps:
        assert await anext(steps) == made.session
        await sessions.stop(made.session.id, made.secret)
        assert [one.state async for one in steps if one is not None] == [State.ENDED]


async def test_only_an_identified_owner_is_told_the_ids_and_only_his_own(
    database: Database, connection: Connection
) -> None:
    sessions = sessions_on(database)
    await connection.execute("INSERT INTO principals (id, kind) VALUES ('ada', 'user'), ('bob', 'user')")
    made = [await created(sessions) for _ in range(3)]
    await connection.execute("UPDATE sessions SET owner_id = 'ada' WHERE id = $1", made[1].session.id)
    pages = {one: await sessions.page(Principal(one), size=9, token=None) for one in ("ada", "bob")}
    assert {name: [one.id for one in page.sessions] for name, page in pages.items()} == {
        "ada": [made[1].session.id],
        "bob": [],
    }
    assert [one.id for one in (await sessions.page(ANONYMOUS, size=9, token=None)).sessions] == [None, None]
