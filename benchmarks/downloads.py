"""`GET /data/{id}` against nginx and sendfile, from the page cache."""

from functools import partial
from pathlib import Path

import msgspec

from benchmarks.load import fetch, random_file
from benchmarks.measuring import AtLeast, Row, compared, taking_turns
from benchmarks.programs import run
from benchmarks.scale import MIB, Scale
from benchmarks.servers import nginx, service, workplace

CLIENTS = 64


def downloads(scale: Scale) -> list[Row]:
    """MB/s to one client that fetches a large file, and to many that fetch a smaller one at once."""
    with workplace() as place, nginx(place / "nginx") as baseline, service(place / "data") as ours:
        rows = []
        for clients, size, target in ((1, scale.file_size, 1.0), (CLIENTS, scale.shared_size, 0.8)):
            # Each server has a copy of its own, which it reads through the page cache.
            file = random_file(baseline.files / str(clients), size)
            from_nginx = partial(rate, f"{baseline.url}/{clients}", clients, size)
            from_ours = partial(rate, uploaded(file, ours.url), clients, size)
            rates = taking_turns(scale.rounds, {"nginx": from_nginx, "ours": from_ours}, warm_up=True)
            what = f"download, {clients} clients, {size // MIB} MiB each"
            rows.append(
                compared(what, ours=rates["ours"], baseline=rates["nginx"], unit="MB/s", target=AtLeast(bound=target))
            )
    return rows


def rate(url: str, clients: int, size: int) -> float:
    return clients * size / fetch(url, connections=clients) / 1e6


class Method(msgspec.Struct):
    access_url: dict[str, str]


class Stored(msgspec.Struct):
    access_methods: list[Method]


def uploaded(file: Path, url: str) -> str:
    """Send a file; returns where its bytes can be fetched."""
    answer = run("curl", "-sS", "--fail", "-T", file, f"{url}/upload/")
    return msgspec.json.decode(answer, type=Stored).access_methods[0].access_url["url"]
