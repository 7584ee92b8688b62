"""Services with several places."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from drs_service.blobs.keys import key_for
from drs_service.blobs.opening import open_store
from drs_service.blobs.store import BlobStore
from drs_service.db import replicas
from drs_service.db.pool import Database, open_database
from drs_service.db.replicas import Copy
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.digest import Digest
from drs_service.domain.replication import parse_rules
from drs_service.parts import access, check_store, open_places
from drs_service.settings import Settings
from drs_service.usecases.draining import Draining
from drs_service.usecases.places import Places
from drs_service.usecases.reading import Reading
from drs_service.usecases.replicating import Replicating
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.uploads import Uploads
from tests.support.rows import incoming


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """A mirror of everything, and a cold place for what is asked for."""
    places = (f"mirror={(tmp_path / 'mirror').as_uri()}", f"cold={(tmp_path / 'cold').as_uri()}")
    return replace(settings, places=places, replicas="mirror")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service is made of, without its HTTP."""

    database: Database
    places: Places
    settings: Settings
    root: Path

    @property
    def store(self) -> BlobStore:
        return self.places.primary

    @property
    def reading(self) -> Reading:
        return Reading(self.database, self.places)

    @property
    def sweep(self) -> Sweep:
        return Sweep(self.database, self.store, self.places)

    @property
    def uploads(self) -> Uploads:
        return Uploads(self.database, self.store, self.sweep)

    @property
    def replicating(self) -> Replicating:
        return Replicating(self.database, self.places, self.reading, parse_rules(self.settings.replicas))

    @property
    def draining(self) -> Draining:
        return Draining(self.database, self.places, self.reading, self.replicating)

    async def keep(self, content: bytes) -> Digest:
        blob = (await self.uploads.put(ANONYMOUS, incoming(content))).blob
        assert blob is not None
        return blob.digest

    async def copies(self, digest: Digest) -> dict[str, Copy]:
        async with self.database.connection() as connection:
            return await replicas.of(connection, digest)

    async def jobs(self, kind: str = "replicate_blob") -> int:
        async with self.database.connection() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint = $1", kind))

    def file(self, place: str, digest: Digest) -> Path:
        """Where a local place has a blob."""
        return self.root / {"primary": "store"}.get(place, place) / key_for(digest)


@pytest.fixture
async def parts(settings: Settings, tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(settings, tmp_path) as parts:
        yield parts


@asynccontextmanager
async def opened(settings: Settings, root: Path) -> AsyncIterator[Parts]:
    assert settings.database_url is not None and settings.storage_url is not None
    store = open_store(
        settings.storage_url,
        max_bytes=1024**3,
        access=access(settings),
        place=settings.storage_name,
        replicas=parse_rules(settings.replicas),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        url = settings.database_url.reveal()
        database = await stack.enter_async_context(open_database(url, name="test", size=20, statement_cache=100))
        await check_store(database, store)
        places = await stack.enter_async_context(open_places(settings, database, store))
        await places.check_others()
        yield Parts(database, places, settings, root)


def flip(path: Path) -> None:
    """Another bit in the middle of a file; its size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def is_good(path: Path, digest: Digest) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest.hex
    except FileNotFoundError:
        return False
