"""What the supervisor does when its own means fail it."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from drs_service import processes
from drs_service.errors import DataDirectoryInUse, DirectoryUnreachable
from drs_service.processes import Kept, Lifeline
from drs_service.settings import Settings
from drs_service.supervisor import Supervisor, connections, data_directory, listen


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_directory_that_was_there_before_is_opened_to_nobody(tmp_path: Path) -> None:
    private = tmp_path / "root"
    private.mkdir(mode=0o700)
    for _ in range(2):
        with data_directory(private):
            assert mode(private) == 0o700


def test_a_directory_has_one_holder(tmp_path: Path) -> None:
    with data_directory(tmp_path / "data"), pytest.raises(DataDirectoryInUse), data_directory(tmp_path / "data"):
        pass
    with data_directory(tmp_path / "data"):
        assert mode(tmp_path / "data" / "store") == 0o700


def test_an_error_inside_is_no_fault_of_the_directory(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), data_directory(tmp_path / "data"):
        raise ConnectionError


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_place_that_is_no_directory_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryUnreachable, match=str(tmp_path)), data_directory(tmp_path / name):
        pass


def test_postgres_has_room_for_every_process() -> None:
    assert connections(Settings()) == 100
    assert connections(Settings(processes=16, workers=3)) == 19 * 12 + 20


async def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "RESTART_DELAYS", (0.0,))
    started: list[int] = []
    real = asyncio.create_subprocess_exec

    async def exec_(*_: object, pass_fds: Sequence[int], **__: object) -> asyncio.subprocess.Process:
        started.append(len(started))
        if len(started) == 2:
            raise BlockingIOError("Resource temporarily unavailable")
        code = f"import os, time; os.write({pass_fds[-1]}, b'1'); {'time.sleep(60)' if len(started) > 2 else ''}"
        return await real(sys.executable, "-c", code, pass_fds=pass_fds)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", exec_)
    child = Kept("child", [], env={}, lifeline=Lifeline())
    await child.start()
    keeping = asyncio.create_task(child.keep())
    async with asyncio.timeout(20):
        while len(started) < 3:
            await asyncio.sleep(0.01)
    assert not keeping.done()
    keeping.cancel()
    await asyncio.wait([keeping])
    child.send(signal.SIGKILL)
    await child.stop(grace=0)


async def test_a_part_that_fails_stops_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []

    class Child:
        def __init__(self, name: str, *_: object, **__: object) -> None:
            self.name = name

        async def start(self) -> None:
            pass

        async def keep(self) -> None:
            if self.name == "worker 1":
                raise LookupError("not expected by anybody")
            await asyncio.Event().wait()

        async def stop(self, grace: float) -> None:
            stopped.append(self.name)

    monkeypatch.setattr("drs_service.supervisor.Kept", Child)
    with listen("127.0.0.1", 0) as listener:
        supervisor = Supervisor(
            Settings(public_url="http://localhost", workers=2), listener, None, worker_arguments=[], tallies=None
        )
        with pytest.raises(LookupError):
            async with asyncio.timeout(5):
                await supervisor.run(lambda _: None)
    assert stopped == ["web 1", "worker 1", "worker 2"]
