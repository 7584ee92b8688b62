"""All places that keep copies: the primary, where everything comes in, and those that the operator has added."""

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

import structlog

from drs_service.blobs.store import BlobStore
from drs_service.db import drains, replicas
from drs_service.db.identity import identity
from drs_service.db.pool import Connection, Database
from drs_service.errors import StorageUnavailable, StoreMismatch, Unavailable

log = structlog.get_logger()

PATIENCE = 5.0  # seconds
ILL_FOR = 10.0  # seconds for which a place that did not answer is asked last


class Places:
    """Stores by name. The primary is bound before anything is done; the others whenever they answer."""

    def __init__(
        self,
        database: Database,
        primary: BlobStore,
        others: Sequence[BlobStore] = (),
        *,
        patience: float = PATIENCE,
    ) -> None:
        """patience: seconds for which a place is waited for that one can do without."""
        self.primary = primary
        self.others = others
        self.patience = patience
        self._database = database
        self._stores = {one.place: one for one in (primary, *others)}
        self._ill_until: dict[str, float] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order in which they are read, the primary first."""
        return tuple(self._stores)

    def get(self, name: str) -> BlobStore | None:
        """None if the settings know no such place, or none any more."""
        return self._stores.get(name)

    def in_order(self, among: Collection[str]) -> list[BlobStore]:
        """Those to read from: in the order of the settings, and those that did not answer just now at the end."""
        now = time.monotonic()
        found = [one for name, one in self._stores.items() if name in among]
        return sorted(found, key=lambda one: self._ill_until.get(one.place, 0.0) > now)

    async def leaving(self, connection: Connection) -> set[str]:
        """Those that are being emptied. Never the primary, where everything comes in, whatever was said of it when it
        was none.
        """
        return set(await drains.select(connection)) - {self.primary.place}

    def note_ill(self, store: BlobStore) -> None:
        """It did not answer: who can do without it shall not wait for it."""
        self._ill_until[store.place] = time.monotonic() + ILL_FOR

    async def check(self, store: BlobStore) -> None:
        """See that what answers is the place of our database, before anything is written to it or missed in it.

        A place that is new is taken. StoreMismatch if it is another database's. StorageUnavailable if it does not
        answer, or is empty and should not be: nothing may be mounted there. An external place is nobody's: files must
        be in it.
        """
        async with self._database.connection() as connection:
            ours = await identity(connection)
            used = await replicas.any_in(connection, store.place)
        if store.external is not None:
            await store.probe()
        elif await store.identities():
            await store.check(ours)
        elif used:
            raise StorageUnavailable(f"The place {store.place} has lost all that was in it, or is not mounted.")
        else:
            await store.bind(ours)

    async def answering(self, among: Collection[str]) -> list[str]:
        """Those in which there is anything to be done now. Work for the rest would only be given up: it is found again
        once they are back.
        """
        return [one for one in among if await self._answers(one)]

    async def _answers(self, name: str) -> bool:
        store = self.get(name)
        if store is None:
            return False
        try:
            await self.check(store)
        except (Unavailable, StoreMismatch) as error:
            log.warning("a place does not answer: what is to be done there waits", place=name, error=str(error))
            return False
        return True

    async def check_others(self) -> None:
        """See that the places besides the primary are ours. StoreMismatch. Those that do not answer now may later."""
        for store in self.others:
            try:
                async with asyncio.timeout(self.patience):
                    await self.check(store)
            except (Unavailable, TimeoutError) as error:
                self.note_ill(store)
                facts = error.facts if isinstance(error, Unavailable) else {}
                log.warning("a place does not answer", place=store.place, error=str(error), **facts)

    async def close_others(self) -> None:
        for store in self.others:
            with suppress(Unavailable):
                await store.close()
