"""Resumable uploads to a node whose storage fails, or hangs, and gets well again."""

import asyncio
import errno
import random
import secrets
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest

from drs_service.blobs.local import LocalDriver
from drs_service.settings import Settings
from tests.api.traces import nothing_stored, staged_files, store
from tests.support.aftermath import tidy_up
from tests.support.deadline import more_than, until
from tests.support.faults import Ailing
from tests.support.server import Service, running, storing_in
from tests.support.stubborn import WAYS, Stubborn
from tests.support.tus import Tus

SIZE = 2_000_003
HERE = 700_001  # bytes that have come before there is any trouble
CLIENTS = 12
LONG = 30.0  # seconds, on a machine that has other things to do

FAILURES = pytest.mark.parametrize(
    ("number", "status", "code"),
    [(errno.ENOSPC, 507, "storage_full"), (errno.EDQUOT, 507, "storage_full"), (errno.EIO, 503, "storage_unavailable")],
)


@pytest.fixture
def storage(settings: Settings) -> Ailing:
    return Ailing(LocalDriver(store(settings)))


@pytest.fixture
async def ailing(settings: Settings, storage: Ailing) -> AsyncIterator[Service]:
    """A node beside the other one, on the same database and files."""
    async with running(settings, storing_in(storage)) as service:
        yield service


@FAILURES
@pytest.mark.parametrize("verb", ["write", "sync"])
async def test_what_was_acknowledged_stays_while_the_storage_fails(
    service: Service, ailing: Service, storage: Ailing, verb: str, number: int, status: int, code: str
) -> None:
    content = secrets.token_bytes(SIZE)
    async with (
        httpx.AsyncClient(base_url=ailing.url, timeout=20) as client,
        httpx.AsyncClient(base_url=service.url, timeout=20) as other,
    ):
        there, here = Tus(client), Tus(other)
        path = await there.begin(SIZE)
        await there.sent(path, 0, content[:HERE])
        storage.troubles = {verb: number}
        for _ in range(3):
            assert_refused(await there.patch(path, HERE, content[HERE:]), status, code)
            assert await there.offset(path) == await here.offset(path) == HERE
        storage.troubles = {}
        await there.sent(path, HERE, content[HERE:])
        assert await here.content_of(path) == content
    assert not staged_files(service.settings)


@FAILURES
async def test_all_bytes_stay_when_they_cannot_be_published(
    service: Service, ailing: Service, storage: Ailing, number: int, status: int, code: str
) -> None:
    content = secrets.token_bytes(SIZE)
    async with (
        httpx.AsyncClient(base_url=ailing.url, timeout=20) as client,
        httpx.AsyncClient(base_url=service.url, timeout=20) as other,
    ):
        there, here = Tus(client), Tus(other)
        path, another = await there.begin(SIZE), await there.begin(SIZE)
        storage.troubles = {"publish": number}
        assert_refused(await there.patch(path, 0, content), status, code)
        assert_refused(await there.patch(another, 0, content[::-1]), status, code)
        # Who is told that all bytes are here finds an object: so nobody is told.
        assert (await there.head(path)).status_code == status
        assert await here.offset(another) == SIZE  # where the storage is well it becomes one
        storage.troubles = {}
        assert await there.offset(path) == SIZE
        assert await here.content_of(path) == content
        assert await here.content_of(another) == content[::-1]
    assert not staged_files(service.settings)


@FAILURES
@pytest.mark.parametrize("verb", ["write", "publish"])
async def test_a_file_that_storage_refuses_leaves_nothing(
    service: Service, ailing: Service, storage: Ailing, verb: str, number: int, status: int, code: str
) -> None:
    storage.troubles = {verb: number}
    async with httpx.AsyncClient(base_url=ailing.url, timeout=20) as client, nothing_stored(ailing.settings):
        assert_refused(await client.put("/upload/a.bam", content=secrets.token_bytes(SIZE)), status, code)


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert int(answer.headers["retry-after"]) > 0


async def test_nobody_loses_anything_to_a_storage_that_fails_and_hangs(
    service: Service, ailing: Service, storage: Ailing
) -> None:
    """Clients go on sending for as long as it lasts, to both nodes."""
    over = asyncio.Event()
    kept: dict[str, bytes] = {}
    # Who gets no answer hangs up, and comes back.
    async with httpx.AsyncClient(timeout=httpx.Timeout(20, read=1), limits=httpx.Limits()) as client:
        one = Stubborn(client, [service.url, ailing.url], random.Random(1), cuts=0.1)

        async def sending(number: int) -> None:
            while not over.is_set():
                content = one.random.randbytes(one.random.randrange(SIZE))
                kept[await WAYS[number % len(WAYS)](one, content)] = content

        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(sending(number))
            for verb, trouble, status in (
                ("write", errno.ENOSPC, 507),
                ("sync", errno.EIO, 503),
                ("publish", errno.EIO, 503),
                ("publish", errno.ENOSPC, 507),
                ("write", errno.EIO, 503),
            ):
                storage.troubles = {verb: trouble}
                await until(more_than(5, partial(one.answered.__getitem__, status)), within=LONG)
                storage.troubles = {}
                storage.stall()
                await until(lambda: storage.stalled >= 3)
                await until(more_than(3, partial(one.answered.__getitem__, 0)), within=LONG)
                storage.flow()
                await until(more_than(CLIENTS, kept.__len__), within=LONG)
            over.set()
        assert one.answered.keys() <= {0, 200, 201, 204, 409, 423, 503, 507}
        await tidy_up(service.settings)
        assert not staged_files(service.settings)
        for path, content in kept.items():
            assert await one.content_of(path) == content
