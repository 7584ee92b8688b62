"""Owners who are identified, which over HTTP nobody is as yet."""

from drs_service.db.pool import open_database
from drs_service.domain.access import ANONYMOUS, Principal
from drs_service.usecases.underway import UploadsUnderway

ROWS = """
    INSERT INTO principals (id, kind) VALUES ('ada', 'user'), ('bob', 'user');
    INSERT INTO uploads (id, owner_id, space_id, name, file_name, media_type, size, checksums, expires_at)
    SELECT owner || n, owner, 'default', 'a', 'a', 'text/plain', 100, '{}', now() + interval '1 hour'
    FROM unnest('{ada,bob,anonymous}'::text[]) AS owner, generate_series(1, 2) AS n;
"""


async def test_only_an_identified_owner_is_told_the_ids_and_only_his_own(database_url: str) -> None:
    async with open_database(database_url, name="drs-service tests", size=2, statement_cache=100) as database:
        async with database.connection() as connection:
            await connection.execute(ROWS)
        underway = UploadsUnderway(database)
        pages = {one: await underway.page(Principal(one), size=9, token=None) for one in ("ada", "bob", "eve")}
        assert {name: [one.id for one in page.uploads] for name, page in pages.items()} == {
            "ada": ["ada1", "ada2"],
            "bob": ["bob1", "bob2"],
            "eve": [],
        }
        of_anybody = await underway.page(ANONYMOUS, size=9, token=None)
        assert [one.id for one in of_anybody.uploads] == [None, None]
