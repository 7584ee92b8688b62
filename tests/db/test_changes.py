"""Whatever changes what nodes keep in memory says so, and who cannot hear it knows that."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from drs_service.db import changes
from drs_service.db.changes import BlobChanged, Change, ObjectChanged, SessionChanged
from drs_service.db.pool import Connection
from drs_service.domain.digest import Digest
from tests.support.deadline import until
from tests.support.rows import digest_of, new_object, record

LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'drs-service changes' AND datname = current_database()"
)


class Heard:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.connects = 0
        self.losses = 0
        self.changes: list[Change] = []

    def on_connect(self) -> None:
        self.connects += 1

    def on_change(self, change: Change) -> None:
        self.changes.append(change)

    def on_loss(self) -> None:
        self.losses += 1


@pytest.fixture
async def heard(database_url: str) -> AsyncIterator[Heard]:
    heard = Heard()
    listening = asyncio.create_task(changes.listen(database_url, heard, new_node=lambda: 1))
    await until(lambda: heard.connects == 1)
    yield heard
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    assert heard.losses >= heard.connects


CHANGES = {
    "a new object": (
        "INSERT INTO objects (id, digest, size, name, file_name, media_type) "
        "SELECT 'new', digest, size, name, file_name, media_type FROM objects LIMIT 1",
        [],
    ),
    "an object that changes": ("UPDATE objects SET description = 'x' WHERE id = 'one'", ["object one"]),
    "an object that goes": ("DELETE FROM objects WHERE id = 'two'", ["object two"]),
    "all objects": ("UPDATE objects SET version = '2'", ["object one", "object two"]),
    "a new alias": ("INSERT INTO aliases VALUES ('one', 'a')", ["object one"]),
    "an alias that changes": ("UPDATE aliases SET alias = 'b' WHERE object_id = 'two'", ["object two"]),
    "an alias that moves": ("UPDATE aliases SET object_id = 'one'", ["object one", "object two"]),
    "an alias that goes": ("DELETE FROM aliases", ["object two"]),
    "a new checksum": ("INSERT INTO checksums SELECT digest, 'sha-512', '00' FROM blobs", ["blob one", "blob two"]),
    "a checksum that changes": ("UPDATE checksums SET value = '0011'", ["blob two"]),
    "a checksum that goes": ("DELETE FROM checksums", ["blob two"]),
    "a new session": (
        "INSERT INTO sessions (id, owner_id, space_id, idle_seconds, join_by, expires_at) "
        "VALUES ('b234567890123456', 'anonymous', 'default', 1, now(), now())",
        [],
    ),
    "a session in another state": ("UPDATE sessions SET state = 'ended', reason = 'stopped'", ["session"]),
    "a session with a tunnel": ("UPDATE sessions SET epoch = 1, joined_at = now()", ["session"]),
    "a session that moves": ("UPDATE sessions SET active_at = now(), running = 1", []),
    "a new secret": (
        "INSERT INTO session_keys (hash, session_id, kind) VALUES (sha256('b'), 'a234567890123456', 'cookie')",
        ["session"],
    ),
    "a secret that is used": ("UPDATE session_keys SET used_at = now()", ["session"]),
    "a secret that goes": ("DELETE FROM session_keys", ["session"]),
    "nothing": ("UPDATE objects SET version = '2' WHERE id = 'three'", []),
}


A_SESSION = """
    INSERT INTO sessions (id, owner_id, space_id, idle_seconds, join_by, expires_at)
    VALUES ('a234567890123456', 'anonymous', 'default', 1, now(), now());
    INSERT INTO session_keys (hash, session_id, kind) VALUES (sha256('a'), 'a234567890123456', 'driving')
"""


@pytest.mark.parametrize(("statement", "expected"), CHANGES.values(), ids=CHANGES)
async def test_a_change_is_heard(heard: Heard, connection: Connection, statement: str, expected: list[str]) -> None:
    one, two = new_object(), new_object()
    await record(connection, one, two)
    await connection.execute("UPDATE objects SET id = 'one' WHERE id = $1", one.id)
    await connection.execute("UPDATE objects SET id = 'two' WHERE id = $1", two.id)
    await connection.execute("INSERT INTO aliases VALUES ('two', 'a')")
    await connection.execute("INSERT INTO checksums VALUES ($1, 'md5', '00ff')", digest_of(two).raw)
    await connection.execute(A_SESSION)
    await connection.execute("SELECT pg_notify('object_changes', 'object begin')")
    await until(lambda: ObjectChanged("begin") in heard.changes)
    heard.changes.clear()

    await connection.execute(statement)
    # Notifications come in the order of the commits: after this one there is nothing more to wait for.
    await connection.execute("SELECT pg_notify('object_changes', 'object end')")
    await until(lambda: ObjectChanged("end") in heard.changes)
    names = {digest_of(one): "one", digest_of(two): "two"}
    said = [what(change, names) for change in heard.changes]
    assert sorted(said[:-1]) == expected


def what(change: Change, names: dict[Digest, str]) -> str:
    match change:
        case BlobChanged(digest):
            return f"blob {names[digest]}"
        case SessionChanged("a234567890123456"):
            return "session"
        case ObjectChanged(name):
            return f"object {name}"
    raise AssertionError(change)


async def test_a_change_that_is_rolled_back_is_not_heard(heard: Heard, connection: Connection) -> None:
    one = new_object()
    await record(connection, one)
    with contextlib.suppress(LookupError):
        async with connection.transaction():
            await connection.execute("UPDATE objects SET version = '2'")
            raise LookupError
    await connection.execute("DELETE FROM objects")
    await until(lambda: bool(heard.changes))
    assert heard.changes == [ObjectChanged(one.id)]


async def test_a_lost_connection_is_told_at_once_and_made_again(heard: Heard, connection: Connection) -> None:
    one = new_object()
    await record(connection, one)
    for time in range(2):
        [listener] = await connection.fetch(LISTENERS)
        await connection.execute("SELECT pg_terminate_backend($1)", listener["pid"])
        await until(lambda: heard.losses == time + 1)  # noqa: B023
        await until(lambda: heard.connects == time + 2)  # noqa: B023
    await connection.execute("DELETE FROM objects")
    await until(lambda: heard.changes == [ObjectChanged(one.id)])
    assert (heard.connects, heard.losses) == (3, 2)


async def test_a_database_that_is_not_there_is_tried_again(database_url: str) -> None:
    heard = Heard()
    listening = asyncio.create_task(
        changes.listen(database_url.replace("/test_", "/missing_"), heard, new_node=lambda: 1)
    )
    done, _ = await asyncio.wait([listening], timeout=0.3)
    assert not done
    assert heard.connects == 0
    listening.cancel()
    await asyncio.wait([listening])


async def test_a_listener_that_fails_is_connected_again(database_url: str) -> None:
    class Failing(Heard):
        def on_connect(self) -> None:
            super().on_connect()
            if self.connects == 1:
                raise LookupError("not expected by anybody")

    heard = Failing()
    listening = asyncio.create_task(changes.listen(database_url, heard, new_node=lambda: 1))
    await until(lambda: heard.connects == 2)
    assert heard.losses == 1
    listening.cancel()
    await asyncio.wait([listening])
