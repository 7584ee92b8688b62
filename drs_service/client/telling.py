"""What people see on the way: bars on a terminal, a line here and there where there is none. All of it on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn

from drs_service.client.results import Failure, Result
from drs_service.client.watching import Watcher

LINE_EVERY = 10.0  # seconds, for each file


class Silence:
    def begins(self, name: str, size: int | None) -> None: ...

    def moved(self, name: str, done: int) -> None: ...

    def waits(self, name: str, seconds: float, why: str) -> None: ...

    def ended(self, name: str, *, well: bool) -> None: ...


class Lines:
    def __init__(self) -> None:
        self._sizes: dict[str, int | None] = {}
        self._said: dict[str, float] = {}

    def begins(self, name: str, size: int | None) -> None:
        self._sizes[name] = size
        self._said[name] = time.monotonic()

    def moved(self, name: str, done: int) -> None:
        if time.monotonic() - self._said.get(name, 0.0) >= LINE_EVERY:
            self._said[name] = time.monotonic()
            say(f"{name}: {done} of {self._sizes.get(name) or '?'} bytes")

    def waits(self, name: str, seconds: float, why: str) -> None:
        say(f"{name}: again in {seconds:.1f} s: {why}")

    def ended(self, name: str, *, well: bool) -> None:
        if well:
            say(f"{name}: done")


class Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def begins(self, name: str, size: int | None) -> None:
        if name in self._tasks:
            self._progress.update(self._tasks[name], total=size)
        else:
            self._tasks[name] = self._progress.add_task("", total=size, name=name.rpartition("/")[2], why="")

    def moved(self, name: str, done: int) -> None:
        self._progress.update(self._tasks[name], completed=done, why="")

    def waits(self, name: str, seconds: float, why: str) -> None:
        if name in self._tasks:
            self._progress.update(self._tasks[name], why=f"again in {seconds:.1f} s: {why}")

    def ended(self, name: str, *, well: bool) -> None:
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))


@contextmanager
def watching(*, quiet: bool) -> Iterator[Watcher]:
    """Whoever shows what happens, as it suits where stderr goes."""
    console = Console(stderr=True)
    if quiet:
        yield Silence()
    elif not console.is_terminal:
        yield Lines()
    else:
        columns = (
            TextColumn("{task.fields[name]}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            SpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[why]}", markup=False),
        )
        # What stdout gets goes above the bars only if both are the same terminal.
        with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty(), transient=True) as progress:
            yield Bars(progress)


def shown(outcome: Result | Failure, *, as_json: bool, show: str) -> None:
    """A line on stdout: JSON, or that member of a result. Without JSON, failures are told on stderr."""
    if as_json:
        print(msgspec.json.encode(outcome).decode(), flush=True)
    elif isinstance(outcome, Failure):
        say(f"{outcome.path}: {outcome.error}")
    else:
        print(getattr(outcome, show), flush=True)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
