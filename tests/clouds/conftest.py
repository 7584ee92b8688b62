"""Two nodes of a service whose bytes are in a part of a bucket that nobody else uses, in each cloud."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest

from drs_service.settings import Settings
from tests.support.deadline import until
from tests.support.places import CLOUDS, CloudPlace, CloudServer
from tests.support.server import Service, running
from tests.support.tus import Tus


@pytest.fixture(params=CLOUDS)
def server(request: pytest.FixtureRequest) -> CloudServer:
    server: CloudServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
async def place(server: CloudServer) -> AsyncIterator[CloudPlace]:
    """Behind the service's back."""
    place = CloudPlace(server)
    yield place
    await place.driver.close()


@pytest.fixture
def settings(settings: Settings, place: CloudPlace) -> Settings:
    said = {"DRS_STORAGE_URL": place.url, **place.server.settings()}
    return Settings.from_env(settings.to_env() | said)


class Nodes:
    def __init__(self, services: list[Service], clients: list[Tus]) -> None:
        self.services = services
        self.a, self.b = clients


@pytest.fixture
async def nodes(settings: Settings, place: CloudPlace) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(running(settings)) for _ in range(2)]
        clients = [httpx.AsyncClient(base_url=service.url, timeout=30) for service in services]
        nodes = Nodes(services, [Tus(await stack.enter_async_context(client)) for client in clients])
        yield nodes
        await nodes.a.give_up_all()
        await nodes.b.give_up_all()
        await until(lambda: not waiting(place))


def blobs(place: CloudPlace) -> list[str]:
    return [key for key in place.raw_keys() if key.startswith("sha256/")]


def waiting(place: CloudPlace) -> list[str]:
    """What there is of uploads that wait for more."""
    return [key for key in place.leftovers() if "staging/waiting/" in key or "staging/multipart/" in key]
