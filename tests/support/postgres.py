"""One real PostgreSQL, with a database made from a migrated template for whoever asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from drs_service.db.embedded import EmbeddedPostgres
from drs_service.db.migrate import migrate

TEMPLATE = "template_drs"
# What is lost in a crash of the machine is no loss to a test.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


class Postgres:
    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._made = 0

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Iterator[Self]:
        server = EmbeddedPostgres(directory, settings=FAST)
        server.start()
        try:
            server.create_database(TEMPLATE)
            migrate(server.url(TEMPLATE))
            yield cls(server)
        finally:
            server.stop()

    def new_database(self, *, template: str = TEMPLATE) -> str:
        """The URL of a database nobody else uses."""
        self._made += 1
        name = f"test_{self._made}"
        self._server.create_database(name, template=template)
        return self._server.url(name)
