"""The real web application on a real uvicorn and a free port, in the test's own event loop or in one beside it."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from drs_service.app import Server, Web, open_app, open_app_on
from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.opening import PRIMARY
from drs_service.blobs.store import BlobStore
from drs_service.db.pool import open_database
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


Opened = Callable[[Settings], AbstractAsyncContextManager[Web]]


@asynccontextmanager
async def running(settings: Settings, opened: Opened = open_app) -> AsyncIterator[Service]:
    """A node with these settings, answering; it finishes what is in flight at the end of the block.

    Without a public URL it has that at which it listens.
    """
    ready = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        host, port = listener.getsockname()[:2]
        if settings.public_url is None:
            settings = replace(settings, public_url=f"http://{host}:{port}")
        async with opened(settings) as web:
            # As uvloop does, on which the service runs: without it every answer waits 40 ms for a delayed ACK.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = QuietServer(web, settings, ready.set)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await asyncio.wait({serving, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
            try:
                yield Service(host, port, settings)
            finally:
                server.should_exit = True
                await serving


def storing_in(driver: BlobDriver) -> Opened:
    """How a node is opened that keeps its bytes in this driver, and closes it in the end."""

    @asynccontextmanager
    async def opened(settings: Settings) -> AsyncIterator[Web]:
        assert settings.database_url is not None
        store = BlobStore(driver, place=PRIMARY, max_bytes=settings.max_upload_bytes)
        url = settings.database_url.reveal()
        try:
            async with (
                open_database(url, name="test", size=settings.database_pool_size, statement_cache=100) as database,
                open_app_on(database, store, settings) as web,
            ):
                yield web
        finally:
            await store.close()

    return opened


@contextmanager
def running_beside(settings: Settings) -> Iterator[Service]:
    """A node in a thread of its own, for tests that have no event loop."""
    started: Future[tuple[Service, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with running(settings) as service:
            started.set_result((service, asyncio.get_running_loop(), stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        service, loop, stop = started.result()
        try:
            yield service
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join()
