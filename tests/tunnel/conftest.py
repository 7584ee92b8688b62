"""Two nodes behind nginx, and agents, for all tests here that leave them alive."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from drs_service.settings import Secret, Settings
from tests.support.containers import missing
from tests.support.postgres import Postgres
from tests.support.program import free_port
from tests.support.stage import Stage, staged
from tests.support.tunnel import Cluster, Place, Session, clustered, connected


def settings_for(directory: Path, database_url: str) -> Settings:
    """Of two nodes, under the URL of their proxy."""
    return Settings(
        database_url=Secret(database_url),
        storage_url=(directory / "store").as_uri(),
        public_url=f"http://127.0.0.1:{free_port()}",
    )


@pytest.fixture(scope="session")
def cluster(roomy: Path, postgres: Postgres, own_environment: dict[str, str]) -> Iterator[Cluster]:
    if reason := missing():
        pytest.skip(reason)
    directory = roomy / "tunnel"
    with (
        postgres.database() as database_url,
        clustered(directory, settings_for(directory, database_url), own_environment) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="session")
def stage_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def session(cluster: Cluster, stage_port: int) -> Session:
    """Its app is the stage; the first node holds the tunnel."""
    session = cluster.session()
    cluster.agent(session, f"http://127.0.0.1:{stage_port}", service=cluster.nodes[0].url)
    connected([session])
    return session


@pytest_asyncio.fixture
async def app(session: Session, stage_port: int) -> AsyncIterator[Stage]:
    """What the session leads to, for one test."""
    async with staged(stage_port) as stage:
        yield stage


@pytest.fixture(params=["holder", "other"])
def node(request: pytest.FixtureRequest, session: Session, cluster: Cluster) -> Place:
    """The node that holds the tunnel, and the other one."""
    return cluster.places[["holder", "other"].index(request.param)]
