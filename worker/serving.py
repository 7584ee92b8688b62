"""`drs-service agent --serve`: this service itself as the app that an agent stands in front of.

The agent holds the socket: whoever comes before the service answers, or while it is started again, waits in its queue.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from drs_service.errors import Misconfigured, NotFound, Unavailable
from drs_service.outgoing.http import Http, open_http
from drs_service.processes import Kept, Lifeline
from worker.agent import BUSY_EVERY, BUSY_PATIENCE, Agent
from worker.target import Address

log = structlog.get_logger()

HOST = "127.0.0.1"
END_PATIENCE = 30.0  # seconds beyond its grace for the service to end, and PostgreSQL behind it
LATELY = 300.0  # seconds: who has lost the connection and means to go on is mostly back by then
PAGE = 1000  # uploads
NOT_ITS_OWN = ("DRS_URL", "DRS_JOIN_TOKEN", "DRS_JOIN_TOKEN_FILE", "DRS_HOST", "DRS_PORT")


class Running(msgspec.Struct):
    jobs: list[Any]


class Upload(msgspec.Struct, frozen=True):
    """One that is not finished. Whenever something comes of it, or is to come, one of these is another."""

    upload: str
    state: str
    received: int
    expires_at: str

    @property
    def is_work(self) -> bool:
        """Whether a worker is to do something about it, whatever comes."""
        return self.state == "finishing"


class Unfinished(msgspec.Struct):
    uploads: list[Upload]
    next_page_token: str | None = None


class Moving:
    """Tells uploads that go on from those that were given up, by one look after the other."""

    def __init__(self) -> None:
        self._since: dict[Upload, float] = {}

    def count(self, uploads: Sequence[Upload], now: float) -> int:
        """Those that have moved within LATELY, as far as that can be known. now: seconds."""
        self._since = {one: self._since.get(one, now) for one in uploads}
        return sum(one.is_work or now - since < LATELY for one, since in self._since.items())


class Inner:
    """The service: its socket from the beginning, its processes while `keep` runs."""

    def __init__(self, data_dir: Path, env: Mapping[str, str], *, grace: float) -> None:
        """grace: seconds that its processes get to finish what they do."""
        self._data_dir = data_dir
        self._env = {name: value for name, value in env.items() if name not in NOT_ITS_OWN}
        self._grace = grace
        self._listener = socket.create_server((HOST, 0), backlog=2048)
        self.address = Address(HOST, self._listener.getsockname()[1])

    async def keep(self, agent: Agent) -> None:
        """Serve under the URL that the agent is told, until cancelled. Misconfigured."""
        url = await agent.url
        if not url:
            raise Misconfigured("The service does not say where the session is reached: it cannot be served there.")
        descriptor = self._listener.fileno()
        service = Kept(
            "service",
            ["serve", "--data-dir", str(self._data_dir), "--listen-fd", str(descriptor)],
            env={**self._env, "PUBLIC_URL": url},
            lifeline=Lifeline(),
            pass_fds=[descriptor],
        )
        try:
            await service.start()
            async with asyncio.TaskGroup() as group, open_http(timeout_seconds=BUSY_PATIENCE) as http:
                group.create_task(service.keep())
                await self._watch_work(agent, http)
        finally:
            await service.stop(self._grace + END_PATIENCE)

    async def _watch_work(self, agent: Agent, http: Http) -> None:
        """Jobs that run and uploads that go on are work, whether or not anybody looks at them."""
        own, moving = self.address.origin, Moving()
        while True:
            try:
                running = await http.get_json(f"{own}/jobs?state=running", Running)
                uploads = await unfinished(http, own)
            except (NotFound, Unavailable) as error:  # it is being started again: what it said last holds
                log.warning("the service does not say what it does", reason=str(error))
            else:
                agent.tell(len(running.jobs) + moving.count(uploads, asyncio.get_running_loop().time()))
            await asyncio.sleep(BUSY_EVERY)


async def unfinished(http: Http, service: str, *, page: int = PAGE) -> list[Upload]:
    """All of them, page by page: those that go on may be behind many that were given up. Unavailable, NotFound."""
    found: list[Upload] = []
    token: str | None = ""
    while token is not None:
        more = f"&page_token={token}" if token else ""
        said = await http.get_json(f"{service}/uploads?page_size={page}{more}", Unfinished)
        found += said.uploads
        token = said.next_page_token
    return found
