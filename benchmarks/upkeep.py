"""What workers do so that nothing rots: every copy read again, and storage compared with the database."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from benchmarks.load import random_file
from benchmarks.measuring import AtLeast, AtMost, Row, compared, limited, taking_turns
from benchmarks.memory import Peak, ours_of, resident
from benchmarks.programs import run
from benchmarks.scale import MIB, Scale
from benchmarks.servers import Server, service, workplace
from benchmarks.slow import ninety_ninth, stored
from drs_service.blobs.keys import key_for
from drs_service.db.embedded import url_beside
from drs_service.domain.digest import Digest
from drs_service.jobs.kinds import Job, SweepOrphans, VerifyBlob, enqueue_all, kind_of

FILES = 8
UNHINDERED = {"DRS_VERIFY_BYTES_PER_SECOND": "100000000000"}
LOOK = 0.01  # seconds
ORPHANS_IN = 1000  # one of so many blobs has no row
BATCH = 10_000
LONG = 600.0  # seconds
LEFT = "SELECT count(*) FROM pgqueuer WHERE entrypoint = ANY($1)"

# A blob and its copy each, as uploads leave them; objects are no matter of a sweep.
ROWS = """
    WITH known AS (INSERT INTO blobs (digest, size) SELECT unnest($1::bytea[]), 1 RETURNING digest)
    INSERT INTO replicas (digest, place, key) SELECT digest, 'primary', 'sha256/' || encode(digest, 'hex') FROM known
"""


def verify(scale: Scale) -> list[Row]:
    """Every copy read again by the worker; and what readers notice while it does so at its usual pace."""
    with workplace() as place:
        with service(place / "unhindered", settings=UNHINDERED) as ours:
            digests, paths = filled(place, ours, scale)
            size = sum(path.stat().st_size for path in paths)

            def by_hand() -> float:
                began = time.perf_counter()
                run("openssl", "dgst", "-sha256", *paths)
                return size / MIB / (time.perf_counter() - began)

            def by_worker() -> float:
                return size / MIB / asyncio.run(verified(place / "unhindered", digests))

            rates = taking_turns(scale.rounds, {"openssl": by_hand, "ours": by_worker}, warm_up=True)
        idle, busy = [], []
        with service(place / "paced") as ours:
            digests, _ = filled(place, ours, scale)
            object_id = stored(place / "small", ours)
            urls = [f"{ours.url}/ga4gh/drs/v1/objects/{object_id}", f"{ours.url}/data/{object_id}"]
            ninety_ninth(urls, seconds=1)
            for _ in range(scale.rounds):
                idle.append(ninety_ninth(urls, seconds=scale.slow_seconds))
                busy.append(asyncio.run(meanwhile(place / "paced", digests, urls, scale.slow_seconds)))
    what = f"{FILES} files of {scale.shared_size // MIB} MiB read again by a worker"
    return [
        compared(
            f"{what}, one worker",
            ours=rates["ours"],
            baseline=rates["openssl"],
            unit="MiB/s",
            target=AtLeast(bound=0.8),
        ),
        compared(f"{what}: p99 of GET, against idle", ours=busy, baseline=idle, unit="µs", target=AtMost(bound=1.5)),
    ]


def filled(place: Path, ours: Server, scale: Scale) -> tuple[list[Digest], list[Path]]:
    """What is in the store, and the files of which it is made."""
    digests, paths = [], []
    for number in range(FILES):
        source = random_file(place / f"source{number}", scale.shared_size)
        run("curl", "-sS", "--fail", "-T", source, "--output", "/dev/null", f"{ours.url}/upload/")
        digests.append(Digest(hashlib.sha256(source.read_bytes()).digest()))
        paths.append(source)
    return digests, paths


async def verified(directory: Path, digests: Sequence[Digest]) -> float:
    """Seconds until each has been read."""
    connection = await connected_to(directory)
    await connection.execute("UPDATE replicas SET verified_at = 'epoch'")
    await connection.close()
    began = time.perf_counter()
    await worked_off(directory, [VerifyBlob(digest.hex, "primary") for digest in digests])
    return time.perf_counter() - began


async def meanwhile(directory: Path, digests: Sequence[Digest], urls: list[str], seconds: float) -> float:
    reading = asyncio.create_task(verified(directory, digests))
    taken = await asyncio.to_thread(ninety_ninth, urls, seconds=seconds)
    await reading
    return taken


async def worked_off(directory: Path, jobs: Sequence[Job]) -> None:
    """Return when the worker of the service on this directory has done them."""
    connection = await connected_to(directory)
    try:
        await enqueue_all(connection, jobs)
        async with asyncio.timeout(LONG):
            while await connection.fetchval(LEFT, [kind_of(job) for job in jobs]):
                await asyncio.sleep(LOOK)
    finally:
        await connection.close()


async def connected_to(directory: Path) -> asyncpg.Connection:
    """To the database of the service on this directory."""
    url = url_beside(directory / "postgres")
    assert url is not None
    return await asyncpg.connect(url)


def sweep(scale: Scale) -> list[Row]:
    """Storage compared with the database: the memory it takes, with what has no row found and removed."""
    count = scale.many_objects
    with workplace() as place, service(place / "data") as ours:
        worker = [pid for pid in ours_of(ours.pid) if b"\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        orphans = asyncio.run(written(place / "data", count))
        peaks, paces = [], []
        with Peak(lambda: resident(worker)) as peak:
            began = time.perf_counter()
            asyncio.run(worked_off(place / "data", [SweepOrphans(before=datetime.now(UTC))]))
            paces.append(count / (time.perf_counter() - began))
        peaks.append(peak.highest)
        if left := [path for path in orphans if path.exists()]:
            raise RuntimeError(f"{len(left)} of {len(orphans)} orphans were not found.")
    return [
        limited(f"sweep of {count:,} blobs: memory of the worker", peaks, unit="MiB", target=AtMost(bound=300)),
        limited(f"sweep of {count:,} blobs", paces, unit="/s", target=AtLeast(bound=1000)),
    ]


async def written(directory: Path, count: int) -> list[Path]:
    """The files that have no row, among so many that have one."""
    connection = await connected_to(directory)
    orphans = []
    try:
        await connection.execute("SET session_replication_role = replica")  # what triggers would check holds
        for first in range(0, count, BATCH):
            digests = [Digest(hashlib.sha256(b"%d" % number).digest()) for number in range(first, first + BATCH)]
            paths = [directory / "store" / key_for(digest) for digest in digests]
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"a")
            orphans += paths[::ORPHANS_IN]
            known = [digest.raw for number, digest in enumerate(digests) if number % ORPHANS_IN]
            await connection.execute(ROWS, known)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return orphans
