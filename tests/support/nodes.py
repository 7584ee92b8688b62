"""A web process of its own, which can be killed without anybody else."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from drs_service.settings import Settings

NODE = """
import os, resource, socket, sys, uvloop
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from drs_service.app import serve
from drs_service.settings import Settings
listener = socket.create_server(("127.0.0.1", int(os.environ["TEST_PORT"])), backlog=64)
def ready():
    print(listener.getsockname()[1], flush=True)
    os.dup2(2, 1)  # nobody reads on: what is logged would fill the pipe
uvloop.run(serve(Settings.from_env(os.environ), listener, on_ready=ready))
"""


class Node:
    """An argument is the size of the largest file that it can write. port: a free one, unless it is said."""

    def __init__(self, settings: Settings, env: dict[str, str], *arguments: str, port: int = 0) -> None:
        assert settings.database_url is not None and settings.storage_url is not None
        own = {
            "DATABASE_URL": settings.database_url.reveal(),
            "DRS_STORAGE_URL": settings.storage_url,
            "PUBLIC_URL": str(settings.public_url),
            "TEST_PORT": str(port),
        }
        command = [sys.executable, "-c", NODE, *arguments]
        self._process = subprocess.Popen(command, env={**env, **own}, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        with self._process.stdout as said:
            self.port = int(said.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9. May be called again."""
        self._process.kill()
        self._process.wait()

    async def end(self, number: int) -> None:
        """Send it a signal that ends it, and return when it has. May be called again."""
        self._process.send_signal(number)
        await asyncio.to_thread(self._process.wait)


@asynccontextmanager
async def node_of_its_own(settings: Settings, env: dict[str, str], *arguments: str) -> AsyncIterator[Node]:
    """A node that is killed at the end of the block, unless it has ended before."""
    node = await asyncio.to_thread(Node, settings, env, *arguments)
    try:
        yield node
    finally:
        await node.end(signal.SIGKILL)
