"""How fast files that are there already become objects, and that memory does not grow with their number."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from benchmarks.measuring import AtLeast, AtMost, Row, limited
from benchmarks.memory import resident
from benchmarks.scale import KIB, Scale
from benchmarks.servers import workplace
from drs_service.db.embedded import DATABASE, EmbeddedPostgres
from drs_service.db.migrate import migrate

SIZE = 4 * KIB
IN_DIRECTORY = 1000
INTERVAL = 0.1  # seconds between looks
GROWTH = AtMost(bound=16)  # MiB
COMMAND = [sys.executable, "-P", "-m", "drs_service"]
COUNT = "SELECT count(*) FROM objects"


def adopt(scale: Scale) -> list[Row]:
    """Small files in a local directory: found by the command, then read and recorded by one worker."""
    with workplace() as place:
        archive = place / "archive"
        fill(archive, scale.adopted_files)
        postgres = EmbeddedPostgres(place / "postgres")
        postgres.start()
        try:
            postgres.create_database(DATABASE)
            url = postgres.url(DATABASE)
            migrate(url)
            settings = {
                "DATABASE_URL": url,
                "DRS_STORAGE_URL": (place / "store").as_uri(),
                "DRS_PLACES": f"archive={archive.as_uri()}?external=true",
                "DRS_LOG_LEVEL": "error",
            }
            found, lister = listed(archive, os.environ | settings)
            made, worker = asyncio.run(worked(url, scale.adopted_files, os.environ | settings))
        finally:
            postgres.stop()
    what = f"{scale.adopted_files:,} files of {SIZE // KIB} KiB"
    return [
        limited(f"{what} found", [scale.adopted_files / found], unit="/s", target=AtLeast(bound=2000)),
        limited(f"{what} adopted, one worker", [made], unit="/s", target=AtLeast(bound=500)),
        limited("memory of the command, second half", [growth(lister)], unit="MiB more", target=GROWTH),
        limited("memory of the worker, second half", [growth(worker)], unit="MiB more", target=GROWTH),
    ]


def fill(archive: Path, count: int) -> None:
    for number in range(count):
        path = archive / str(number // IN_DIRECTORY) / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(16) * (SIZE // 16))


def listed(archive: Path, env: Mapping[str, str]) -> tuple[float, list[float]]:
    """Seconds, and the memory on the way in MiB."""
    began = time.perf_counter()
    with subprocess.Popen([*COMMAND, "adopt", str(archive)], env=env, stderr=subprocess.DEVNULL) as process:
        seen = [resident([process.pid])]
        while process.poll() is None:
            time.sleep(INTERVAL)
            if process.poll() is None:
                seen.append(resident([process.pid]))
    assert process.returncode == 0
    return time.perf_counter() - began, seen


async def worked(url: str, count: int, env: Mapping[str, str]) -> tuple[float, list[float]]:
    """Files a second, from the first object to the last, and the memory on the way in MiB."""
    connection = await asyncpg.connect(url)
    process = subprocess.Popen([*COMMAND, "worker"], env=env)
    try:
        while not (first := await connection.fetchval(COUNT)):
            await asyncio.sleep(INTERVAL)
        began = time.perf_counter()
        seen = []
        while await connection.fetchval(COUNT) < count:
            seen.append(resident([process.pid]))
            await asyncio.sleep(1)
        return (count - first) / (time.perf_counter() - began), seen
    finally:
        process.terminate()
        process.wait()
        await connection.close()


def growth(seen: list[float]) -> float:
    """How much more it was at the most in the second half than in the first."""
    middle = len(seen) // 2
    return max(0.0, max(seen[middle:], default=0.0) - max(seen[:middle], default=0.0))
