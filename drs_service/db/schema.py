"""Does the schema in the database fit this code? The migrations are the only thing that changes it."""

from pathlib import Path

import asyncpg

from drs_service.db.pool import Connection
from drs_service.errors import SchemaAhead, SchemaBehind

# Inside an installed wheel, or at the top of the source tree.
MIGRATIONS = next(
    path
    for path in (Path(__file__).with_name("migrations"), Path(__file__).parents[2] / "db" / "migrations")
    if path.is_dir()
)


def expected() -> set[str]:
    """The versions of all migrations that this code comes with."""
    return {path.name.partition("_")[0] for path in MIGRATIONS.glob("*.sql")}


async def applied(connection: Connection) -> set[str]:
    """The versions of all migrations that were applied to this database."""
    try:
        return {row["version"] for row in await connection.fetch("SELECT version FROM schema_migrations")}
    except asyncpg.UndefinedTableError:
        return set()


async def check(connection: Connection) -> None:
    """SchemaBehind or SchemaAhead unless exactly our migrations were applied."""
    want, have = expected(), await applied(connection)
    if unknown := sorted(have - want):
        raise SchemaAhead(unknown=unknown)
    if missing := sorted(want - have):
        raise SchemaBehind(missing=missing)
