"""Copies that we bring back for no reader: whoever owns them, or an operator, may have done it.

Nobody tells us, so a reader makes us look, now and then.
"""

import asyncio
import time
from dataclasses import dataclass, field

import structlog

from drs_service.blobs.driver import Frost
from drs_service.blobs.store import BlobStore
from drs_service.db import archived
from drs_service.db.pool import Database
from drs_service.domain.digest import Digest
from drs_service.errors import StorageUnavailable

log = structlog.get_logger()

EVERY = 60.0  # seconds, at one copy
MOST_NOTED = 10_000  # copies


@dataclass(frozen=True, slots=True)
class LookingAgain:
    database: Database
    patience: float
    """Seconds for which a place is waited for."""
    _seen: dict[tuple[Digest, str], float] = field(default_factory=dict)

    def note(self, digest: Digest, place: str) -> None:
        """A copy has just been seen to lie in an archive, or is being looked at."""
        self._seen.pop((digest, place), None)
        self._seen[digest, place] = time.monotonic()
        if len(self._seen) > MOST_NOTED:
            del self._seen[next(iter(self._seen))]

    async def is_back(self, digest: Digest, store: BlobStore) -> bool:
        """Whether a copy that is known for archived can be read; its row says so then. BlobNotFound.

        False without a look if there was one a moment ago, or if the place does not answer.
        """
        seen = self._seen.get((digest, store.place))
        if seen is not None and time.monotonic() < seen + EVERY:
            return False
        self.note(digest, store.place)
        try:
            async with asyncio.timeout(self.patience):
                condition = await store.condition(digest)
        except (StorageUnavailable, TimeoutError) as error:
            log.warning("a copy in an archive was not looked at", place=store.place, error=str(error))
            return False
        if condition.frost is not Frost.NONE:
            return False
        async with self.database.transaction() as connection:
            await archived.restored(connection, digest, store.place, condition.until)
        log.info("a copy is back from an archive", digest=digest.hex, place=store.place, until=condition.until)
        return True
