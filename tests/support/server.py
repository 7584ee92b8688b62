"""The real web application on a real uvicorn and a free port, in the test's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from drs_service.app import Server, configured, open_app
from drs_service.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    host: str
    port: int
    settings: Settings

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


class QuietServer(Server):
    """A server that leaves the signals of the process to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """A node with these settings, answering; it finishes what is in flight at the end of the block."""
    ready = asyncio.Event()
    async with open_app(settings) as app:
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            server = QuietServer(configured(app, settings), ready.set)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await asyncio.wait({serving, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
            host, port = listener.getsockname()[:2]
            try:
                yield Service(host, port, settings)
            finally:
                server.should_exit = True
                await serving
