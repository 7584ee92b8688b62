"""What an operator sees of jobs and workers, and does with them, from the command line."""

import asyncio
import json
import os
import re
import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from drs_service.jobs.kinds import ChecksumBlob, SweepOrphans, Tidy, enqueue, kind_of
from drs_service.jobs.queue import KINDS
from drs_service.outgoing.http import open_http, open_strangers_http
from drs_service.parts import open_parts, open_places
from drs_service.settings import Settings
from drs_service.usecases.turns import Turns
from tests.api.traces import query
from tests.support.deadline import until
from tests.support.serve import COMMAND, PATIENCE, serving
from tests.worker.test_worker import database, worker
from worker.tasks import tasks

DEAD = """
    WITH job AS (
        INSERT INTO pgqueuer (priority, status, entrypoint, payload, attempts)
        VALUES (0, 'failed', $1, '{}', 4) RETURNING id
    )
    INSERT INTO job_notes (job_id, error_code, error_message, failed_at)
    SELECT id, 'storage_unavailable', 'Nobody answers.', now() FROM job RETURNING job_id
"""


def said(settings: Settings, env: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        env=env | settings.to_env() | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


async def dead(settings: Settings, kind: str = "tidy") -> str:
    [row] = await query(settings, DEAD, kind)
    return str(row["job_id"])


async def left(settings: Settings) -> dict[str, str]:
    return {str(row["id"]): row["status"] for row in await query(settings, "SELECT id, status FROM pgqueuer")}


async def test_the_table_shows_what_there_is(settings: Settings, own_environment: dict[str, str]) -> None:
    assert "There are no jobs." in said(settings, own_environment, "jobs").stdout
    job = await dead(settings)
    async with database(settings) as db, db.transaction() as connection:
        await enqueue(connection, ChecksumBlob("00ff"))
    shown = said(settings, own_environment, "jobs").stdout
    assert "storage_unavailable: Nobody answers." in shown
    assert "00ff" in shown
    assert "No worker works." in shown
    only = said(settings, own_environment, "jobs", "--state", "dead").stdout
    assert job in only
    assert "00ff" not in only
    rows = [json.loads(line) for line in said(settings, own_environment, "jobs", "--json").stdout.splitlines()]
    assert [(row["kind"], row["state"], row["payload"]) for row in rows] == [
        ("tidy", "dead", {}),
        ("checksum_blob", "queued", {"type": "checksum_blob", "digest": "00ff"}),
    ]
    assert rows[0]["error"]["code"] == "storage_unavailable"


async def test_a_watch_goes_on_until_it_is_ended(settings: Settings, own_environment: dict[str, str]) -> None:
    await dead(settings)
    env = own_environment | settings.to_env() | {"COLUMNS": "300"}
    watch = subprocess.Popen([*COMMAND, "jobs", "--watch"], env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert watch.stdout is not None
        seen = 0
        while seen < 2:
            line = await asyncio.to_thread(watch.stdout.readline)
            assert line or watch.poll() is None
            seen += "Nobody answers." in line
        watch.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(watch.wait, PATIENCE) == 130
    finally:
        watch.kill()
        watch.wait()
        assert watch.stdout is not None
        watch.stdout.close()


async def test_what_was_given_up_is_done_again_or_forgotten(
    settings: Settings, own_environment: dict[str, str]
) -> None:
    jobs = [await dead(settings) for _ in range(4)]
    assert said(settings, own_environment, "jobs", "requeue", jobs[0]).stdout == f"{jobs[0]} queued\n"
    assert said(settings, own_environment, "jobs", "forget", jobs[1]).stdout == f"{jobs[1]} forgotten\n"
    refused = said(settings, own_environment, "jobs", "forget", jobs[0], jobs[2])
    assert (refused.returncode, refused.stderr) == (78, f"drs-service: No job {jobs[0]} was given up.\n")
    assert await left(settings) == {jobs[0]: "queued", jobs[2]: "failed", jobs[3]: "failed"}
    assert said(settings, own_environment, "jobs", "requeue").returncode == 2
    assert said(settings, own_environment, "jobs", "requeue", "--all").returncode == 0
    assert set((await left(settings)).values()) == {"queued"}
    assert said(settings, own_environment, "jobs", "forget", "--all").stdout == "No job was given up.\n"


async def test_a_worker_of_some_kinds_leaves_the_others(settings: Settings, own_environment: dict[str, str]) -> None:
    async with database(settings) as db, db.transaction() as connection:
        await enqueue(connection, Tidy())
        await enqueue(connection, SweepOrphans())
    with worker(settings, own_environment, "--kinds", "tidy", "--at-once", "1"):
        async with asyncio.timeout(PATIENCE):
            while len(await left(settings)) == 2:
                await asyncio.sleep(0.05)
        [row] = await query(settings, "SELECT entrypoint, status FROM pgqueuer")
        assert tuple(row) == ("sweep_orphans", "queued")
        schedules = await query(settings, "SELECT entrypoint FROM pgqueuer_schedules")
        assert [row["entrypoint"] for row in schedules] == ["schedule_tidy"]


@pytest.mark.parametrize("kinds", ["", "tidy,nothing"])
def test_a_worker_of_no_kind_does_not_start(settings: Settings, own_environment: dict[str, str], kinds: str) -> None:
    assert said(settings, own_environment, "worker", "--kinds", kinds).returncode == 2


async def test_a_check_finds_the_worker_of_this_machine_until_it_ends(
    settings: Settings, own_environment: dict[str, str]
) -> None:
    def check() -> tuple[int, str]:
        done = said(settings, own_environment, "worker", "--check")
        return done.returncode, done.stdout

    assert check() == (1, "No worker works on this machine.\n")
    with worker(settings, own_environment, "--kinds", "tidy") as process:
        await until(lambda: check()[0] == 0)
        assert check()[1] == f"{os.uname().nodename}:{process.pid} works, on tidy\n"
        shown = said(settings, own_environment, "jobs").stdout
        assert f"{os.uname().nodename}:{process.pid}" in shown
        process.terminate()
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0
        assert check()[0] == 1


async def test_a_worker_that_fell_silent_does_not_work(settings: Settings, own_environment: dict[str, str]) -> None:
    silent = "INSERT INTO workers (id, host, pid, kinds, seen_at) VALUES (gen_random_uuid(), $1, 1, '{}', '2026-01-01')"
    await query(settings, silent, os.uname().nodename)
    assert said(settings, own_environment, "worker", "--check").returncode == 1


def test_the_jobs_of_a_service_with_a_database_of_its_own_are_found(
    roomy: Path, own_environment: dict[str, str]
) -> None:
    with serving(roomy / "operated", own_environment) as service:
        shown = said(Settings(), own_environment, "jobs", "--data-dir", str(service.data_dir))
        assert shown.returncode == 0, shown.stderr
        assert "checksum_backlog" in shown.stdout
    gone = said(Settings(), own_environment, "jobs", "--data-dir", str(roomy / "operated"))
    assert gone.returncode == 78


async def test_the_kinds_are_documented_as_they_are(settings: Settings) -> None:
    text = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    found = re.findall(r"^\| `(\w+)` \| .+ \| (\d+) \| (\d+) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    documented = {kind: (int(at_once), int(tries), age, silent) for kind, at_once, tries, age, silent in found}
    assert len(documented) == len(found)
    async with (
        open_parts(settings, name="test") as (db, store),
        open_places(settings, db, store) as places,
        open_strangers_http(also=()) as http,
        open_http() as services,
    ):
        every = tasks(db, places, http, services, Turns(db), settings)
    assert documented == {
        kind_of(kind): (task.at_once, task.attempts, written(task.max_age), written(task.max_silence))
        for kind, task in every.items()
    }
    assert sorted(documented) == KINDS


def written(span: timedelta) -> str:
    if span >= timedelta(days=1):
        return "1 day" if span.days == 1 else f"{span.days} days"
    hours, minutes = divmod(span.seconds // 60, 60)
    return f"{hours} h" if not minutes else f"{minutes} min"
