"""`drs-service serve`: everything that one machine needs, started in order and stopped in the opposite one.

    supervisor ── PostgreSQL          unless a DATABASE_URL is set
               ├─ web (PROCESSES)     all accept on one socket
               └─ worker (WORKERS)

A process that ends is started again. If the supervisor is killed, its children see their lifeline end and go as well.
"""

import asyncio
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import structlog

from drs_service.db import migrate, schema
from drs_service.db.embedded import DATABASE, EmbeddedPostgres
from drs_service.db.pool import open_database, wait_for
from drs_service.errors import BindRefused, DataDirectoryInUse, DirectoryUnreachable, Misconfigured
from drs_service.processes import Kept, Lifeline
from drs_service.settings import Secret, Settings

log = structlog.get_logger()

POSTGRES_WATCH = 0.5  # seconds between looks at PostgreSQL
POSTGRES_RETRY = 5.0  # seconds
POSTGRES_PATIENCE = timedelta(seconds=30)  # for PostgreSQL to start again; nothing else is done meanwhile
POSTGRES_MOST_PATIENCE = timedelta(minutes=10)
DATABASE_PATIENCE = 30.0  # seconds for a database of somebody else's to answer


def serve(settings: Settings, *, announce: Callable[[str], None], inherited: socket.socket | None = None) -> None:
    """Serve until SIGTERM or SIGINT; announce gets the public URL once requests are answered.

    inherited: where it listens, instead of what the settings say.
    A second signal does not wait for requests in flight. Raises Misconfigured errors before anything is served.
    """
    settings.check_bind()
    started = datetime.now(UTC)
    signal.signal(signal.SIGTERM, leave)
    with ExitStack() as stack:
        listener = stack.enter_context(inherited or listen(settings.host, settings.port))
        if settings.database_url is None or settings.storage_url is None:
            stack.enter_context(data_directory(settings.data_dir))
        # Bytes without a row that are older than this start are nobody's, if nobody else can be using the place.
        alone = settings.database_url is None and settings.storage_url is None
        postgres = None
        if settings.database_url is None:
            postgres = stack.enter_context(embedded_postgres(settings))
            settings = replace(settings, database_url=Secret(postgres.url(DATABASE)))
        else:
            asyncio.run(check_database(settings.database_url.reveal()))
        settings = completed(settings, listener)
        arguments = ["--sweep-before", started.isoformat()] if alone else []
        tallies = None
        if settings.processes > 1:
            tallies = Path(stack.enter_context(TemporaryDirectory(prefix="drs-tallies-", ignore_cleanup_errors=True)))
        supervisor = Supervisor(settings, listener, postgres, worker_arguments=arguments, tallies=tallies)
        asyncio.run(supervisor.run(announce))


class Supervisor:
    """The processes of one service, kept running until a signal says otherwise."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        postgres: EmbeddedPostgres | None,
        *,
        worker_arguments: list[str],
        tallies: Path | None,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._postgres = postgres
        self._lifeline = Lifeline()
        self._signals = 0
        self._told_to_stop = asyncio.Event()
        env = {**os.environ, **settings.to_env()}
        fd = listener.fileno()
        shared = ["--tallies", str(tallies)] if tallies is not None else []
        web = [
            Kept(
                f"web {number}",
                ["web", "--listen-fd", str(fd), "--number", str(number), *shared],
                env=env,
                lifeline=self._lifeline,
                pass_fds=[fd],
            )
            for number in range(1, settings.processes + 1)
        ]
        workers = [
            Kept(
                f"worker {number}",
                ["worker", *(worker_arguments if number == 1 else [])],
                env=env,
                lifeline=self._lifeline,
            )
            for number in range(1, settings.workers + 1)
        ]
        self._children = [*web, *workers]

    async def run(self, announce: Callable[[str], None]) -> None:
        """Run until a signal says otherwise, or until a part of this fails: that error is raised."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._told_to_stop.wait()),
            asyncio.create_task(self._keep_children(announce)),
        ]
        if self._postgres is not None:
            tasks.append(asyncio.create_task(watch(self._postgres)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancel(tasks)
            # As long as anybody holds the socket open, connections to it would be made and never answered.
            self._listener.close()
            grace = self._settings.shutdown_grace_seconds
            await asyncio.gather(*(child.stop(grace) for child in self._children))

    async def _keep_children(self, announce: Callable[[str], None]) -> None:
        await asyncio.gather(*(child.start() for child in self._children))
        assert self._settings.public_url is not None
        announce(self._settings.public_url)
        keeping = [asyncio.create_task(child.keep()) for child in self._children]
        try:
            await asyncio.gather(*keeping)
        finally:
            await cancel(keeping)

    def _on_signal(self) -> None:
        self._signals += 1
        self._told_to_stop.set()
        if self._signals == 2:
            for child in self._children:
                child.send(signal.SIGKILL)


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and return when they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def leave(_number: int, _frame: object) -> None:
    sys.exit(0)


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket; BindRefused if the address cannot be had."""
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise BindRefused(f"The service cannot listen on {host}:{port}: {error.strerror or error}") from error
    with listener:
        yield listener


@contextmanager
def data_directory(path: Path) -> Iterator[None]:
    """The directory, made if need be and ours alone. DataDirectoryInUse, DirectoryUnreachable."""
    with ExitStack() as stack:
        try:
            made = make_directory(path)
            lock = stack.enter_context((path / "lock").open("a+"))
            take(lock, path)
            # PostgreSQL, which runs as somebody else, must pass through. What was there before we were is not ours to
            # open: a data directory of /root would let everybody in.
            if made and os.geteuid() == 0:
                path.chmod(path.stat().st_mode | 0o011)
            (path / "store").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DirectoryUnreachable(
                f"The data directory {path.absolute()} cannot be used: {error.strerror or error}"
            ) from error
        yield


def make_directory(path: Path) -> bool:
    """Whether it was not there before."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def take(lock: TextIO, directory: Path) -> None:
    """Hold the lock of a data directory until it is closed. DataDirectoryInUse."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip()
        raise DataDirectoryInUse(f"Process {holder} is serving the data directory {directory.absolute()}.") from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


@contextmanager
def embedded_postgres(settings: Settings) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL in the data directory, running, with a database whose schema is ours."""
    postgres = EmbeddedPostgres(
        settings.data_dir.absolute() / "postgres",
        settings={"max_connections": str(connections(settings))},
        user=settings.postgres_user,
    )
    try:
        postgres.start()
        postgres.create_database(DATABASE)
        migrate.migrate(postgres.url(DATABASE))
        yield postgres
    finally:
        postgres.stop()


def connections(settings: Settings) -> int:
    """How many connections our processes may ever make, and some for people and for what comes in between."""
    processes = settings.processes + settings.workers
    return max(100, processes * (settings.database_pool_size + 2) + 20)  # each listens for changes, too


async def watch(postgres: EmbeddedPostgres) -> None:
    """Start PostgreSQL again whenever it has ended."""
    patience = POSTGRES_PATIENCE
    while True:
        await asyncio.sleep(POSTGRES_WATCH)
        if postgres.running:
            patience = POSTGRES_PATIENCE
            continue
        log.error("PostgreSQL ended; starting it again", returncode=postgres.returncode)
        try:
            # Blocks, signals as well, and from the main thread, which PostgreSQL is tied to.
            postgres.start(timeout=patience)
        except Misconfigured as error:
            log.error("PostgreSQL does not start", error=str(error))
            patience = min(2 * patience, POSTGRES_MOST_PATIENCE)  # a long recovery must end in one of the attempts
            await asyncio.sleep(POSTGRES_RETRY)


async def check_database(url: str) -> None:
    """Wait for somebody else's database, and refuse a schema that is not ours."""
    await wait_for(url, patience=DATABASE_PATIENCE)
    async with (
        open_database(url, name="drs-service check", size=1, statement_cache=0) as database,
        database.connection() as connection,
    ):
        await schema.check(connection)


def completed(settings: Settings, listener: socket.socket) -> Settings:
    """The settings with every default that depends on this start."""
    host, port = listener.getsockname()[:2]
    shown = "localhost" if ":" in host else host  # an IPv6 literal has no place in a DRS URI
    return replace(
        settings,
        port=port,
        public_url=settings.public_url or f"http://{shown}:{port}",
        storage_url=settings.storage_url or (settings.data_dir.absolute() / "store").as_uri(),
    )
