"""Readers get their bytes from whichever place has them."""

import hashlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from drs_service.blobs.driver import Buffer
from drs_service.blobs.memory import MemoryDriver
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs
from drs_service.domain.ranges import ByteRange
from drs_service.errors import StorageUnavailable
from drs_service.settings import Settings
from drs_service.usecases.checksumming import Checksumming
from drs_service.usecases.places import Places
from drs_service.usecases.reading import Reading
from tests.api.schemas import assert_refused
from tests.api.traces import until_known
from tests.places.conftest import Parts, flip, is_good
from tests.support.driving import collect
from tests.support.faults import Wrapper
from tests.support.rows import digest_of_bytes
from tests.support.server import running

CONTENT = secrets.token_bytes(3_000_000)
DIGEST = digest_of_bytes(CONTENT)


@pytest.fixture
async def object_id(client: httpx.AsyncClient, parts: Parts) -> str:
    """An object with a copy in the mirror."""
    sent = (await client.put("/upload/a.bin", content=CONTENT)).raise_for_status().json()
    await parts.replicating.replicate(DIGEST, "mirror")
    await until_known(lambda: is_known(client, parts, sent["id"]))
    return str(sent["id"])


async def is_known(client: httpx.AsyncClient, parts: Parts, object_id: str) -> bool:
    """Whether the service would find the copy in the mirror: it keeps in memory what it read of an object."""
    aside = parts.file("primary", DIGEST).with_name("aside")
    parts.file("primary", DIGEST).rename(aside)
    try:
        return (await client.get(f"/data/{object_id}", headers={"range": "bytes=0-0"})).status_code == 206
    finally:
        aside.rename(parts.file("primary", DIGEST))


@pytest.fixture
async def clean(object_id: str, parts: Parts) -> AsyncIterator[str]:
    """The same object, when nothing is known to be wrong with it."""
    # What was seen to be missing while `is_known` had it aside is looked for once more before it is believed.
    await parts.replicating.replicate(DIGEST, "primary")
    async with parts.database.transaction() as connection:
        await connection.execute("DELETE FROM pgqueuer")
    yield object_id


async def is_settled(parts: Parts) -> bool:
    return (await parts.copies(DIGEST))["primary"].damage is not None


@pytest.mark.parametrize("harm", ["unlink", "empty", "rename the place"])
async def test_a_reader_does_not_notice_that_a_copy_is_gone(
    client: httpx.AsyncClient, parts: Parts, clean: str, tmp_path: Path, harm: str
) -> None:
    path = parts.file("primary", DIGEST)
    if harm == "unlink":
        path.unlink()
    elif harm == "empty":
        path.chmod(0o600)
        path.write_bytes(b"")
    else:
        (tmp_path / "store").rename(tmp_path / "away")
    for _ in range(3):
        answer = await client.get(f"/data/{clean}")
        assert (answer.status_code, answer.content == CONTENT) == (200, True)
    if harm == "rename the place":
        (tmp_path / "away").rename(tmp_path / "store")
        assert (await parts.copies(DIGEST))["primary"].damage is None
    else:
        await until_known(lambda: is_settled(parts))
        assert await parts.jobs() == 1
        await parts.replicating.replicate(DIGEST, "primary")
        assert is_good(path, DIGEST)


class Down(Wrapper):
    """Does not answer, and counts who asks."""

    asked = 0

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[Buffer, None]:
        self.asked += 1
        if self.asked:
            raise StorageUnavailable
        yield b""


async def test_not_every_reader_asks_a_place_that_is_down(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    down = Down(MemoryDriver())
    mirror = parts.places.get("mirror")
    assert mirror is not None
    places = Places(parts.database, BlobStore(down, place="primary", max_bytes=1), [mirror])
    reading = Reading(parts.database, places)
    for _ in range(3):
        assert await collect(await reading.open(digest, ByteRange(0, 10), {"primary", "mirror"})) == CONTENT[:10]
    assert down.asked == 1
    with pytest.raises(StorageUnavailable):
        await reading.open(digest, ByteRange(0, 10), {"primary"})


async def test_a_copy_that_is_known_to_be_bad_is_never_read(
    client: httpx.AsyncClient, parts: Parts, clean: str
) -> None:
    flip(parts.file("primary", DIGEST))
    await parts.reading.damaged(DIGEST, parts.store, "the bytes are others")
    await until_known(lambda: gives_the_right_bytes(client, clean))
    mirror = parts.places.get("mirror")
    assert mirror is not None
    await parts.reading.damaged(DIGEST, mirror, "the bytes are others")
    await until_known(lambda: is_corrupt(client, clean))
    assert_refused(await client.get(f"/data/{clean}"), 502, "blob_corrupt")


async def gives_the_right_bytes(client: httpx.AsyncClient, object_id: str) -> bool:
    return (await client.get(f"/data/{object_id}")).content == CONTENT


async def is_corrupt(client: httpx.AsyncClient, object_id: str) -> bool:
    return (await client.get(f"/data/{object_id}")).status_code == 502


async def test_a_further_place_that_is_ill_is_named_and_the_service_is_ready(
    client: httpx.AsyncClient, parts: Parts, clean: str, tmp_path: Path
) -> None:
    body = (await client.get("/readyz")).json()
    assert body["parts"].keys() >= {"storage", "storage mirror", "storage cold"}
    assert set(body["parts"].values()) == {"ok"}
    (tmp_path / "mirror").rename(tmp_path / "away")
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["parts"]["storage mirror"].startswith("storage_unavailable: ")
    assert (await client.put("/upload/b.bin", content=b"b")).status_code == 201
    assert (await client.get(f"/data/{clean}")).content == CONTENT


async def test_a_service_starts_while_a_further_place_is_away(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "mirror").touch()  # no directory: nothing can be written below it
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        kept = (await client.put("/upload/a.bin", content=CONTENT)).raise_for_status().json()
        assert (await client.get(f"/data/{kept['id']}")).content == CONTENT
        faults = (await client.get("/readyz")).json()["parts"]
        assert faults["storage mirror"].startswith("storage_unavailable: ")
        (tmp_path / "mirror").unlink()
        assert (await client.get("/readyz")).json()["parts"]["storage mirror"] == "ok"


async def test_a_place_under_another_name_takes_over(settings: Settings, tmp_path: Path) -> None:
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        kept = (await client.put("/upload/a.bin", content=CONTENT)).raise_for_status().json()
    moved = replace(
        settings,
        storage_name="new",
        storage_url=(tmp_path / "new").as_uri(),
        places=(f"primary={settings.storage_url}",),
        replicas="",
    )
    async with running(moved) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        assert (await client.get(f"/data/{kept['id']}")).content == CONTENT
        await client.put("/upload/b.bin", content=b"b")
    assert (tmp_path / "new" / "sha256").exists()


async def test_checksums_are_worked_out_from_a_copy_that_is_good(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    flip(parts.file("primary", digest))
    await Checksumming(parts.database, parts.store, ["md5"], parts.reading).work_out(digest)
    async with parts.database.connection() as connection:
        assert (await blobs.checksums(connection, [digest]))[digest] == {"md5": hashlib.md5(CONTENT).hexdigest()}
    assert (await parts.copies(digest))["primary"].damage == "the bytes are others"
