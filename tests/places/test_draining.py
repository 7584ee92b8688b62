"""A place is emptied without losing anything, whatever else goes on; and the operator sees how it stands."""

import asyncio
import json
import secrets
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from drs_service.db import blobs, drains
from drs_service.domain.digest import Digest
from drs_service.errors import BlobCorrupt, PlaceUnsuitable
from drs_service.settings import Settings
from tests.places.conftest import Parts, flip, is_good, opened
from tests.places.test_replicating import let_go
from tests.places.test_scrubbing import make_due
from tests.support.deadline import until
from tests.support.serve import COMMAND, PATIENCE
from tests.worker.test_worker import worker

CONTENT = secrets.token_bytes(3_000_000)
ROUNDS = 150
AT_ONCE = 15


@pytest.fixture
async def digest(parts: Parts) -> Digest:
    """A blob that is also in the mirror."""
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    return digest


async def only_there(parts: Parts, digest: Digest, place: str = "mirror") -> None:
    """As after the primary has become another place."""
    async with parts.database.transaction() as connection:
        await connection.execute("DELETE FROM replicas WHERE digest = $1 AND place <> $2", digest.raw, place)
    parts.file("primary", digest).unlink()


async def test_what_is_elsewhere_too_goes(parts: Parts, digest: Digest) -> None:
    await parts.draining.begin("mirror")
    for _ in range(2):
        await parts.draining.move(digest, "mirror")
    assert not parts.file("mirror", digest).exists()
    assert is_good(parts.file("primary", digest), digest)
    assert (await parts.copies(digest)).keys() == {"primary"}


async def test_what_is_only_there_comes_to_the_primary_first(parts: Parts, digest: Digest) -> None:
    await only_there(parts, digest)
    await parts.draining.begin("mirror")
    await parts.draining.move(digest, "mirror")
    assert is_good(parts.file("primary", digest), digest)
    assert not parts.file("mirror", digest).exists()
    assert (await parts.copies(digest)).keys() == {"primary"}


async def test_a_new_primary_gets_what_the_old_one_had_though_a_mirror_has_it_too(
    parts: Parts, digest: Digest, settings: Settings, tmp_path: Path
) -> None:
    old = f"primary={settings.storage_url}"
    moved = replace(
        settings, storage_name="new", storage_url=(tmp_path / "new").as_uri(), places=(old, *settings.places)
    )
    async with opened(moved, tmp_path) as after:
        await after.draining.begin("primary")
        await after.draining.move(digest, "primary")
        assert is_good(after.file("new", digest), digest)
        assert (await after.copies(digest)).keys() == {"new", "mirror"}
    # And back again: a primary is not emptied, whatever was said of it before.
    async with opened(settings, tmp_path) as again:
        back = await again.keep(CONTENT)
        await again.draining.take_up("primary", "")
        assert await again.jobs("drain_blob") == 0
        await again.draining.move(back, "primary")
        assert "primary" in await again.copies(back)


async def test_a_copy_that_is_said_to_be_good_and_is_not_does_not_count(parts: Parts, digest: Digest) -> None:
    flip(parts.file("primary", digest))
    await parts.draining.begin("mirror")
    await parts.draining.move(digest, "mirror")
    assert is_good(parts.file("primary", digest), digest)
    assert (await parts.copies(digest)).keys() == {"primary"}


async def test_the_last_copy_stays_though_it_is_bad(parts: Parts, digest: Digest) -> None:
    await only_there(parts, digest)
    flip(parts.file("mirror", digest))
    await parts.draining.begin("mirror")
    with pytest.raises(BlobCorrupt):
        await parts.draining.move(digest, "mirror")
    assert parts.file("mirror", digest).exists()
    assert (await parts.copies(digest)).keys() == {"mirror"}


async def test_nothing_is_written_to_a_place_that_is_being_emptied(parts: Parts) -> None:
    await parts.draining.begin("mirror")
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    assert (await parts.copies(digest)).keys() == {"primary"}
    await parts.draining.end("mirror")
    await parts.replicating.replicate(digest, "mirror")
    assert (await parts.copies(digest)).keys() == {"primary", "mirror"}


async def test_a_copy_that_was_under_way_when_emptying_began_goes_as_well(parts: Parts) -> None:
    digest = await parts.keep(CONTENT)
    async with parts.database.transaction() as connection:
        await blobs.lock(connection, [digest])
        copying = asyncio.create_task(parts.replicating.replicate(digest, "mirror"))
        await until(parts.file("mirror", digest).exists)
        await parts.draining.begin("mirror")
        await parts.draining.take_up("mirror", "")
    await copying
    assert await parts.jobs("drain_blob") == 1
    await parts.draining.move(digest, "mirror")
    assert (await parts.copies(digest)).keys() == {"primary"}


async def test_emptying_ends_when_it_is_taken_back(parts: Parts, digest: Digest) -> None:
    await parts.draining.begin("mirror")
    await parts.draining.end("mirror")
    await parts.draining.move(digest, "mirror")
    assert (await parts.copies(digest)).keys() == {"primary", "mirror"}


@pytest.mark.parametrize("place", ["primary", "nowhere"])
async def test_the_primary_and_what_nobody_knows_are_not_emptied(parts: Parts, place: str) -> None:
    with pytest.raises(PlaceUnsuitable):
        await parts.draining.begin(place)


async def test_two_places_that_are_emptied_do_not_rely_on_each_other(settings: Settings, tmp_path: Path) -> None:
    async with opened(replace(settings, replicas="mirror cold"), tmp_path) as parts:
        digest = await parts.keep(CONTENT)
        for place in ("mirror", "cold"):
            await parts.replicating.replicate(digest, place)
        async with parts.database.transaction() as connection:
            await connection.execute("DELETE FROM replicas WHERE place = 'primary'")
        parts.file("primary", digest).unlink()
        for place in ("mirror", "cold"):
            await parts.draining.begin(place)
        await asyncio.gather(*(parts.draining.move(digest, place) for place in ("mirror", "cold")))
        assert is_good(parts.file("primary", digest), digest)
        assert (await parts.copies(digest)).keys() == {"primary"}


async def test_moving_deleting_and_uploading_at_once_leaves_all_or_nothing(parts: Parts) -> None:
    async with parts.database.transaction() as connection:
        await drains.insert(connection, "cold")

    async def race(number: int) -> None:
        content = secrets.token_bytes(100)
        digest = await parts.keep(content)
        await parts.replicating.bring(digest, "cold")
        if number % 2:
            await only_there(parts, digest, "cold")
        moving = [asyncio.create_task(parts.draining.move(digest, "cold")) for _ in range(2)]
        await asyncio.wait(moving, timeout=0.001 * (number % AT_ONCE))
        again = number % 3 == 0
        if again:
            await parts.keep(content)
        else:
            await let_go(parts, digest)
            await parts.sweep.settle(digest)
        await asyncio.gather(*moving, return_exceptions=True)
        copies = await parts.copies(digest)
        assert ("primary" in copies) is again, (number, copies)
        for place in ("primary", "cold"):
            path = parts.file(place, digest)
            assert path.exists() is (place in copies), (number, place, copies)
            assert not path.exists() or is_good(path, digest)

    for first in range(0, ROUNDS, AT_ONCE):
        await asyncio.gather(*map(race, range(first, first + AT_ONCE)))


async def test_workers_that_are_killed_empty_a_place_in_the_end_while_uploads_go_on(
    settings: Settings, own_environment: dict[str, str], tmp_path: Path
) -> None:
    async with opened(settings, tmp_path) as parts:
        digests = [await parts.keep(secrets.token_bytes(200_000)) for _ in range(30)]
        for number, digest in enumerate(digests):
            await parts.replicating.replicate(digest, "mirror")
            if number % 2:
                await only_there(parts, digest)
        done = run_command(settings, own_environment, "places", "drain", "mirror")
        assert done.stdout == "mirror is being emptied by the workers.\n", done.stderr

        async def left() -> int:
            return sum(["mirror" in await parts.copies(digest) for digest in digests])

        while (now := await left()) > 0:
            with worker(settings, own_environment) as process:
                async with asyncio.timeout(PATIENCE):
                    while await left() > max(now - 12, 0):
                        digests.append(await parts.keep(secrets.token_bytes(1000)))
                process.send_signal(signal.SIGKILL)
            async with parts.database.transaction() as connection:
                # As if the heartbeat had been silent for long.
                await connection.execute("UPDATE pgqueuer SET heartbeat = now() - interval '1 hour'")
        for digest in digests:
            assert is_good(parts.file("primary", digest), digest)
        assert not [path for path in (tmp_path / "mirror" / "sha256").rglob("*") if path.is_file()]
        [mirror] = [one for one in status(settings, own_environment) if one["place"] == "mirror"]
        assert (mirror["state"], mirror["copies"]) == ("drained", 0)


async def test_the_operator_sees_how_it_stands(
    parts: Parts, digest: Digest, settings: Settings, own_environment: dict[str, str], tmp_path: Path
) -> None:
    await parts.keep(b"not copied yet")
    await parts.reading.damaged(digest, parts.store, "it was seen")
    await make_due(parts)
    (tmp_path / "cold").rename(tmp_path / "away")
    (tmp_path / "cold").touch()
    primary, mirror, cold = status(settings, own_environment)
    assert (primary["place"], primary["state"], primary["copies"], primary["damaged"]) == ("primary", "ok", 2, 1)
    assert (mirror["place"], mirror["copies"], mirror["bytes"], mirror["missing"]) == ("mirror", 1, len(CONTENT), 1)
    assert str(cold["state"]).startswith("storage_unavailable: ")
    assert str(tmp_path / "cold") in str(cold["state"])
    assert str(mirror["oldest_verification"])[:2] == "20"
    table = run_command(settings, own_environment, "places", "status").stdout
    assert "OLDEST VERIFICATION" in table
    assert f"\ncold: {cold['state']}\n" in table
    assert "60 days ago" in table
    unknown = replace(settings, places=(), replicas="")
    assert [one["state"] for one in status(unknown, own_environment)] == ["ok", "not in the settings"]
    assert run_command(settings, own_environment, "places", "drain", "primary").returncode == 78


async def test_a_place_is_taken_into_use(
    parts: Parts, digest: Digest, settings: Settings, own_environment: dict[str, str], tmp_path: Path
) -> None:
    """Before anything runs with the new settings."""
    assert await parts.copies(digest)
    new = replace(
        settings,
        places=(*settings.places, f"new={(tmp_path / 'new').as_uri()}", f"broken={(tmp_path / 'file').as_uri()}"),
        replicas="mirror new",
    )
    (tmp_path / "file").touch()
    await parts.draining.begin("mirror")
    for name in ("new", "mirror", "new"):
        done = run_command(new, own_environment, "places", "add", name)
        said = f"{name} can be used: ok. Workers with these settings copy {int(name == 'new')} files to it.\n"
        assert (done.returncode, done.stdout) == (0, said), done.stderr
    assert await parts.jobs("replica_backlog") == 1
    async with parts.database.connection() as connection:
        assert not await drains.select(connection)
    for name, why in (("broken", "File exists"), ("unheard-of", "no place unheard-of in the settings")):
        done = run_command(new, own_environment, "places", "add", name)
        assert (done.returncode != 0, done.stdout) == (True, "")
        assert why in done.stderr and "Traceback" not in done.stderr


def run_command(settings: Settings, env: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        env=env | settings.to_env() | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def status(settings: Settings, env: dict[str, str]) -> list[dict[str, object]]:
    done = run_command(settings, env, "places", "status", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
