"""A store is used with the one database that knows its blobs: any other would sweep them away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from drs_service.app import open_app
from drs_service.blobs.keys import identity_key, name_key
from drs_service.blobs.store import BlobStore
from drs_service.db.identity import identity
from drs_service.db.pool import Connection, Database
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.digest import Digest
from drs_service.errors import StoreMismatch
from drs_service.parts import check_store
from drs_service.settings import Settings
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.uploads import Uploads
from tests.support.driving import put
from tests.support.places import LocalPlace
from tests.support.rows import digest_of, incoming


@pytest.fixture
async def local(tmp_path: Path, store: BlobStore) -> AsyncIterator[LocalPlace]:
    """What lies in the store, seen past it."""
    place = LocalPlace(tmp_path / "store")
    yield place
    await place.driver.close()


ANOTHER = "UPDATE service SET id = gen_random_uuid()"


async def upload(database: Database, store: BlobStore) -> Digest:
    kept = await Uploads(database, store, Sweep(database, store)).put(ANONYMOUS, incoming(b"content"))
    return digest_of(kept)


async def digests(store: BlobStore) -> Sequence[Digest]:
    return [stored.digest async for stored in store.enumerate()]


async def test_a_store_without_blobs_becomes_the_databases_own(
    database: Database, connection: Connection, store: BlobStore, local: LocalPlace
) -> None:
    await check_store(database, store)
    assert local.raw_keys() == [identity_key(await identity(connection)), name_key("primary")]
    await upload(database, store)
    await check_store(database, store)


async def test_many_nodes_may_adopt_a_store_at_once(database: Database, store: BlobStore, local: LocalPlace) -> None:
    nodes = [BlobStore(LocalPlace(local.root).driver, place="primary", max_bytes=1000) for _ in range(8)]
    await asyncio.gather(*(check_store(database, node) for node in nodes))
    assert len(local.raw_keys()) == 2
    for node in nodes:
        await node.close()


async def test_a_store_of_another_database_is_refused(
    database: Database, connection: Connection, store: BlobStore, local: LocalPlace
) -> None:
    await check_store(database, store)
    before = local.raw_keys()
    await connection.execute(ANOTHER)
    with pytest.raises(StoreMismatch, match=before[0]):
        await check_store(database, store)
    assert local.raw_keys() == before


async def test_blobs_that_say_of_no_database_are_refused(
    database: Database, store: BlobStore, local: LocalPlace
) -> None:
    digest = await upload(database, store)
    with pytest.raises(StoreMismatch):
        await check_store(database, store)
    assert await digests(store) == [digest]
    assert not list(local.root.glob("identity/*"))


async def test_a_store_that_two_databases_have_adopted_is_neithers(
    database: Database, store: BlobStore, local: LocalPlace
) -> None:
    await check_store(database, store)
    await put(local.driver, identity_key(uuid4()))
    with pytest.raises(StoreMismatch):
        await check_store(database, store)


async def test_what_has_lost_its_database_is_not_served(
    settings: Settings, database: Database, connection: Connection, store: BlobStore
) -> None:
    await check_store(database, store)
    digest = await upload(database, store)
    # What a new cluster has in the place of a lost one.
    await connection.execute(f"{ANOTHER}; TRUNCATE blobs CASCADE")
    with pytest.raises(StoreMismatch):
        async with open_app(settings):
            pass
    assert await digests(store) == [digest]
