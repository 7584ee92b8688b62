"""`drs-service agent`: the far end of a tunnel, which runs where the app is and dials out.

    dial ─▶ linked ─ connection lost, or the node drains ─▶ dial, with the same credential, under a new epoch
              ├─ the session stops ─▶ what is under way is finished ─▶ end
              └─ SIGTERM ───────────▶ what is under way is finished ─▶ say so, end

While a node drains, its connection goes on with what is under way, beside the next one.
"""

import asyncio
import contextlib
import gc
import os
import random
import re
import secrets
import signal
from collections.abc import Callable, Coroutine
from hashlib import sha256
from pathlib import Path

import structlog

from drs_service.allocating import keep_freed
from drs_service.errors import DirectoryUnreachable, JoinRefused, SessionEnded, TunnelAbsent
from drs_service.tunnel.frames import VERSION, End, Hello, Leaving, Left
from drs_service.tunnel.link import Link
from worker.dialling import Wire, dial, tunnel_url
from worker.target import Target

log = structlog.get_logger()

SECRET_BYTES = 32
FIRST_DELAY = 0.2  # seconds before a second attempt to dial; doubled each time
MOST_DELAY = 30.0
MOST_DELAY_LET_IN = 5.0  # after a connection that was lost soon: requests wait for the next one
LEAVE_PATIENCE = 10.0  # seconds for what is under way, when the agent ends
LOOK = 0.05
STEADY = 10.0  # seconds after which a connection was a good one
BUSY_EVERY = 15.0  # seconds between looks whether work is under way
BUSY_PATIENCE = 10.0


class Credential:
    """What the agent says each time it dials. It is its own making, and is kept for the same agent started again."""

    def __init__(self, directory: Path, url: str, join_token: str) -> None:
        """url: what is dialled. DirectoryUnreachable."""
        name = sha256(f"{url} {join_token}".encode()).hexdigest()[:32]
        self._path = directory / "agents" / name
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:
                self.text = self._path.read_text()
            else:
                self.text = secrets.token_urlsafe(SECRET_BYTES)
                with os.fdopen(descriptor, "w") as file:
                    file.write(self.text)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise DirectoryUnreachable(f"{self._path}: {error.strerror or error}") from error

    def forget(self) -> None:
        """It is good for nothing any more."""
        self._path.unlink(missing_ok=True)


class Agent:
    def __init__(self, url: str, join_token: str, credential: Credential, target: Target) -> None:
        """url: what is dialled."""
        self._running = 0
        self.url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """At which the app is reached through the session, once the service has said so; empty if it did not."""
        self._dialled_url = url
        self._join_token = join_token
        self._credential = credential
        self._target = target
        self._links: set[Link] = set()
        self._must_dial = asyncio.Event()
        self._is_dialling = False
        self._is_over = asyncio.Event()
        self._is_leaving = False
        self._fault: Exception | None = None
        self._stopped_by = ""

    async def run(self, *, on_linked: Callable[[], None]) -> str:
        """Serve until the session ends or `leave` is called. Why the session ended, for people; empty if it goes on.

        JoinRefused, SessionEnded.
        """
        dialling = asyncio.create_task(self._keep_dialled(on_linked))
        dialling.add_done_callback(self._dialled)
        try:
            await self._is_over.wait()
        finally:
            dialling.cancel()
            await asyncio.wait({dialling})
            for link in list(self._links):
                link.close()
        if self._fault is not None:
            raise self._fault
        return self._stopped_by

    def tell(self, running: int) -> None:
        """So much work is under way in the app, besides requests. The service knows it at once."""
        if running != self._running:
            self._running = running
            for link in self._links:
                link.ping()

    async def leave(self, *, stopped_by: str = "") -> None:
        """End for good, after what is under way."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self._stopped_by = stopped_by
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_PATIENCE):
                while not all(link.is_idle for link in self._links):  # noqa: ASYNC110  # once, at the end
                    await asyncio.sleep(LOOK)
        for link in self._links:
            link.go_away(Leaving.LEFT)
            self._stopped_by = stopped_by or "left"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_PATIENCE):
                while self._links:  # noqa: ASYNC110  # the node closes them when it has heard
                    await asyncio.sleep(LOOK)
        self._is_over.set()

    async def _keep_dialled(self, on_linked: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        attempts = 0
        while not self._is_leaving:
            self._is_dialling = True
            try:
                wire = await dial(self._dialled_url, self._credential.text, self._join_token)
            except (JoinRefused, SessionEnded) as error:
                self._credential.forget()
                self._end(error)
                return
            except TunnelAbsent as error:
                attempts += 1
                delay = delay_of(attempts, most=MOST_DELAY)
                log.warning("the service cannot be had", reason=str(error), again_in=round(delay, 1))
                await asyncio.sleep(delay)
                continue
            since = loop.time()
            self._is_dialling = False
            self._must_dial.clear()  # whatever has become of the one before
            self._link(wire)
            log.info("connected", url=self._dialled_url)
            on_linked()
            await self._must_dial.wait()
            # One that was lost at once was none: do not hammer.
            attempts = 0 if loop.time() - since > STEADY else attempts + 1
            if attempts > 1:
                await asyncio.sleep(delay_of(attempts, most=MOST_DELAY_LET_IN))

    def _dialled(self, task: "asyncio.Task[None]") -> None:
        """Nobody dials any more: whatever stopped it must not be kept from whoever waits."""
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._end(error)

    def _link(self, wire: Wire) -> None:
        hello = Hello(version=VERSION, target=self._target.address.origin, software="drs-service agent")
        link = wire.carry(
            lambda wire: Link(
                wire,
                End.AGENT,
                hello,
                on_open=self._target.open,
                on_greeted=lambda hello: self._greeted(link, hello),
                on_left=lambda left: self._told(link, left),
                on_lost=lambda reason: self._lost(link, reason),
                running=lambda: self._running,
            )
        )
        self._links.add(link)
        self._newest = link

    def _greeted(self, link: Link, hello: Hello) -> None:
        if self._running:
            link.ping()
        if not self.url.done():
            self.url.set_result(hello.url)

    def _told(self, link: Link, left: Left) -> None:
        """The node says that the connection is to end."""
        match left.code:
            case Leaving.DRAINING:
                if link is self._newest:
                    log.info("the node ends; dialling another one")
                    self._must_dial.set()
            case Leaving.STOPPED if not self._is_leaving:  # it is said until this end has gone
                log.info("the session stops", reason=left.reason)
                self._ending = asyncio.create_task(self.leave(stopped_by=left.reason or "stopped"))
            case Leaving.SUPERSEDED if link is self._newest and not (
                self._is_leaving or self._is_dialling or self._must_dial.is_set()  # else it may be by ourselves
            ):
                self._end(JoinRefused("Another agent has taken this one's place, with the same credential."))
            case Leaving.FAILED:
                log.error("the service did not understand", reason=left.reason)
                link.close()

    def _lost(self, link: Link, reason: str) -> None:
        self._links.discard(link)
        if link is self._newest and not self._is_leaving:
            log.warning("the connection is lost", reason=reason)
            self._must_dial.set()

    def _end(self, fault: Exception) -> None:
        self._fault = fault
        self._is_over.set()


def delay_of(attempts: int, *, most: float) -> float:
    """Seconds before another attempt to dial, with jitter: many agents may have lost one node."""
    # Bounded first: after half a day without a network the power of two would be no float any more.
    return random.uniform(0, min(most, FIRST_DELAY * 2.0 ** min(attempts, 20)))  # noqa: S311


Beside = Callable[[Agent], Coroutine[None, None, None]]


async def watch_work(command: str, agent: Agent) -> None:
    """Ask command, again and again, whether work is under way: it exits with 0 if so."""
    while True:
        process = await asyncio.create_subprocess_shell(command, stdin=asyncio.subprocess.DEVNULL)
        try:
            code = await asyncio.wait_for(process.wait(), BUSY_PATIENCE)
        except TimeoutError:
            process.kill()
            code = await process.wait()
        agent.tell(int(code == 0))
        await asyncio.sleep(BUSY_EVERY)


async def run(
    service: str,
    join_token: str,
    target: Target,
    *,
    state_dir: Path,
    beside: Beside | None,
    on_linked: Callable[[], None],
) -> str:
    """An agent, until its session ends or SIGTERM or SIGINT. Why the session ended, for people; empty if it goes on.

    JoinRefused, SessionEnded, SettingsInvalid, DirectoryUnreachable.
    beside: what goes on as long as the agent does; if that fails, the agent ends with its error.
    """
    url = tunnel_url(service)
    if re.fullmatch("[!-~]+", join_token) is None:
        raise JoinRefused("A join token is in one line, of visible characters of ASCII.")
    keep_freed()
    # As in a web process: what is there by now stays, and little of what comes has cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    credential = Credential(state_dir, url, join_token)
    agent = Agent(url, join_token, credential, target)
    leaving: set[asyncio.Task[None]] = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: leaving.add(asyncio.create_task(agent.leave())))
    running = asyncio.create_task(agent.run(on_linked=on_linked))
    tasks = {running} if beside is None else {running, asyncio.create_task(beside(agent))}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return await running
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        target.close()
