"""Everybody's sessions, for the operator."""

from collections.abc import AsyncIterator

from drs_service.db import sessions
from drs_service.db.pool import Database
from drs_service.domain.sessions import Session

PAGE = 1000


class Overseeing:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def sessions(self, *, ended: bool) -> AsyncIterator[Session]:
        """All of them, oldest first, without their histories; ended: also those that are over."""
        after = 0
        while True:
            async with self._database.connection() as connection:
                found = await sessions.page(connection, None, after=after, limit=PAGE, ended=ended)
            for one in found:
                yield one.session
            if len(found) < PAGE:
                return
            after = found[-1].number
