"""`drs-service serve` as its users start it: a process of its own, with children of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

COMMAND = [sys.executable, "-P", "-m", "drs_service"]
PATIENCE = 30.0


class Serve:
    """A running service. Its log is beside the data directory."""

    def __init__(self, data_dir: Path, env: dict[str, str], *arguments: str) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--data-dir", str(data_dir), "--port", "0", *arguments],
                env=env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("DRS service on "), self.log.read_text()
        self.url = line.split()[-1]
        self.family = family(self.process.pid)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE)

    def child(self, role: str) -> int:
        """The pid of the first child that runs as `web` or `worker`."""
        return next(pid for pid in family(self.process.pid) if f"drs_service\0{role}" in command_of(pid))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """kill -9 of the service and of everything that it started, all at once."""
        family_now = [self.process.pid, *family(self.process.pid)]
        for pid in family_now:
            kill(pid)
        self.process.wait(PATIENCE)
        wait_until(lambda: not any(alive(pid) for pid in family_now))


@contextmanager
def serving(data_dir: Path, env: dict[str, str], *arguments: str) -> Iterator[Serve]:
    service = Serve(data_dir, env, *arguments)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.kill()
        assert service.process.stdout is not None
        service.process.stdout.close()


def family(pid: int) -> list[int]:
    """The descendants of a process."""
    children: dict[int, list[int]] = {}
    for line in subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])
    return found


def command_of(pid: int) -> str:
    shown = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip().replace(" ", "\0")


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet reaped does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(shown.strip()) and not shown.startswith("Z")


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_until(fact: Callable[[], bool], *, within: float = PATIENCE, every: float = 0.02) -> None:
    """Return once fact holds; fail if it does not in time. Seconds, between looks as well."""
    deadline = time.monotonic() + within
    while not fact():
        assert time.monotonic() < deadline, f"did not happen within {within} seconds"
        time.sleep(every)
