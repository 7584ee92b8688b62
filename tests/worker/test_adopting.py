"""`drs-service adopt` as an operator types it, and workers that die of it."""

import asyncio
import json
import signal
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from drs_service.settings import Settings
from tests.api.traces import query, until_known
from tests.support.serve import COMMAND
from tests.worker.test_operating import said
from tests.worker.test_worker import worker

FILES = 1500
ADOPTED = "SELECT count(*) AS n FROM adopted_files WHERE state = 'adopted'"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    return root


@pytest.fixture
def settings(settings: Settings, archive: Path) -> Settings:
    return replace(settings, places=(f"archive={archive.as_uri()}?external=true",))


async def test_what_is_killed_goes_on_and_makes_nothing_twice(
    settings: Settings, own_environment: dict[str, str], archive: Path
) -> None:
    for number in range(FILES):
        (archive / f"{number}.txt").write_bytes(b"%d" % number)
    command = [*COMMAND, "adopt", str(archive)]
    with worker(settings, own_environment) as process:
        lister = subprocess.Popen(command, env=own_environment | settings.to_env(), stderr=subprocess.DEVNULL)
        while (await query(settings, ADOPTED))[0]["n"] == 0:
            await asyncio.sleep(0.01)
        lister.send_signal(signal.SIGKILL)
        lister.wait()
        process.kill()
        process.wait()
    assert 0 < (await query(settings, ADOPTED))[0]["n"] < FILES
    await query(settings, "UPDATE pgqueuer SET heartbeat = now() - interval '1 minute' RETURNING id")
    with worker(settings, own_environment):
        done = await asyncio.to_thread(said, settings, own_environment, "adopt", str(archive), "--watch", "--json")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["state"] for one in told} == {"adopted"}
    assert len({one["path"] for one in told}) == len({one["id"] for one in told}) == FILES
    [count] = await query(
        settings, "SELECT (SELECT count(*) FROM objects) AS objects, count(*) AS copies FROM replicas"
    )
    assert tuple(count) == (FILES, FILES)


async def any_failed(settings: Settings) -> bool:
    return bool(await query(settings, "SELECT FROM adopted_files WHERE state = 'failed'"))


async def test_what_failed_is_told_and_ends_with_1(
    settings: Settings, own_environment: dict[str, str], archive: Path
) -> None:
    (archive / "gone").write_bytes(b"gone")
    done = said(settings, own_environment, "adopt", str(archive))
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 files found, 4 bytes: 1 to be adopted" in done.stderr
    (archive / "gone").unlink()
    (archive / "other").touch()
    with worker(settings, own_environment):
        await until_known(partial(any_failed, settings))
    done = said(settings, own_environment, "adopt", str(archive), "--status")
    assert (done.returncode, "gone: The file has vanished." in done.stderr) == (1, True)
