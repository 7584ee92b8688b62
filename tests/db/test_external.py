"""Rows of copies that are files of others."""

from drs_service.db.external import SUPERSEDED
from drs_service.db.pool import Connection


async def test_a_few_files_are_looked_up_one_by_one_whatever_is_known_of_the_table(connection: Connection) -> None:
    """A worker keeps the plan that was made when the table was empty, while the table grows."""
    plan = await connection.fetch(f"EXPLAIN {SUPERSEDED}", "archive", ["a", "b"] * 16, [b"", b""] * 16)
    said = "\n".join(row[0] for row in plan)
    assert "replicas_good_key_unique" in said
    assert "Seq Scan on replicas" not in said
