"""Two nodes behind a proxy without stickiness, sessions, and agents as processes of their own."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from drs_service.settings import Settings
from tests.support.nginx import nginx, proxy_conf
from tests.support.nodes import Node
from tests.support.program import free_port
from tests.support.serve import COMMAND, alive, family, wait_until

PATIENCE = 20.0
HOLDER = "SELECT address FROM nodes JOIN sessions ON node_id = nodes.id WHERE sessions.id = $1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something listens on this machine."""

    port: int
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Session:
    """One that was created, and what opens it."""

    id: str
    secret: str
    join_token: str
    service: str
    """A URL at which it is known."""

    @classmethod
    def created(cls, service: str, **said: object) -> "Session":
        answer = httpx.post(f"{service}/sessions", json=said, timeout=PATIENCE)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        return cls(made["session"]["id"], made["secret"], made["join_token"], service)

    @property
    def path(self) -> str:
        return f"/socket/{self.id}"

    @property
    def bearer(self) -> str:
        """The line of a request that opens it."""
        return f"Authorization: Bearer {self.secret}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    def show(self) -> Any:
        answer = httpx.get(f"{self.service}/sessions/{self.id}", headers=self.headers, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def is_connected(self) -> bool:
        return bool(self.show()["tunnel"]["connected"])


class Agent:
    """`drs-service agent`. It may be killed and run again: it is the same one, for it finds its state again."""

    def __init__(
        self, directory: Path, env: Mapping[str, str], session: Session, service: str, target: str | None
    ) -> None:
        self.session = session
        self.serves = target is None
        self.output = directory / "agent.log"
        self._env = {**env, "XDG_STATE_HOME": str(directory)}
        self._command = [*COMMAND, "agent", "--url", service, "--token", session.join_token]
        self._command += ["--target", target] if target is not None else ["--serve"]
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> None:
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._command, *arguments], env=self._env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """With which it ended; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    @property
    def told(self) -> str:
        return self.output.read_text()

    def wait(self) -> int:
        """The code with which it ends."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def end(self, number: int = signal.SIGKILL) -> int:
        """Send it a signal that ends it. May be called again."""
        assert self._process is not None
        self._process.send_signal(number)
        return self.wait()


class Cluster:
    """`nodes` may be killed, and started again where they were. `url` is the proxy's."""

    def __init__(self, directory: Path, settings: Settings, env: Mapping[str, str]) -> None:
        self.url = str(settings.public_url)
        self.directory = directory
        self.nodes: list[Node] = []
        self._settings = settings
        self._env = dict(env)
        self._peer_ports = [free_port(), free_port()]
        self._agents: list[Agent] = []

    @property
    def places(self) -> list[Place]:
        """The nodes."""
        return [Place(node.port) for node in self.nodes]

    def start(self) -> None:
        with ThreadPoolExecutor(2) as threads:
            self.nodes = list(threads.map(self._started, (0, 1)))

    def restart(self, number: int) -> None:
        """A node that has ended."""
        self.nodes[number] = self._started(number, port=self.nodes[number].port)

    def _started(self, number: int, port: int = 0) -> Node:
        env = {**self._env, "DRS_NODE_PORT": str(self._peer_ports[number])}
        return Node(self._settings, env, port=port)

    def session(self, **said: object) -> Session:
        return Session.created(self.url, **said)

    def agent(
        self, session: Session, target: str | None, *arguments: str, service: str | None = None, home: str = ""
    ) -> Agent:
        """One that has begun to dial; see `connected`. Without a target it serves this service itself.

        home: where it keeps what it is, if that is another place.
        """
        (directory := self.directory / (home or f"agent-{session.id}")).mkdir()
        agent = Agent(directory, self._env, session, service or self.url, target)
        agent.run(*arguments)
        self._agents.append(agent)
        return agent

    def memory(self, session: Session) -> int:
        """Bytes that all nodes have together, with the agent of the session."""
        pids = [node.pid for node in self.nodes]
        pids += [one.pid for one in self._agents if one.session == session and one.code is None]
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    async def holder(self, session: Session) -> int:
        """The number of the node that holds the tunnel."""
        assert self._settings.database_url is not None
        connection = await asyncpg.connect(self._settings.database_url.reveal())
        try:
            address = await connection.fetchval(HOLDER, session.id)
        finally:
            await connection.close()
        return self._peer_ports.index(int(address.rpartition(":")[2]))

    def end(self) -> None:
        served = [pid for agent in self._agents if agent.serves for pid in family(agent.pid)]
        for agent in self._agents:
            agent.end()
        wait_until(lambda: not any(alive(pid) for pid in served))
        for node in self.nodes:
            node.kill()


def connected(sessions: Sequence[Session]) -> None:
    """Return once their agents are there."""
    wait_until(lambda: all(one.is_connected for one in sessions), within=PATIENCE)


@contextmanager
def clustered(directory: Path, settings: Settings, env: Mapping[str, str]) -> Iterator[Cluster]:
    """Two nodes, behind nginx as deploy/nginx.conf has it, under the public URL of the settings."""
    assert settings.public_url is not None
    directory.mkdir()
    cluster = Cluster(directory, settings, env)
    try:
        cluster.start()
        port = int(settings.public_url.rpartition(":")[2])
        (home := directory / "proxy").mkdir()
        with nginx(home, proxy_conf(home, port, [one.port for one in cluster.nodes])):
            yield cluster
    finally:
        cluster.end()
