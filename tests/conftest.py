"""Real parts for every test: one PostgreSQL, a database of its own for each test, a real server.

Where tests run in several processes, each of these has all of its parts for itself.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from drs_service.settings import Secret, Settings
from tests.support import azurite
from tests.support import s3 as ceph
from tests.support import sftp as openssh
from tests.support.azurite import AzureServer
from tests.support.files import Files
from tests.support.gcs import GcsServer
from tests.support.postgres import Postgres, memory
from tests.support.s3 import S3Server
from tests.support.server import Service, running
from tests.support.sftp import SftpServer


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for folders of tests; none beside this one for files and tests that are named."""
    return 0 if all(Path(one.partition("::")[0]).is_file() for one in config.args) else 2


@pytest.fixture(scope="session")
def roomy() -> Iterator[Path]:
    with reachable() as path:
        yield path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with reachable(memory()) as path, Postgres.started(path / "postgres") as server:
        yield server


@contextmanager
def reachable(parent: Path | None = None) -> Iterator[Path]:
    """A new directory that every user can reach: PostgreSQL is another one than root, and pytest's own is closed."""
    path = Path(tempfile.mkdtemp(prefix="drs-tests-", dir=parent))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """A new database with our schema."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: Postgres) -> Iterator[str]:
    """A new database with nothing in it."""
    with postgres.database(template="template1") as url:
        yield url


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of a service of its own, on a local store."""
    return Settings(
        database_url=Secret(database_url),
        storage_url=(tmp_path / "store").as_uri(),
        public_url="https://drs.example.org",
        upload_idle_seconds=5,
        shutdown_grace_seconds=5,
        max_upload_bytes=64 * 1024**2,
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """A running service; `service.url` is where it listens."""
    async with running(settings) as service:
        yield service


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        yield client


@pytest.fixture
def some_bytes() -> bytes:
    """More than one read and one block, and not a multiple of either."""
    return secrets.token_bytes(3 * 1024**2 + 17)


@pytest.fixture(scope="session")
def own_environment() -> dict[str, str]:
    """The environment for a process of ours, without any of our settings."""
    ours = ("DRS_", "DATABASE_URL", "PUBLIC_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture(scope="session")
def s3(roomy: Path) -> Iterator[S3Server]:
    """A real S3 server; whoever asks for it is skipped where there is none."""
    if reason := ceph.missing():
        pytest.skip(reason)
    with S3Server.started(roomy / "s3") as server:
        yield server


@pytest.fixture(scope="session")
def azure(roomy: Path) -> Iterator[AzureServer]:
    if reason := azurite.missing():
        pytest.skip(reason)
    with AzureServer.started(roomy / "azure") as server:
        yield server


@pytest.fixture(scope="session")
def files(roomy: Path) -> Files:
    """A directory, as fsspec sees it."""
    return Files(roomy / "files")


@pytest.fixture(scope="session")
def sftp(roomy: Path) -> Iterator[SftpServer]:
    if reason := openssh.missing():
        pytest.skip(reason)
    with SftpServer.started(roomy / "sftp") as server:
        yield server


@pytest.fixture(scope="session")
def gcs(roomy: Path) -> Iterator[GcsServer]:
    with GcsServer.started(roomy / "gcs") as server:
        yield server
