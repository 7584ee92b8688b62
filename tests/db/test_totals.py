"""How much there is, without counting it."""

from drs_service.blobs.store import BlobStore
from drs_service.db import holdings, totals
from drs_service.db.pool import Database
from drs_service.db.totals import Totals
from drs_service.usecases.tidying import Tidying

MANY = 35_000
INSERT = """
    INSERT INTO blobs (digest, size) SELECT sha256(n::text::bytea), n FROM generate_series(1, 100) AS n;
    INSERT INTO objects (id, digest, size, name, file_name, media_type)
        SELECT 'object-' || size, digest, size, 'a', 'a', 'text/plain' FROM blobs;
"""


async def read(database: Database) -> Totals:
    async with database.connection() as connection:
        return await totals.select(connection)


async def test_the_totals_follow_every_change(database: Database) -> None:
    assert await read(database) == Totals(0, 0, 0)
    async with database.transaction() as connection:
        await connection.execute(INSERT)
    assert await read(database) == Totals(100, 5050, 100)
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM objects WHERE id IN ('object-1', 'object-100')")
        await connection.execute("DELETE FROM blobs WHERE size IN (1, 100)")
    assert await read(database) == Totals(98, 4949, 98)


async def test_tidying_makes_one_row_of_many_and_changes_no_total(database: Database, store: BlobStore) -> None:
    for number in range(5):
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO blobs (digest, size) VALUES (sha256($1), 7)", b"%d" % number)
    await Tidying(database, store).run()
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM total_changes") == 1
    assert await read(database) == Totals(0, 35, 5)


async def test_tidying_keeps_up_with_any_number_of_changes(database: Database, store: BlobStore) -> None:
    async with database.transaction() as connection:
        await connection.execute(f"""
            INSERT INTO total_changes (objects, bytes, blobs) SELECT 1, 2, 3 FROM generate_series(1, {MANY});
            INSERT INTO holding_changes (owner_id, space_id, kept, staged, uploads)
                SELECT 'ada', 'default', 1, 0, 0 FROM generate_series(1, {MANY});
        """)
    await Tidying(database, store).run()
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM total_changes") == 4
        assert await connection.fetchval("SELECT count(*) FROM holding_changes") == 4
        assert (await holdings.select(connection, "ada", "default"))[0].of_owner == MANY
    assert await read(database) == Totals(MANY, 2 * MANY, 3 * MANY)


async def test_the_log_of_the_queue_is_kept_for_a_week(database: Database, store: BlobStore) -> None:
    async with database.transaction() as connection:
        await connection.execute("""
            INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, created)
            VALUES (1, 'successful', 0, 'old', now() - interval '8 days'), (2, 'successful', 0, 'new', now())
        """)
    await Tidying(database, store).run()
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT array_agg(entrypoint) FROM pgqueuer_log") == ["new"]
