"""A thousand senders that hardly send: what they cost, and whether anybody else notices."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import body_left, connected, head, request
from benchmarks.measuring import AtMost, Row, compared, limited
from benchmarks.memory import Peak, ours_of, resident
from benchmarks.programs import run
from benchmarks.s3 import settings_of
from benchmarks.scale import KIB, Scale
from benchmarks.servers import PATIENCE, Server, first_line, service, workplace
from tests.support.s3 import S3Server, missing

SMALL = 4 * KIB
MOST = 300  # MiB


def slow(scale: Scale) -> list[Row]:
    """Many send a few bytes a second, by PUT and by tus: p99 of other requests meanwhile, and the memory it takes."""
    with workplace() as place:
        rows = measured(scale, place, "")
        if not missing():
            with S3Server.started(place / "s3") as server:
                rows += measured(scale, place, " to S3", settings_of(server))
    return rows


def measured(scale: Scale, place: Path, where: str, settings: Mapping[str, str] | None = None) -> list[Row]:
    idle, busy, peaks = [], [], []
    with service(place / f"data{where.replace(' ', '-')}", settings=settings) as ours:
        object_id = stored(place / "small", ours)
        urls = [f"{ours.url}/ga4gh/drs/v1/objects/{object_id}", f"{ours.url}/data/{object_id}"]
        web = [pid for pid in ours_of(ours.pid) if b"\0web\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        ninety_ninth(urls, seconds=1)
        for _ in range(scale.rounds):
            idle.append(ninety_ninth(urls, seconds=scale.slow_seconds))
            with Peak(lambda: resident(web)) as peak, sending_slowly(ours, scale.slow_senders):
                busy.append(ninety_ninth(urls, seconds=scale.slow_seconds))
            peaks.append(peak.highest)
    what = f"{scale.slow_senders:,} slow uploads{where}"
    return [
        compared(f"{what}: p99 of GET, against idle", ours=busy, baseline=idle, unit="µs", target=AtMost(bound=2.0)),
        limited(f"{what}: memory of the web process", peaks, unit="MiB", target=AtMost(bound=MOST)),
    ]


def stored(path: Path, server: Server) -> str:
    """The id of a small object."""
    path.write_bytes(bytes(SMALL))
    said = run("curl", "-sS", "--fail", "-T", path, "--output", "/dev/null", "-D", "-", f"{server.url}/upload/")
    [location] = [line.split()[1] for line in said.splitlines() if line.lower().startswith("location:")]
    return location.rpartition("/")[2]


def ninety_ninth(urls: list[str], *, seconds: float) -> float:
    """Microseconds that one in a hundred requests of one client takes longer than: one after the other, url by url."""
    taken: list[float] = []
    asked = [request("GET", url) for url in urls]
    with connected(urls[0]) as connection:
        over = time.perf_counter() + seconds
        while (began := time.perf_counter()) < over:
            connection.sendall(asked[len(taken) % len(asked)])
            left = body_left(head(connection))
            while left:
                left -= len(connection.recv(left))
            taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) * 99 // 100] * 1e6


@contextmanager
def sending_slowly(server: Server, senders: int) -> Iterator[None]:
    """For the length of the block so many uploads are under way; then all are ended, and have to have gone well."""
    command = [sys.executable, "-m", "benchmarks.trickle", server.url, str(senders)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        first_line(process)
        try:
            yield
        finally:
            _, _ = process.communicate(timeout=PATIENCE)  # the end of its input ends it
        if process.returncode != 0:
            raise RuntimeError("Slow uploads failed.")
