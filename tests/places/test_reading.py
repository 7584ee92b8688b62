"""Readers get their bytes from whichever place has them."""

import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from drs_service.domain.digest import Digest
from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.traces import until_known
from tests.places.conftest import Parts, flip, is_good
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
    await until_known(lambda: is_settled(parts))
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
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url) as client:
        kept = (await client.put("/upload/a.bin", content=CONTENT)).raise_for_status().json()
        assert (await client.get(f"/data/{kept['id']}")).content == CONTENT
        faults = (await client.get("/readyz")).json()["parts"]
        assert faults["storage mirror"].startswith("storage_unavailable: ")
        (tmp_path / "mirror").unlink()
        assert (await client.get("/readyz")).json()["parts"]["storage mirror"] == "ok"


async def test_a_place_under_another_name_takes_over(settings: Settings, tmp_path: Path) -> None:
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url) as client:
        kept = (await client.put("/upload/a.bin", content=CONTENT)).raise_for_status().json()
    moved = replace(
        settings,
        storage_name="new",
        storage_url=(tmp_path / "new").as_uri(),
        places=(f"primary={settings.storage_url}",),
        replicas="",
    )
    async with running(moved) as service, httpx.AsyncClient(base_url=service.url) as client:
        assert (await client.get(f"/data/{kept['id']}")).content == CONTENT
        await client.put("/upload/b.bin", content=b"b")
    assert (tmp_path / "new" / "sha256").exists()
    shutil.rmtree(tmp_path / "store")
    assert Digest(DIGEST.raw) == DIGEST
