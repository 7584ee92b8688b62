"""Resumable uploads while everything goes wrong: cut, killed, full, without a database. They end byte-exact."""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.local import LocalDriver
from drs_service.blobs.store import BlobStore
from drs_service.db.pool import Database, open_database
from drs_service.domain.access import ANONYMOUS
from drs_service.domain.names import file_name
from drs_service.errors import DrsServiceError, StorageFull, StorageUnavailable
from drs_service.settings import Secret, Settings
from drs_service.usecases.checksumming import Checksumming
from drs_service.usecases.finishing import Finishing
from drs_service.usecases.holding import Holding
from drs_service.usecases.registering import Registering
from drs_service.usecases.resuming import Resuming, Sending, Wanted
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.tidying import Tidying
from drs_service.usecases.turns import Interruption, Turns
from tests.api.traces import blob_file, query, staged_files, store
from tests.support.deadline import until
from tests.support.faults import FailAfter
from tests.support.nodes import node_of_its_own
from tests.support.postgres import Postgres
from tests.support.raw_http import chunk, connected
from tests.support.serve import PATIENCE
from tests.support.server import Service, running
from tests.support.tus import VERSION, Tus, checksum, patch_head

SIZE = 2_000_003
CONTENT = secrets.token_bytes(SIZE)


@asynccontextmanager
async def speaking(url: str) -> AsyncIterator[Tus]:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        yield Tus(client)


# Cut connections


@pytest.fixture(scope="module")
def places(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with postgres.database() as url:
        yield Settings(
            database_url=Secret(url),
            storage_url=(tmp_path_factory.mktemp("cut") / "store").as_uri(),
            public_url="https://drs.example.org",
            upload_idle_seconds=5,
            shutdown_grace_seconds=5,
        )


class Cut:
    """One connection: how much is promised and how much is sent, in which pieces, to which node."""

    def __init__(self, node: int, promised: float, sent: float, piece: int, chunked: bool, summed: bool) -> None:
        self.node = node
        self.promised = promised
        self.sent = sent
        self.piece = piece
        self.chunked = chunked
        self.summed = summed

    def __repr__(self) -> str:
        return f"Cut({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


FRACTION = strategies.floats(0, 1)
CUTS = strategies.builds(
    Cut,
    strategies.integers(0, 1),
    FRACTION,
    FRACTION,
    strategies.integers(1_000, 900_000),
    strategies.booleans(),
    strategies.booleans(),
)


async def send_cut(service: Service, path: str, offset: int, rest: bytes, cut: Cut) -> None:
    promised = rest[: int(len(rest) * cut.promised)]
    sent = promised[: int(len(promised) * cut.sent)]
    length = "Transfer-Encoding: chunked" if cut.chunked else f"Content-Length: {len(promised)}"
    said = [f"{name}: {value}" for name, value in checksum(promised).items()] if cut.summed else []
    async with connected(service) as connection:
        with contextlib.suppress(ConnectionError):
            await connection.send(patch_head(path, offset, length, *said))
            for start in range(0, len(sent), cut.piece):
                piece = sent[start : start + cut.piece]
                await connection.send(chunk(piece) if cut.chunked else piece)
            if len(sent) == len(promised):
                await connection.send(chunk(b"") if cut.chunked else b"")
                await connection.head()
            else:
                connection.hang_up()


def test_an_upload_survives_any_cuts(places: Settings) -> None:
    # One loop and two nodes for all examples: what is tried is the upload, not the start.
    with asyncio.Runner() as runner:
        nodes = contextlib.AsyncExitStack()
        services = [runner.run(nodes.enter_async_context(running(places))) for _ in range(2)]
        try:

            @settings(
                max_examples=40,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(cuts=strategies.lists(CUTS, max_size=10), size=strategies.integers(0, SIZE))
            def survives(cuts: list[Cut], size: int) -> None:
                runner.run(survive(services, cuts, size))

            survives()
            runner.run(until(lambda: not staged_files(places)))
        finally:
            runner.run(nodes.aclose())


async def survive(services: list[Service], cuts: list[Cut], size: int) -> None:
    content = CONTENT[:size]
    async with speaking(services[0].url) as a, speaking(services[1].url) as b:
        path = await a.begin(size)
        offset = 0
        for cut in cuts:
            await send_cut(services[cut.node], path, offset, content[offset:], cut)
            before, offset = offset, await (a, b)[1 - cut.node].offset(path)
            assert before <= offset <= size
        while offset < size:
            # A request that was cut may be heard of only now: then there is less to come.
            assert (await a.patch(path, offset, content[offset:])).status_code in {204, 409}
            before, offset = offset, await a.offset(path)
            assert before < offset
        assert await b.content_of(path) == content
        assert await a.object_of(path) == await b.object_of(path)


# A node that is killed


async def test_what_a_killed_node_said_is_on_the_disk(
    settings: Settings, own_environment: dict[str, str], service: Service
) -> None:
    content = secrets.token_bytes(40_000_000)
    async with speaking(service.url) as here:
        path = await here.begin(len(content))
        async with node_of_its_own(settings, own_environment) as node:
            async with speaking(node.url) as there:
                await there.sent(path, 0, content[:1_000_000])
            at = httpx.URL(node.url)
            async with connected(Service(at.host, at.port or 0, settings)) as connection:
                await connection.send(patch_head(path, 1_000_000, f"Content-Length: {len(content) - 1_000_000}"))
                await connection.send(content[1_000_000:30_000_000])
                await until(lambda: any(file.stat().st_size > 20_000_000 for file in staged_files(settings)))
                await node.end(signal.SIGKILL)
        [file] = staged_files(settings)
        on_disk = file.read_bytes()
        offset = await here.offset(path)
        assert 1_000_000 <= offset <= len(on_disk)
        assert on_disk[:offset] == content[:offset]
        await here.sent(path, offset, content[offset:])
        assert await here.content_of(path) == content
    await until(lambda: not staged_files(settings))


# Storage that fails


async def test_a_full_storage_loses_nothing_that_was_acknowledged(
    settings: Settings, own_environment: dict[str, str], service: Service
) -> None:
    async with (
        node_of_its_own(settings, own_environment, "1200000") as node,
        speaking(service.url) as roomy,
        speaking(node.url) as full,
    ):
        path = await full.begin(SIZE)
        await full.sent(path, 0, CONTENT[:300_000])
        for headers in ({}, checksum(CONTENT[300_000:])):
            answer = await full.patch(path, 300_000, CONTENT[300_000:], headers)
            assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
            assert await full.offset(path) == 300_000
        await full.sent(path, 300_000, CONTENT[300_000:400_000])
        await roomy.sent(path, 400_000, CONTENT[400_000:])
        assert await roomy.content_of(path) == CONTENT
    assert not staged_files(settings)


@pytest.mark.parametrize("error", [StorageFull(), StorageUnavailable()])
@pytest.mark.parametrize("writes", range(4))
async def test_a_write_that_fails_is_made_up_for(
    settings: Settings, database_url: str, error: DrsServiceError, writes: int
) -> None:
    driver = LocalDriver(store(settings))
    async with open_database(database_url, name="test", size=4, statement_cache=0) as database:
        failing, well = (resuming(database, one) for one in (FailAfter(driver, writes, error), driver))
        wanted = Wanted(name=file_name("a.bam"), media_type="text/plain", size=SIZE)
        upload = await well.create(ANONYMOUS, wanted)
        with pytest.raises(type(error)):
            await failing.send(upload.id, sending(0))
        offset = (await failing.settle(upload.id)).received
        assert offset == 0
        done = await well.send(upload.id, sending(offset))
        assert done.object_id is not None
        assert blob_file(settings, CONTENT).read_bytes() == CONTENT
        assert not staged_files(settings)
    await driver.close()


def resuming(database: Database, driver: BlobDriver) -> Resuming:
    store, lifetime, turns = BlobStore(driver, place="primary", max_bytes=SIZE), timedelta(hours=1), Turns(database)
    holding = Holding(database, store, turns, lifetime=lifetime)
    return Resuming(
        database,
        store,
        Registering(database, Checksumming(database, store, ()), max_entries=1, verify_external=False),
        holding,
        Finishing(database, store, holding, lifetime=lifetime, at_once=SIZE),
        turns,
        lifetime=lifetime,
    )


def sending(offset: int) -> Sending:
    async def source() -> AsyncIterator[bytes]:
        for start in range(offset, SIZE, 100_000):
            yield CONTENT[start : start + 100_000]

    return Sending(source=source(), interruption=Interruption(), offset=offset)


# Postgres that goes away


async def cut_off(settings: Settings) -> None:
    """End every connection to the database but our own."""
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
    assert settings.database_url is not None
    connection = await asyncpg.connect(settings.database_url.reveal())
    try:
        await connection.fetch(sql, connection.get_server_pid())
    finally:
        await connection.close()


async def test_a_database_that_cuts_everybody_off_costs_nothing(service: Service) -> None:
    async with speaking(service.url) as tus:
        path = await tus.begin(SIZE)
        offset = 0
        for end in (500_000, 1_000_000, 1_500_000, SIZE):

            async def pieces(start: int = offset, end: int = end) -> AsyncIterator[bytes]:
                yield CONTENT[start : end - 1]
                await cut_off(service.settings)
                yield CONTENT[end - 1 : end]

            assert (await tus.patch(path, offset, pieces())).status_code in {204, 503}
            offset = await settled(tus, path)
            assert offset <= end
        if offset < SIZE:
            await tus.sent(path, offset, CONTENT[offset:])
        assert await tus.content_of(path) == CONTENT
    [row] = await query(service.settings, "SELECT count(*) FROM objects")
    assert row["count"] == 1
    assert not staged_files(service.settings)


async def settled(tus: Tus, path: str) -> int:
    """The offset, as soon as there is a database again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await tus.head(path)
            if answer.status_code == 200:
                return int(answer.headers["upload-offset"])
            assert answer.status_code == 503


LOCKED = "LOCK TABLE objects IN ACCESS EXCLUSIVE MODE"


async def test_who_is_told_that_all_bytes_are_here_finds_an_object(service: Service) -> None:
    """The database goes away between the last byte and the object."""
    assert service.settings.database_url is not None
    async with speaking(service.url) as tus:
        path = await tus.begin(SIZE)
        blocker = await asyncpg.connect(service.settings.database_url.reveal())
        try:
            async with blocker.transaction():
                await blocker.execute(LOCKED)
                sending = asyncio.create_task(tus.patch(path, 0, CONTENT))
                waiting = (
                    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
                async with asyncio.timeout(PATIENCE):
                    while not (rows := await query(service.settings, waiting)):
                        await asyncio.sleep(0)
                await query(service.settings, "SELECT pg_terminate_backend($1)", rows[0]["pid"])
                assert (await sending).status_code == 503
        finally:
            await blocker.close()
        assert await settled(tus, path) == SIZE
        assert await tus.content_of(path) == CONTENT
    assert not staged_files(service.settings)


# What is forgotten


async def test_what_expired_goes_with_its_bytes_and_what_lives_stays(service: Service) -> None:
    assert service.settings.database_url is not None
    async with (
        speaking(service.url) as tus,
        open_database(service.settings.database_url.reveal(), name="test", size=2, statement_cache=0) as database,
    ):
        blobs = BlobStore(LocalDriver(store(service.settings)), place="primary", max_bytes=SIZE)
        sweep, tidying = Sweep(database, blobs), Tidying(database, blobs)
        expired, orphaned, living = [await tus.begin(SIZE) for _ in range(3)]
        for path in (expired, orphaned, living):
            await tus.sent(path, 0, CONTENT[:1000])
        assert len(staged_files(service.settings)) == 3
        await query(service.settings, "UPDATE uploads SET expires_at = now() WHERE id = $1", name(expired))
        await query(service.settings, "DELETE FROM uploads WHERE id = $1", name(orphaned))
        await tidying.run()
        assert len(staged_files(service.settings)) == 2
        assert [row["id"] for row in await query(service.settings, "SELECT id FROM uploads")] == [name(living)]
        now = datetime.now(UTC)
        assert (await sweep.run(before=now - timedelta(hours=1))).unfinished == 0
        assert (await sweep.run(before=now + timedelta(hours=1))).unfinished == 1
        assert len(staged_files(service.settings)) == 1
        await tus.sent(living, 1000, CONTENT[1000:])
        assert await tus.content_of(living) == CONTENT
        assert (await tus.client.head(expired, headers=VERSION)).status_code == 410
        await blobs.close()


def name(path: str) -> str:
    return path.rpartition("/")[2]
