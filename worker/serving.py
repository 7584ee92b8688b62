"""`drs-service agent --serve`: this service itself as the app that an agent stands in front of.

The agent holds the socket: whoever comes before the service answers, or while it is started again, waits in its queue.
"""

import asyncio
import socket
from collections.abc import Mapping
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
NOT_ITS_OWN = ("DRS_URL", "DRS_JOIN_TOKEN", "DRS_JOIN_TOKEN_FILE", "DRS_HOST", "DRS_PORT")


class Running(msgspec.Struct):
    jobs: list[Any]


class Unfinished(msgspec.Struct):
    uploads: list[Any]


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
        """Jobs that run and uploads that are not finished are work, whether or not anybody looks at them."""
        own = self.address.origin
        while True:
            try:
                running = await http.get_json(f"{own}/jobs?state=running", Running)
                unfinished = await http.get_json(f"{own}/uploads", Unfinished)
            except (NotFound, Unavailable) as error:  # it is being started again: what it said last holds
                log.warning("the service does not say what it does", reason=str(error))
            else:
                agent.tell(len(running.jobs) + len(unfinished.uploads))
            await asyncio.sleep(BUSY_EVERY)
