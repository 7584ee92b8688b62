"""The servers that are measured. Each is started for one benchmark and ended by its own process id."""

import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs import program
from drs_service.db.embedded import EmbeddedPostgres
from drs_service.db.migrate import migrate

PATIENCE = 60.0  # seconds for a server to answer, and to end

NGINX = """
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    client_body_temp_path {directory}/incoming;
    proxy_temp_path {directory}/unused;
    fastcgi_temp_path {directory}/unused;
    scgi_temp_path {directory}/unused;
    uwsgi_temp_path {directory}/unused;
    server {{
        listen 127.0.0.1:{port};
        root {directory}/files;
        location / {{ dav_methods PUT; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Nginx:
    url: str
    files: Path


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory that is removed at the end. TMPDIR says where."""
    path = Path(tempfile.mkdtemp(prefix="drs-benchmark-"))
    try:
        path.chmod(0o711)  # PostgreSQL, run by another user when we are root, has to get through
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def nginx(directory: Path) -> Iterator[Nginx]:
    """nginx with one worker: GET by sendfile, PUT into a temporary file that is then renamed."""
    directory.mkdir()
    files = directory / "files"
    files.mkdir()
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # only root may say so
    configuration = directory / "nginx.conf"
    configuration.write_text(NGINX.format(directory=directory, port=port, user=user))
    command = [program("nginx"), "-c", str(configuration), "-p", str(directory), "-e", str(directory / "error.log")]
    with running(command, log=directory / "log"):
        until_open(port)
        yield Nginx(f"http://127.0.0.1:{port}", files)


@contextmanager
def service(directory: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`drs-service serve` with one web process, answering."""
    with service_process(directory, port=0, settings=settings) as process:
        yield Server(first_line(process).removeprefix("DRS service on ").strip(), process.pid)


@contextmanager
def nodes(directory: Path, count: int, *, settings: Mapping[str, str] | None = None) -> Iterator[list[Server]]:
    """So many services, of one web process each, on one PostgreSQL and one store, both in directory."""
    directory.mkdir(mode=0o711)
    postgres = EmbeddedPostgres(directory / "postgres")
    postgres.start()
    try:
        postgres.create_database("drs")
        migrate(postgres.url("drs"))
        shared = {"DATABASE_URL": postgres.url("drs"), "DRS_STORAGE_URL": (directory / "store").as_uri()}
        with ExitStack() as stack:
            both = shared | dict(settings or {})
            yield [stack.enter_context(service(directory / f"node{one}", settings=both)) for one in range(count)]
    finally:
        postgres.stop()


def service_process(
    directory: Path, *, port: int, settings: Mapping[str, str] | None = None
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """`drs-service serve`, starting on a data directory that may be there already."""
    command = [sys.executable, "-P", "-m", "drs_service", "serve", "--processes", "1", "--port", str(port)]
    return running([*command, "--data-dir", str(directory)], log=directory.with_suffix(".log"), env=settings)


@contextmanager
def bare_route(answer: bytes, directory: Path) -> Iterator[Server]:
    """A Litestar application of one route that gives the same answer for every id."""
    command = [sys.executable, "-m", "benchmarks.bare", answer.decode()]
    with running(command, log=directory / "bare.log") as process:
        yield Server(f"http://127.0.0.1:{int(first_line(process))}", process.pid)


@contextmanager
def running(
    command: list[str], *, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with nothing of our settings in its environment; what it logs is shown if the block fails."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("DRS_", "DATABASE_", "PUBLIC_"))
    }
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, env=inherited | dict(env or {}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
    try:
        yield process
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace"))
        raise
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def first_line(process: subprocess.Popen[bytes]) -> str:
    """What the process says first: where it listens."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], PATIENCE)
    line = process.stdout.readline().decode() if readable else ""
    if not line:
        raise RuntimeError("The server did not start.")
    return line


def until_open(port: int) -> None:
    """Return when something listens on port."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
