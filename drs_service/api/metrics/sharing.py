"""What every web process of a service has counted, for whichever of them is asked.

They listen on one socket, so nobody can choose whom he asks. Each writes down every second what it has counted, in a
directory that the supervisor gave it, and reads what the others wrote when it is asked. Their figures stay apart: each
begins at 0 again when its process does, which a sum would turn into nonsense.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog

log = structlog.get_logger()

EVERY = 1.0  # seconds


class Alike(msgspec.Struct):
    """Requests that are alike, as `Durations` has them."""

    route: str
    method: str
    status: int
    counts: list[int]
    sum: float


class Snapshot(msgspec.Struct, kw_only=True):
    """What one process has counted."""

    durations: list[Alike]
    in_flight: int
    tunnels: int
    received_bytes: int
    sent_bytes: int
    uploads: dict[str, int]
    connections_open: int
    connections_in_use: int
    process: dict[str, float]
    """What the system says of it, by the names of prometheus-client."""


class Sharing:
    """number: of this process, among those that share directory."""

    def __init__(self, directory: Path | None, number: int) -> None:
        self._directory = directory
        self._number = number

    @asynccontextmanager
    async def writing(self, snapshot: Callable[[], Snapshot]) -> AsyncIterator[None]:
        """For the length of the block, what snapshot tells is there for the others."""
        if self._directory is None:
            yield
            return
        task = asyncio.create_task(self._write(self._directory, snapshot))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _write(self, directory: Path, snapshot: Callable[[], Snapshot]) -> None:
        while True:
            new = directory / f"{self._number}.new"
            try:
                new.write_bytes(msgspec.msgpack.encode(snapshot()))
                new.replace(directory / str(self._number))
            except OSError as error:  # a full disk is told of by others
                log.warning("what was counted cannot be written down", error=str(error))
            await asyncio.sleep(EVERY)

    def all(self, own: Snapshot) -> dict[int, Snapshot]:
        """Of each process, by its number: own as it is now, those of the others as they were last written."""
        found = {self._number: own}
        for path in self._directory.glob("[0-9]*") if self._directory is not None else ():
            if path.name.isdigit() and int(path.name) != self._number:
                found[int(path.name)] = msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
        return dict(sorted(found.items()))
