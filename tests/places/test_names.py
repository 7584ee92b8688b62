"""A place says by which name it goes: one that is taken for another is not used."""

import asyncio
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from drs_service.errors import StoreMismatch
from drs_service.settings import Settings
from tests.places.conftest import Parts, is_good, opened
from tests.support.serve import COMMAND, PATIENCE

CONTENT = b"kept in two places"


def swapped(settings: Settings) -> Settings:
    """The URLs of the primary and of the mirror have changed places."""
    mirror, cold = settings.places
    return replace(settings, storage_url=mirror.partition("=")[2], places=(f"mirror={settings.storage_url}", cold))


def worker(settings: Settings, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """One that ends by itself."""
    assert settings.database_url is not None and settings.storage_url is not None
    own = {
        "DATABASE_URL": settings.database_url.reveal(),
        "DRS_STORAGE_URL": settings.storage_url,
        "DRS_PLACES": " ".join(settings.places),
    }
    return subprocess.run(
        [*COMMAND, "worker"], env={**env, **own}, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and "staging" not in path.parts)


async def test_places_that_were_swapped_are_refused_until_they_are_told_their_names(
    parts: Parts, settings: Settings, own_environment: dict[str, str], tmp_path: Path
) -> None:
    digest = await parts.keep(CONTENT)
    before = files(tmp_path)
    refused = await asyncio.to_thread(worker, swapped(settings), own_environment)
    assert refused.returncode == 78
    assert "The settings call this storage primary, and it says that it is mirror" in refused.stderr
    assert files(tmp_path) == before
    # The directories were swapped as well: they are what they are called by now.
    for one in ("store", "mirror"):
        (tmp_path / one).rename(tmp_path / f"{one} aside")
    (tmp_path / "store aside").rename(tmp_path / "mirror")
    (tmp_path / "mirror aside").rename(tmp_path / "store")
    async with opened(swapped(settings), tmp_path) as again:
        assert is_good(tmp_path / "mirror" / before[-1].relative_to(tmp_path / "store"), digest)
        assert (await again.copies(digest)).keys() == {"primary"}


async def test_one_storage_is_not_two_places(settings: Settings, tmp_path: Path) -> None:
    twice = replace(settings, places=(f"mirror={settings.storage_url}", settings.places[1]))
    with pytest.raises(StoreMismatch, match="call this storage mirror, and it says that it is primary"):
        async with opened(twice, tmp_path):
            pass


async def test_a_place_from_before_takes_its_name_and_can_be_given_another(
    parts: Parts, settings: Settings, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "mirror" / "place")
    async with opened(settings, tmp_path):
        assert [path.name for path in (tmp_path / "mirror" / "place").iterdir()] == ["mirror"]
    renamed = replace(settings, places=(settings.places[0].replace("mirror=", "third="),), replicas="third")
    with pytest.raises(StoreMismatch, match="remove place/mirror from it"):
        async with opened(renamed, tmp_path):
            pass
    (tmp_path / "mirror" / "place" / "mirror").unlink()
    async with opened(renamed, tmp_path) as again:
        digest = await again.keep(CONTENT)
        await again.replicating.replicate(digest, "third")
    assert is_good(tmp_path / "mirror" / parts.file("mirror", digest).relative_to(tmp_path / "mirror"), digest)


async def test_a_place_that_cannot_note_its_name_is_used_all_the_same(
    parts: Parts, settings: Settings, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "mirror" / "place")
    (tmp_path / "mirror" / "place").touch()  # no directory: nothing can be written below it
    async with opened(settings, tmp_path) as again:
        await again.replicating.replicate(await again.keep(CONTENT), "mirror")
