"""The processes of one service: how one is started, says that it is ready, and ends with the one that started it."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping, Sequence

import structlog

from drs_service.errors import Misconfigured

log = structlog.get_logger()

LIFELINE = "DRS_LIFELINE_FD"
READY = "DRS_READY_FD"
DESCRIPTORS = 65_536  # open files of a process, if its hard limit allows
ORPHANED = 70  # exit code of a process whose supervisor has gone

RESTART_DELAYS = (0.1, 1.0, 5.0, 30.0)  # seconds before a process is started again, by how often it ended of late
KILL_AFTER = 5.0  # seconds beyond its grace that a process gets to end by itself
STEADY = 60.0  # seconds after which a process that ran has not ended "of late"


class Lifeline:
    """A pipe whose writing end only the supervisor holds: to those who read it, its end is the supervisor's."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()


class Kept:
    """A `drs-service` process that is started again when it ends.

    It runs in a session of its own: a Ctrl-C is for the supervisor alone.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        lifeline: Lifeline,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._name = name
        self._arguments = arguments
        self._env = env
        self._lifeline = lifeline
        self._pass_fds = pass_fds
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it says that it is ready. Misconfigured if it ends instead."""
        reader, writer = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "drs_service", *self._arguments),
                env={**self._env, LIFELINE: str(self._lifeline.reader), READY: str(writer)},
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[*self._pass_fds, self._lifeline.reader, writer],
                start_new_session=True,
            )
        finally:
            os.close(writer)
        try:
            if not await readable(reader):
                raise Misconfigured(f"The {self._name} process ended before it was ready; it has said why.")
        finally:
            os.close(reader)

    async def keep(self) -> None:
        """Start the process again whenever it ends, until cancelled."""
        loop = asyncio.get_running_loop()
        ended_of_late = 0
        while True:
            since = loop.time()
            code = await self._running().wait()
            ended_of_late = 0 if loop.time() - since > STEADY else ended_of_late + 1
            delay = RESTART_DELAYS[min(ended_of_late, len(RESTART_DELAYS)) - 1] if ended_of_late else 0
            log.error("a process ended; starting it again", process=self._name, code=code, delay=delay)
            await asyncio.sleep(delay)
            try:
                await self.start()
            except Misconfigured as error:
                log.error(str(error))
            except OSError as error:  # no room for another process: the old one's end is then seen once more
                log.error("a process cannot be started", process=self._name, error=str(error))

    async def stop(self, grace: float) -> None:
        """Ask the process to finish what it does, and wait until it has. It is killed if that takes beyond grace."""
        if self._process is None:
            return
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace + KILL_AFTER):
                await self._process.wait()
        except TimeoutError:
            log.error("a process does not end; killing it", process=self._name)
            self.send(signal.SIGKILL)
            await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process is not None and self._process.returncode is None:
                self._process.send_signal(number)

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process


async def readable(descriptor: int) -> bytes:
    """What a pipe says first; empty at its end."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, 1)


class Bond:
    """The child's end: what ties it to the supervisor that started it. Without one it does nothing."""

    def __init__(self, env: Mapping[str, str]) -> None:
        allow_descriptors()
        self._ready = int(env[READY]) if READY in env else None
        if LIFELINE in env:
            threading.Thread(target=end_with, args=[int(env[LIFELINE])], daemon=True).start()

    def ready(self) -> None:
        """Tell the supervisor that this process does its work."""
        if self._ready is not None:
            os.write(self._ready, b"1")
            os.close(self._ready)
            self._ready = None


def allow_descriptors() -> None:
    """Every upload and download is a socket and a file: the usual soft limit of 1024 would be few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    with contextlib.suppress(ValueError, OSError):  # the system's own ceiling may be lower still
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def end_with(lifeline: int) -> None:
    """Wait for the supervisor's end, and end at once: what was not acknowledged by then is as after a kill -9."""
    os.read(lifeline, 1)
    os._exit(ORPHANED)
