"""Objects are read from Postgres or from memory, and it cannot be told which."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import asyncpg
import pytest

from drs_service.db import blobs, changes, objects
from drs_service.db.changes import BlobChanged, ObjectChanged
from drs_service.db.pool import Connection, Database, open_database
from drs_service.domain.access import ANONYMOUS, Principal
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum
from drs_service.domain.digest import Digest
from drs_service.domain.objects import DrsObject, Kind, NewObject
from drs_service.errors import DatabaseUnavailable, ObjectNotFound
from drs_service.usecases.objects import Kept, Known, Objects
from tests.support.deadline import until
from tests.support.rows import digest_of, digest_of_bytes, new_object, record

LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'drs-service changes' AND datname = current_database()"
)
KEEP = 100


def name_of(drs_object: DrsObject) -> str:
    return drs_object.file_name


class Reading:
    """A node's way to objects, with the listener that keeps it honest."""

    def __init__(self, database: Database) -> None:
        self.objects: Objects[str] = Objects(database, face=name_of, keep=KEEP)

    async def name(self, object_id: str) -> str:
        return (await self.objects.get(ANONYMOUS, object_id)).face

    def keeps(self, object_id: str) -> bool:
        return self.objects.changes.get(object_id) is not None

    async def keep(self, object_id: str) -> None:
        """Read until it stays in memory."""
        async with asyncio.timeout(10):
            while not self.keeps(object_id):
                await self.name(object_id)


@pytest.fixture
async def reading(database: Database, database_url: str, connection: Connection) -> AsyncIterator[Reading]:
    reading = Reading(database)
    listening = asyncio.create_task(changes.listen(database_url, reading.objects.changes, new_node=lambda: 1))
    [one] = await recorded(connection, 1)
    await reading.keep(one.id)
    yield reading
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening


async def recorded(connection: Connection, count: int) -> Sequence[NewObject]:
    new = [new_object(name=f"{number}.bam") for number in range(count)]
    await record(connection, *new)
    return new


async def test_what_is_recorded_is_read_back(connection: Connection) -> None:
    new = new_object(b"content", name="reads.bam")
    await record(connection, new)
    found = await objects.select(connection, [new.id, "another"])
    assert list(found) == [new.id]
    one = found[new.id]
    assert (one.blob, one.name, one.file_name, one.media_type) == (new.blob, new.name, new.file_name, new.media_type)
    assert (one.owner, one.space, one.checksums, one.aliases) == ("anonymous", "default", (sha256_of(one.blob),), ())
    assert abs((datetime.now(UTC) - one.created_time).total_seconds()) < 60


async def test_checksums_and_aliases_come_with_an_object_in_their_order(connection: Connection) -> None:
    new, other = new_object(), new_object()
    await record(connection, new, other)
    for algorithm, value in [("md5", "00ff"), ("crc32c", "0a0b0c0d")]:
        await connection.execute("INSERT INTO checksums VALUES ($1, $2, $3)", digest_of(new).raw, algorithm, value)
    for alias in ("z", "a"):
        await connection.execute("INSERT INTO aliases VALUES ($1, $2)", new.id, alias)
    found = await objects.select(connection, [new.id, other.id])
    others = (Checksum("crc32c", "0a0b0c0d"), Checksum("md5", "00ff"))
    assert found[new.id].checksums == (sha256_of(new.blob), *others)
    assert found[new.id].aliases == ("a", "z")
    assert found[other.id].checksums == (sha256_of(other.blob),)
    assert found[other.id].aliases == ()


async def test_a_blob_is_recorded_once_and_stays_as_it_is(connection: Connection) -> None:
    one, same = new_object(b"same"), new_object(b"same")
    await record(connection, one, same)
    await record(connection, new_object(b"same"))
    assert await connection.fetchval("SELECT count(*) FROM blobs") == 1
    assert await connection.fetchval("SELECT count(*) FROM replicas") == 1
    unknown = digest_of_bytes(b"unknown")
    assert await blobs.known(connection, [digest_of(one), unknown]) == {digest_of(one)}


async def test_a_lock_on_digests_lasts_to_the_end_of_its_transaction(database: Database) -> None:
    digests = [digest_of_bytes(b"%d" % number) for number in range(3)]
    async with database.transaction() as one:
        await blobs.lock(one, digests)
        waiting = asyncio.create_task(lock_and_release(database, digests[1]))
        await lock_and_release(database, digest_of_bytes(b"another"))
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
    await waiting


async def lock_and_release(database: Database, digest: Digest) -> None:
    async with database.transaction() as connection:
        await blobs.lock(connection, [digest])


async def test_locks_taken_in_any_order_never_deadlock(database: Database) -> None:
    digests = [digest_of_bytes(b"%d" % number) for number in range(20)]

    async def lock(turn: int) -> None:
        async with database.transaction() as connection:
            await blobs.lock(connection, digests[turn:] + digests[:turn][::-1])

    await asyncio.gather(*(lock(turn % 20) for turn in range(100)))


async def test_an_object_that_is_not_there_or_not_yours_is_not_found(reading: Reading, connection: Connection) -> None:
    [new] = await recorded(connection, 1)
    for principal, object_id in [(ANONYMOUS, "nobody"), (ANONYMOUS, "not/an\x00id"), (Principal("else"), new.id)]:
        with pytest.raises(ObjectNotFound):
            await reading.objects.get(principal, object_id)


async def test_an_object_is_found_as_soon_as_it_is_recorded(reading: Reading, connection: Connection) -> None:
    new = new_object()
    with pytest.raises(ObjectNotFound):
        await reading.name(new.id)
    await record(connection, new)
    assert await reading.name(new.id) == new.file_name


async def test_a_change_behind_the_nodes_back_is_seen(reading: Reading, connection: Connection) -> None:
    [new] = await recorded(connection, 1)
    await reading.keep(new.id)
    await connection.execute("UPDATE objects SET file_name = 'renamed' WHERE id = $1", new.id)
    await until(lambda: not reading.keeps(new.id))
    assert await reading.name(new.id) == "renamed"
    await reading.keep(new.id)
    await connection.execute("INSERT INTO aliases VALUES ($1, 'alias')", new.id)
    await until(lambda: not reading.keeps(new.id))
    await reading.keep(new.id)
    await connection.execute("INSERT INTO checksums VALUES ($1, 'md5', '00ff')", digest_of(new).raw)
    await until(lambda: not reading.keeps(new.id))
    assert (await reading.objects.get(ANONYMOUS, new.id)).object.checksums == (
        sha256_of(new.blob),
        Checksum("md5", "00ff"),
    )
    await reading.keep(new.id)
    await connection.execute("DELETE FROM objects WHERE id = $1", new.id)
    await until(lambda: not reading.keeps(new.id))
    with pytest.raises(ObjectNotFound):
        await reading.name(new.id)


async def test_nothing_is_stale_after_a_lost_connection(reading: Reading, connection: Connection) -> None:
    new = await recorded(connection, 10)
    for one in new:
        await reading.keep(one.id)
    [listener] = await connection.fetch(LISTENERS)
    await connection.execute("SELECT pg_terminate_backend($1)", listener["pid"])
    await connection.execute("UPDATE objects SET file_name = 'renamed'")
    await until(lambda: not any(reading.keeps(one.id) for one in new))
    assert {await reading.name(one.id) for one in new} == {"renamed"}
    # Nothing is kept while changes go unheard, and it is again when they do not.
    assert not reading.keeps(new[0].id)
    await reading.keep(new[0].id)


async def test_readers_end_with_what_the_writers_left(reading: Reading, connection: Connection) -> None:
    new = await recorded(connection, 5)
    writing = True

    async def read() -> None:
        while writing:
            for one in new:
                await reading.name(one.id)
            await asyncio.sleep(0)  # what is in memory is answered without a pause

    readers = [asyncio.create_task(read()) for _ in range(5)]
    for number in range(200):
        await connection.execute("UPDATE objects SET file_name = $1 WHERE id = $2", f"{number}", new[number % 5].id)
    writing = False
    await asyncio.gather(*readers)
    expected = {one.id: f"{195 + number}" for number, one in enumerate(new)}
    deadline = asyncio.get_running_loop().time() + 5
    while {one.id: await reading.name(one.id) for one in new} != expected:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0)


async def test_many_readers_at_once_make_few_queries(database_url: str, connection: Connection) -> None:
    new = await recorded(connection, 600)
    queries: list[object] = []
    async with open_database(database_url, name="counted", size=1, statement_cache=100) as database:
        async with database.connection() as counted:
            await objects.select(counted, ["unknown"])  # the types are looked up once
            assert isinstance(counted, asyncpg.pool.PoolConnectionProxy)
            counted.add_query_logger(queries.append)
        reading = Reading(database)
        names = await asyncio.gather(*(reading.name(one.id) for one in new for _ in range(5)))
    assert names == [one.file_name for one in new for _ in range(5)]
    assert len(queries) <= 4


async def test_a_reader_that_leaves_does_not_disturb_the_others(database: Database, connection: Connection) -> None:
    [new] = await recorded(connection, 1)
    reading = Reading(database)
    readers = [asyncio.create_task(reading.name(new.id)) for _ in range(10)]
    await asyncio.sleep(0)
    for reader in readers[:5]:
        reader.cancel()
    assert await asyncio.gather(*readers[5:]) == [new.file_name] * 5


async def test_a_face_that_cannot_be_made_is_an_error_and_not_a_wait(
    database: Database, connection: Connection
) -> None:
    def faceless(_: DrsObject) -> str:
        raise LookupError("no face")

    [new] = await recorded(connection, 1)
    reader: Objects[str] = Objects(database, face=faceless, keep=KEEP)
    async with asyncio.timeout(5):
        with pytest.raises(LookupError):
            await reader.get(ANONYMOUS, new.id)


async def test_a_database_that_is_gone_is_an_error_for_each_reader(database_url: str, connection: Connection) -> None:
    new = await recorded(connection, 3)
    async with open_database(database_url, name="gone", size=2, statement_cache=0) as database:
        reading = Reading(database)
    answers = await asyncio.gather(*(reading.name(one.id) for one in new), return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 3


# What is kept in memory, step by step: the orders of events that a real network makes seldom.


@pytest.fixture
def kept() -> Kept[str]:
    kept: Kept[str] = Kept(3)
    kept.on_connect()
    return kept


def known(content: bytes = b"content", name: str = "reads.bam") -> Known[str]:
    new = new_object(content, name=name)
    now = datetime.now(UTC)
    assert new.blob is not None
    return Known(
        DrsObject(
            id=new.id,
            kind=Kind.BLOB,
            name=new.name,
            file_name=new.file_name,
            owner=new.owner,
            space=new.space,
            media_type=new.media_type,
            size=new.blob.size,
            blob=new.blob,
            created_time=now,
            updated_time=now,
            checksums=(sha256_of(new.blob),),
        ),
        name,
    )


def sha256_of(blob: Blob | None) -> Checksum:
    assert blob is not None
    return Checksum("sha-256", blob.digest.hex)


def test_what_was_asked_for_before_a_change_is_not_kept(kept: Kept[str]) -> None:
    one = known()
    since = kept.changes_heard
    kept.on_change(ObjectChanged(one.object.id))
    kept.put(one, since=since)
    assert kept.get(one.object.id) is None


def test_what_was_asked_for_before_a_loss_is_not_kept(kept: Kept[str]) -> None:
    one = known()
    since = kept.changes_heard
    kept.on_loss()
    kept.put(one, since=since)
    kept.on_connect()
    kept.put(one, since=since)
    assert kept.get(one.object.id) is None


def test_what_was_asked_for_before_changes_could_be_heard_is_not_kept() -> None:
    kept: Kept[str] = Kept(3)
    one = known()
    since = kept.changes_heard
    kept.on_connect()  # a change between the question and this was not heard
    kept.put(one, since=since)
    assert kept.get(one.object.id) is None


def test_nothing_is_kept_while_changes_go_unheard() -> None:
    kept: Kept[str] = Kept(3)
    one = known()
    kept.put(one, since=kept.changes_heard)
    assert kept.get(one.object.id) is None


def test_the_objects_read_last_are_kept_and_no_more(kept: Kept[str]) -> None:
    four = [known(b"same"), known(b"same"), known(b"other"), known(b"same")]
    for one in four[:3]:
        kept.put(one, since=kept.changes_heard)
    assert kept.get(four[0].object.id) is four[0]
    kept.put(four[3], since=kept.changes_heard)
    assert [kept.get(one.object.id) is not None for one in four] == [True, False, True, True]


def test_a_change_of_a_blob_is_one_of_all_its_objects(kept: Kept[str]) -> None:
    one, same, other = known(b"same"), known(b"same"), known(b"other")
    for each in (one, same, other):
        kept.put(each, since=kept.changes_heard)
    kept.on_change(BlobChanged(digest_of(one.object)))
    assert [kept.get(each.object.id) for each in (one, same, other)] == [None, None, other]
