"""PostgreSQL is stopped and started again while files come in: nobody loses anything, and nobody is told of a fault."""

import asyncio
import os
import random
import secrets
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from drs_service.db.embedded import EmbeddedPostgres
from drs_service.db.migrate import migrate
from drs_service.settings import Secret, Settings
from tests.api.traces import staged_files
from tests.support.aftermath import tidy_up
from tests.support.deadline import more_than, until
from tests.support.nodes import node_of_its_own
from tests.support.stubborn import WAYS, Stubborn

SENDERS = 16
MOST = 2_000_000  # bytes of one file
LONG = 30.0  # seconds, on a machine that has other things to do


@pytest.fixture
def own_postgres(roomy: Path) -> Iterator[EmbeddedPostgres]:
    """A server that nobody else uses. What it has committed survives its own death, if not that of the machine."""
    server = EmbeddedPostgres(roomy / f"restarted-{secrets.token_hex(4)}", settings={"fsync": "off"})
    server.start()
    try:
        server.create_database("drs")
        migrate(server.url("drs"))
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, id="fast"), pytest.param(signal.SIGQUIT, id="immediate")]
)
async def test_nobody_loses_anything_to_a_postgres_that_is_started_again(
    own_postgres: EmbeddedPostgres, number: signal.Signals, settings: Settings, own_environment: dict[str, str]
) -> None:
    settings = replace(settings, database_url=Secret(own_postgres.url("drs")))
    over = asyncio.Event()
    kept: dict[str, bytes] = {}
    async with (
        node_of_its_own(settings, own_environment) as first,
        node_of_its_own(settings, own_environment) as second,
        httpx.AsyncClient(timeout=30, limits=httpx.Limits()) as client,
    ):
        one = Stubborn(client, [first.url, second.url], random.Random(number), cuts=0.1)

        async def sending(way: int) -> None:
            while not over.is_set():
                content = one.random.randbytes(one.random.randrange(MOST))
                kept[await WAYS[way](one, content)] = content

        async with asyncio.TaskGroup() as group:
            for sender in range(SENDERS):
                group.create_task(sending(sender % len(WAYS)))
            for _ in range(3):
                await until(more_than(SENDERS, kept.__len__), within=LONG)
                await stop(own_postgres, number)
                await until(more_than(SENDERS, lambda: one.answered[503]), within=LONG)
                own_postgres.start()
            await until(more_than(SENDERS, kept.__len__), within=LONG)
            over.set()
        assert one.answered.keys() <= {0, 200, 201, 204, 409, 423, 503}
        # An answer of PostgreSQL that was lost may leave something behind, as long as an upload lives.
        await tidy_up(settings)
        assert not staged_files(settings)
        for path, content in kept.items():
            assert await one.content_of(path) == content


async def stop(server: EmbeddedPostgres, number: signal.Signals) -> None:
    assert server.pid is not None
    os.kill(server.pid, number)
    await until(lambda: server.returncode is not None)
