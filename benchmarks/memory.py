"""How far the memory of our processes grows while files come in."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

from benchmarks.load import send
from benchmarks.measuring import AtMost, Row, limited
from benchmarks.scale import GIB, MIB, Scale
from benchmarks.servers import service, workplace

CLIENTS = 32
INTERVAL = 0.05  # seconds between looks
LIMIT = AtMost(bound=128)  # MiB


def memory(scale: Scale) -> list[Row]:
    """Growth over the idle service that has received one file, while many upload at once and while one uploads long."""
    return [
        *growth(f"{CLIENTS} clients, {scale.upload_size / MIB:g} MiB each", CLIENTS, scale.upload_size),
        *growth(f"one client, {scale.long_upload_size / GIB:g} GiB", 1, scale.long_upload_size),
    ]


def growth(what: str, clients: int, size: int) -> list[Row]:
    # A service of its own for each: what one load leaves in the allocator would hide what the next one takes.
    with workplace() as place, service(place / "data") as ours:
        send(f"{ours.url}/upload", connections=1, size=16 * MIB)
        pids = ours_of(ours.pid)
        web = [pid for pid in pids if b"\0web\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        idle, idle_web = resident(pids), resident(web)
        with Peak(lambda: resident(pids)) as peak, Peak(lambda: resident(web)) as peak_web:
            send(f"{ours.url}/upload", connections=clients, size=size)
    return [
        limited(f"memory, {what}: all processes", [peak.highest - idle], unit="MiB more", target=LIMIT),
        limited(f"memory, {what}: web process", [peak_web.highest - idle_web], unit="MiB more", target=LIMIT),
    ]


class Peak:
    """The highest value seen during the block."""

    def __init__(self, look: Callable[[], float]) -> None:
        self.highest = look()
        self._look = look
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            self.highest = max(self.highest, self._look())


def ours_of(pid: int) -> list[int]:
    """The process and its descendants, without PostgreSQL."""
    if Path(f"/proc/{pid}/comm").read_text().strip() == "postgres":
        return []
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return [pid, *(one for child in children for one in ours_of(child))]


def resident(pids: list[int]) -> float:
    """MiB in memory."""
    return sum(int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) for pid in pids) / 1024
