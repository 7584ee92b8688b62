"""One service for all tests of the API: none of them minds what another has put into it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from drs_service.settings import Secret, Settings
from tests.support.postgres import Postgres
from tests.support.server import Service, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The service lives in one event loop, so the tests run in it as well."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def shared_database_url(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """The service that the tests share; `service.url` is where it listens."""
    settings = Settings(
        database_url=Secret(shared_database_url),
        storage_url=(tmp_path_factory.mktemp("shared") / "store").as_uri(),
        public_url="https://drs.example.org",
        upload_idle_seconds=5,
        shutdown_grace_seconds=5,
        max_upload_bytes=64 * 1024**2,
    )
    async with running(settings) as service:
        yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def own_service(settings: Settings) -> AsyncIterator[Service]:
    """A service that no other test uses, on places that no other service uses."""
    async with running(settings) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def own_client(own_service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=own_service.url, timeout=20) as client:
        yield client
