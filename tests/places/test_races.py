"""Copying, deleting and dying at the worst moment: every row has its bytes, and nothing else stays."""

import asyncio
import secrets
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drs_service.blobs.keys import key_for
from drs_service.blobs.local import LocalDriver
from drs_service.blobs.store import BlobStore
from drs_service.db import blobs
from drs_service.domain.digest import Digest
from drs_service.domain.replication import parse_rules
from drs_service.settings import Settings
from drs_service.usecases.places import Places
from drs_service.usecases.reading import MISSING, Reading
from drs_service.usecases.replicating import Replicating
from drs_service.usecases.sweep import Sweep
from tests.places.conftest import Parts, is_good, opened
from tests.places.test_replicating import eventually_copied, let_go
from tests.support.deadline import until
from tests.support.faults import Slow
from tests.support.serve import PATIENCE
from tests.worker.test_worker import worker

ROUNDS = 300
GAP = 0.003
AT_ONCE = 15
BIG = 200_000_000


async def test_a_deletion_while_a_copy_is_made_leaves_all_or_nothing(parts: Parts, tmp_path: Path) -> None:
    slow = BlobStore(Slow(LocalDriver(tmp_path / "mirror"), GAP), place="mirror", max_bytes=1024**2)
    places = Places(parts.database, parts.store, [slow])
    replicating = Replicating(parts.database, places, Reading(parts.database, places), parse_rules("mirror"))
    sweep = Sweep(parts.database, parts.store, places)
    outcomes = {True: 0, False: 0}

    async def race(number: int) -> None:
        content = secrets.token_bytes(100)
        digest = await parts.keep(content)
        copying = [asyncio.create_task(replicating.replicate(digest, "mirror")) for _ in range(2)]
        await asyncio.wait(copying, timeout=GAP * (number % AT_ONCE))
        await let_go(parts, digest)
        await sweep.settle(digest)
        again = number % 3 == 0
        if again:
            await parts.keep(content)
        await asyncio.gather(*copying, return_exceptions=True)
        copies = await parts.copies(digest)
        outcomes["mirror" in copies] += 1
        assert ("primary" in copies) is again
        for place in ("primary", "mirror"):
            path = parts.file(place, digest)
            assert path.exists() is (place in copies), (number, place, copies)
            assert not path.exists() or is_good(path, digest)

    for first in range(0, ROUNDS, AT_ONCE):
        await asyncio.gather(*map(race, range(first, first + AT_ONCE)))
    assert outcomes[True] + outcomes[False] == ROUNDS
    await slow.close()


async def test_a_worker_killed_in_the_middle_of_a_copy_harms_nothing(
    settings: Settings, own_environment: dict[str, str], tmp_path: Path
) -> None:
    settings = replace(settings, max_upload_bytes=1024**3)
    async with opened(settings, tmp_path) as parts:
        digest = await parts.keep(secrets.token_bytes(BIG))
        with worker(settings, own_environment) as process:
            staging = tmp_path / "mirror" / "staging"
            await until(lambda: any(path.stat().st_size for path in staging.glob("*/*")), within=PATIENCE)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
        assert not (tmp_path / "mirror" / key_for(digest)).exists()
        assert (await parts.copies(digest)).keys() == {"primary"}
        async with parts.database.transaction() as connection:
            # As if the heartbeat had been silent for long.
            await connection.execute("UPDATE pgqueuer SET heartbeat = now() - interval '1 hour'")
        with worker(settings, own_environment):
            await eventually_copied(parts, digest, "mirror")
        assert is_good(parts.file("mirror", digest), digest)
        await parts.sweep.run(before=datetime.now(UTC) - timedelta(hours=1))
        assert not list((tmp_path / "mirror" / "staging").glob("*/*"))


@pytest.mark.parametrize("rounds", [100])
async def test_uploads_and_copies_of_the_same_bytes_do_not_harm_each_other(parts: Parts, rounds: int) -> None:
    async def race(_: int) -> Digest:
        content = secrets.token_bytes(100)
        digest = await parts.keep(content)
        await asyncio.gather(
            parts.replicating.replicate(digest, "mirror"),
            parts.keep(content),
            parts.reading.damaged(digest, parts.store, "it was said"),
            parts.replicating.replicate(digest, "mirror"),
        )
        await parts.replicating.replicate(digest, "primary")
        return digest

    for digest in await asyncio.gather(*map(race, range(rounds))):
        copies = await parts.copies(digest)
        assert copies["primary"].damage is None
        assert is_good(parts.file("primary", digest), digest)
        assert "mirror" not in copies or is_good(parts.file("mirror", digest), digest)


async def test_a_copy_that_was_missing_and_has_just_been_brought_again_is_good(parts: Parts) -> None:
    digest = await parts.keep(b"some")
    path = parts.file("primary", digest)
    path.rename(away := path.with_name("away"))
    async with parts.database.transaction() as connection:
        await blobs.lock(connection, [digest])  # as whoever brings it
        noting = asyncio.create_task(parts.reading.damaged(digest, parts.store, MISSING))
        await asyncio.wait({noting}, timeout=0.5)
        away.rename(path)
    await noting
    assert (await parts.copies(digest))["primary"].damage is None
