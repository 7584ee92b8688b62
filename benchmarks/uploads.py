"""`PUT` and forms, against what it takes by hand to have a file received, hashed and durable."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.load import random_file
from benchmarks.measuring import AtLeast, Row, compared, taking_turns
from benchmarks.programs import run
from benchmarks.scale import MIB, Scale
from benchmarks.servers import Nginx, Server, nginx, service, workplace


def uploads(scale: Scale) -> list[Row]:
    """One client sends a large file, as a body and as a form."""
    with workplace() as place, nginx(place / "nginx") as baseline, service(place / "data") as ours:
        source = Source(random_file(place / "source", scale.file_size))
        blobs = place / "data" / "store" / "sha256"

        def form() -> None:
            expect(201, "-F", f"file=@{source.path}", f"{ours.url}/upload")

        rates = taking_turns(
            scale.rounds,
            {
                "by hand": lambda: source.rate(lambda: by_hand(source.path, baseline), kept_in=baseline.files),
                "PUT": lambda: source.rate(lambda: put(source.path, ours), kept_in=blobs),
                "form": lambda: source.rate(form, kept_in=blobs),
            },
        )
    size = f"{scale.file_size // MIB} MiB"
    put_target, form_target = AtLeast(bound=1.0), AtLeast(bound=0.85)
    hand = rates["by hand"]
    return [
        compared(f"PUT, {size}", ours=rates["PUT"], baseline=hand, unit="MB/s", target=put_target),
        compared(f"form, {size}", ours=rates["form"], baseline=hand, unit="MB/s", target=form_target),
    ]


class Source:
    """A file that is another one each time it is sent: the service keeps equal bytes once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = path.stat().st_size
        self._sent = 0

    def rate(self, send: Callable[[], None], *, kept_in: Path) -> float:
        """MB/s of one sending. What it left behind is removed, behind the service's back, outside of the time."""
        self._sent += 1
        with self.path.open("r+b") as file:
            file.write(self._sent.to_bytes(8))
            file.flush()
            os.fsync(file.fileno())
        began = time.perf_counter()
        send()
        seconds = time.perf_counter() - began
        kept = [path for path in kept_in.rglob("*") if path.is_file()]
        if [path.stat().st_size for path in kept] != [self._size]:
            raise RuntimeError("What was sent is not what is kept.")
        kept[0].unlink()
        os.sync()
        return self._size / seconds / 1e6


def by_hand(path: Path, server: Nginx) -> None:
    """Receive, then hash, then sync: what a service does beside receiving, done one after the other."""
    expect(201, "-T", str(path), f"{server.url}/kept")
    run("openssl", "dgst", "-sha256", server.files / "kept")
    run("sync", server.files / "kept")


def put(path: Path, server: Server) -> None:
    expect(201, "-T", str(path), f"{server.url}/upload/")


def expect(status: int, *arguments: str) -> None:
    answered = run("curl", "-sS", "--output", "/dev/null", "--write-out", "%{http_code}", *arguments)
    if answered != str(status):
        raise RuntimeError(f"curl {' '.join(arguments)} was answered {answered}.")
