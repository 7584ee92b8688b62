"""What we promised to keep does not rest on files that are not ours."""

import secrets
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from drs_service.settings import Settings
from tests.places.adoption import Adoption
from tests.places.conftest import Parts, is_good
from tests.places.test_draining import only_there
from tests.support.server import running
from tests.support.tus import VERSION, metadata

CONTENT = secrets.token_bytes(100_000)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    return root


@pytest.fixture
def settings(settings: Settings, archive: Path) -> Settings:
    return replace(settings, places=(*settings.places, f"archive={archive.as_uri()}?external=true"), replicas="")


@pytest.fixture
def adoption(parts: Parts, settings: Settings, archive: Path) -> Adoption:
    return Adoption(parts, settings, str(archive))


async def test_a_file_of_others_spares_nobody_the_upload(adoption: Adoption, archive: Path) -> None:
    (archive / "same").write_bytes(CONTENT)
    await adoption.run()
    blob = (await adoption.objects())["same"].blob
    assert blob is not None
    said = metadata({"filename": "mine", "sha-256": blob.digest.hex})
    async with running(adoption.settings) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        checksums = [{"type": "sha-256", "checksum": blob.digest.hex}]
        answer = await client.post("/ga4gh/drs/v1/objects/register", json={"candidates": [{"checksums": checksums}]})
        assert answer.status_code == 201, answer.text  # it says so itself
        answer = await client.post("/tus", headers={"Upload-Length": str(len(CONTENT)), **said, **VERSION})
        assert (answer.status_code, "content-location" in answer.headers) == (201, False)
        sent = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream", **VERSION}
        upload = httpx.URL(answer.headers["location"]).path
        answer = await client.patch(upload, content=CONTENT, headers=sent)
        assert answer.status_code == 204, answer.text
        assert is_good(adoption.parts.file("primary", blob.digest), blob.digest)
        answer = await client.post("/tus", headers={"Upload-Length": str(len(CONTENT)), **said, **VERSION})
        assert (
            "content-location"
            in (await client.head(httpx.URL(answer.headers["location"]).path, headers=VERSION)).headers
        )


async def test_a_place_is_not_emptied_because_a_file_of_others_has_the_same_bytes(
    adoption: Adoption, archive: Path
) -> None:
    parts = adoption.parts
    digest = await parts.keep(CONTENT)
    await parts.replicating.bring(digest, "mirror")
    await only_there(parts, digest)
    (archive / "same").write_bytes(CONTENT)
    await adoption.run()
    await parts.draining.begin("mirror")
    await parts.draining.move(digest, "mirror")
    assert (await parts.copies(digest)).keys() == {"primary", "archive"}
    assert is_good(parts.file("primary", digest), digest)
    assert not parts.file("mirror", digest).exists()
