"""What owners hold, without counting it."""

from drs_service.blobs.store import BlobStore
from drs_service.db import holdings
from drs_service.db.pool import Connection, Database
from drs_service.domain.limits import Holding
from drs_service.usecases.tidying import Tidying

PEOPLE = """
    INSERT INTO principals (id, kind) VALUES ('ada', 'user'), ('bob', 'user');
    INSERT INTO spaces (id) VALUES ('lab');
    INSERT INTO blobs (digest, size) SELECT sha256(n::text::bytea), n FROM generate_series(1, 10) AS n;
"""
OBJECT = """
    INSERT INTO objects (id, digest, size, name, file_name, media_type, owner_id, space_id)
    SELECT $1 || size, digest, size, 'a', 'a', 'text/plain', $2, $3 FROM blobs
"""
UPLOAD = """
    INSERT INTO uploads (id, owner_id, space_id, name, file_name, media_type, size, checksums, expires_at, purpose)
    SELECT $1 || n, $2, $3, 'a', 'a', 'text/plain', 100, '{}', now() + interval '1 hour', 'object'
    FROM generate_series(1, 4) AS n
"""
# What the counters say, held against what is there.
TRULY = """
    WITH staged AS (
        SELECT owner_id, space_id, greatest(received, upper(range_merge(signed))) AS bytes FROM uploads
        WHERE object_id IS NULL AND (finishing OR expires_at > now())
    )
    SELECT (SELECT coalesce(sum(size), 0) FROM objects WHERE digest IS NOT NULL AND owner_id = $1)
            + (SELECT coalesce(sum(bytes), 0) FROM staged WHERE owner_id = $1) AS of_owner,
        (SELECT coalesce(sum(size), 0) FROM objects WHERE digest IS NOT NULL AND space_id = $2)
            + (SELECT coalesce(sum(bytes), 0) FROM staged WHERE space_id = $2) AS of_space,
        (SELECT count(*) FROM staged WHERE owner_id = $1) AS uploads
"""
CHANGES = [
    "UPDATE objects SET digest = NULL, deleted_time = now() WHERE id IN ('o1', 'o2', 'p10')",
    "UPDATE objects SET description = 'x'",
    "UPDATE objects SET owner_id = 'bob', space_id = 'lab' WHERE id = 'o5'",
    "DELETE FROM objects WHERE id IN ('o1', 'o9')",
    "INSERT INTO objects (id, kind, entries, size, name, file_name) VALUES ('bundle', 'bundle', 0, 99, 'a', 'a')",
    "UPDATE uploads SET received = 40 WHERE id IN ('u1', 'v1')",
    "UPDATE uploads SET received = 10 WHERE id = 'u1'",
    "UPDATE uploads SET received = 100, object_id = 'o3' WHERE id = 'u2'",
    "UPDATE uploads SET digest = sha256('7'), received = 7, size = 7 WHERE id = 'u3'",
    "UPDATE uploads SET signed = '{[0,9),[9,70)}' WHERE id IN ('u4', 'v1')",
    "UPDATE uploads SET expires_at = now() WHERE id IN ('u4', 'v2')",
    "UPDATE uploads SET finishing = true WHERE id = 'u4'",
    "UPDATE uploads SET expires_at = now()",
    "DELETE FROM uploads WHERE id IN ('u1', 'u2', 'v4')",
]


async def assert_true(connection: Connection, owner: str, space: str) -> Holding:
    said, _ = await holdings.select(connection, owner, space)
    truth = await connection.fetchrow(TRULY, owner, space)
    assert truth is not None
    assert said == Holding(truth["of_owner"], truth["of_space"], truth["uploads"])
    return said


async def people(connection: Connection) -> None:
    await connection.execute(PEOPLE)
    for prefix, owner, space in (("o", "ada", "default"), ("p", "bob", "default"), ("q", "ada", "lab")):
        await connection.execute(OBJECT, prefix, owner, space)
    await connection.execute(UPLOAD, "u", "ada", "default")
    await connection.execute(UPLOAD, "v", "bob", "lab")


async def test_what_is_held_follows_every_change(connection: Connection) -> None:
    assert await assert_true(connection, "ada", "default") == Holding(0, 0, 0)
    await people(connection)
    assert await assert_true(connection, "ada", "default") == Holding(110, 110, 4)
    for change in CHANGES:
        await connection.execute(change)
        for owner, space in (("ada", "default"), ("bob", "lab"), ("anonymous", "default")):
            await assert_true(connection, owner, space)


async def test_folding_changes_nothing_that_is_held(database: Database, store: BlobStore) -> None:
    async with database.transaction() as connection:
        await people(connection)
        for change in CHANGES[:-4]:
            await connection.execute(change)
        before = [await assert_true(connection, *one) for one in (("ada", "default"), ("bob", "lab"))]
        await holdings.fold(connection, "ada")
        count = "SELECT count(*) FROM holding_changes WHERE owner_id = $1"
        assert await connection.fetchval(count, "ada") == 2  # spaces
    await Tidying(database, store).run()
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM holding_changes") == 4  # owners in spaces
        assert [await assert_true(connection, *one) for one in (("ada", "default"), ("bob", "lab"))] == before


async def test_of_very_many_changes_it_is_told_that_they_should_be_folded(connection: Connection) -> None:
    change = (
        "INSERT INTO holding_changes (owner_id, space_id, kept) SELECT 'ada', 'default', 1 FROM generate_series(1, $1)"
    )
    await connection.execute(change, holdings.FOLD_AT - 1)
    assert await holdings.select(connection, "ada", "default") == (Holding(999, 999, 0), False)
    await connection.execute(change, 1)
    assert await holdings.select(connection, "ada", "default") == (Holding(1000, 1000, 0), True)
    assert (await holdings.select(connection, "bob", "default"))[1] is False
