"""Bytes that change by themselves are found, are read by nobody, and are made good again; the operator hears of it."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest

from drs_service.db import replicas
from drs_service.domain.digest import Digest
from drs_service.errors import StorageUnavailable, Unavailable
from drs_service.jobs import running
from drs_service.jobs.kinds import Scrub, VerifyBlob, enqueue, enqueue_once
from drs_service.outgoing.http import open_http
from drs_service.settings import Secret, Settings
from drs_service.usecases.alerting import Alerting, Message
from drs_service.usecases.reading import Reading
from drs_service.usecases.scrubbing import Pace, Scrubbing
from tests.api.schemas import assert_refused
from tests.api.test_metrics import scraped
from tests.api.traces import until_known
from tests.places.conftest import Parts, flip, is_good
from tests.places.test_replicating import eventually_copied
from tests.support.deadline import once, until
from tests.support.rows import digest_of_bytes
from tests.support.serve import PATIENCE
from tests.worker.test_worker import worker
from worker.tasks.scrub import scrub
from worker.tasks.verify_blob import verify_blob

CONTENT = secrets.token_bytes(3_000_000)
DIGEST = digest_of_bytes(CONTENT)
MONTH = timedelta(days=30)
SOON = timedelta(milliseconds=50)


def scrubbing(parts: Parts, rate: float = 1e12) -> Scrubbing:
    return Scrubbing(parts.database, parts.places, parts.reading, MONTH, Pace(rate))


async def make_due(parts: Parts) -> None:
    """As if two months were over."""
    async with parts.database.transaction() as connection:
        await connection.execute("UPDATE replicas SET verified_at = now() - interval '60 days'")


@pytest.fixture
async def digest(parts: Parts) -> Digest:
    """A blob that is also in the mirror, and whose copies are due."""
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    async with parts.database.transaction() as connection:
        await connection.execute("DELETE FROM pgqueuer")
    await make_due(parts)
    return digest


async def test_a_copy_that_is_right_is_due_again_in_a_month(parts: Parts, digest: Digest) -> None:
    await scrubbing(parts).take_up()
    assert await parts.jobs("verify_blob") == 2
    await scrubbing(parts).verify(digest, "mirror")
    copies = await parts.copies(digest)
    assert datetime.now(UTC) - copies["mirror"].verified < timedelta(minutes=1)
    async with parts.database.connection() as connection:
        names = parts.places.names
        assert await replicas.due(connection, names, older_than=MONTH, limit=10) == [("primary", digest)]


async def test_a_new_copy_is_not_due(parts: Parts) -> None:
    await parts.keep(CONTENT)
    await scrubbing(parts).take_up()
    assert await parts.jobs("verify_blob") == 0


async def test_nothing_is_due_while_scrubbing_is_off(parts: Parts, digest: Digest) -> None:
    off = Scrubbing(parts.database, parts.places, parts.reading, None, Pace(1))
    await off.take_up()
    assert await parts.jobs("verify_blob") == 0


@pytest.mark.parametrize("harm", ["flip", "cut", "unlink", "longer"])
async def test_what_is_wrong_with_a_copy_is_found(parts: Parts, digest: Digest, harm: str) -> None:
    path = parts.file("mirror", digest)
    path.chmod(0o600)
    match harm:
        case "flip":
            flip(path)
        case "cut":
            path.write_bytes(CONTENT[:-1])
        case "longer":
            path.write_bytes(CONTENT + b"a")
        case _:
            path.unlink()
    await scrubbing(parts).verify(digest, "mirror")
    copies = await parts.copies(digest)
    assert (copies["mirror"].damage is None, copies["primary"].damage) == (False, None)
    assert await parts.jobs() == 1
    await parts.replicating.replicate(digest, "mirror")
    assert is_good(path, digest)
    assert (await parts.copies(digest))["mirror"].damage is None


async def test_a_place_that_is_away_has_no_bad_copies(parts: Parts, digest: Digest) -> None:
    (parts.root / "mirror").rename(parts.root / "away")
    (parts.root / "mirror").mkdir()
    with pytest.raises(StorageUnavailable):
        await scrubbing(parts).verify(digest, "mirror")
    assert (await parts.copies(digest))["mirror"].damage is None
    await scrubbing(parts).take_up()
    assert await parts.jobs("verify_blob") == 1  # in the primary: of the other one each would be given up


async def test_only_so_many_wait_to_be_read(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drs_service.usecases.scrubbing.MOST_QUEUED", 3)
    digests = [await parts.keep(b"%d" % number) for number in range(5)]
    for digest in digests:
        await parts.replicating.replicate(digest, "mirror")
    await make_due(parts)
    for _ in range(2):
        await scrubbing(parts).take_up()
        assert await parts.jobs("verify_blob") == 3
    assert await parts.jobs("scrub") == 1


async def test_all_that_is_due_is_read_in_one_go_and_that_of_each_place(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drs_service.usecases.scrubbing.MOST_QUEUED", 2)
    monkeypatch.setattr("drs_service.usecases.scrubbing.AGAIN", timedelta(0))
    for number in range(5):
        await parts.replicating.replicate(await parts.keep(b"%d" % number), "mirror")
    await make_due(parts)
    async with parts.database.transaction() as connection:
        await connection.execute("DELETE FROM pgqueuer")
        await enqueue_once(connection, Scrub())
    stop = asyncio.Event()
    task = scrub(scrubbing(parts))
    verify = verify_blob(scrubbing(parts))
    async with asyncio.TaskGroup() as group:
        group.create_task(
            running.run(parts.database, {Scrub: task, VerifyBlob: verify}, {}, shutdown=stop, grace=5, poll=SOON)
        )
        try:
            await once(bool, lambda: nothing_is_due(parts))
        finally:
            stop.set()


async def nothing_is_due(parts: Parts) -> bool:
    async with parts.database.connection() as connection:
        return not await replicas.due(connection, parts.places.names, older_than=MONTH, limit=1)


async def test_copies_are_read_no_faster_than_is_allowed(parts: Parts, digest: Digest) -> None:
    began = time.monotonic()
    slow = scrubbing(parts, rate=len(CONTENT))
    await asyncio.gather(slow.verify(digest, "mirror"), slow.verify(digest, "primary"))
    assert 1.9 < time.monotonic() - began < 4


async def test_a_flipped_bit_of_the_only_copy_is_told_to_readers_and_to_the_operator(
    client: httpx.AsyncClient, parts: Parts
) -> None:
    kept = (await client.put("/upload/a.bin", content=CONTENT)).raise_for_status().json()
    assert (await client.get(f"/data/{kept['id']}")).content == CONTENT
    flip(parts.file("primary", DIGEST))
    await make_due(parts)
    async with listening() as hook:
        await scrubbing(parts).verify(DIGEST, "primary")
        await until_known(lambda: is_refused(client, kept["id"]))
        assert_refused(await client.get(f"/data/{kept['id']}"), 502, "blob_corrupt")
        figures = await scraped(client)
        assert figures.sum("drs_replicas_damaged", place="primary") == 1
        assert figures.sum("drs_replicas_damaged", place="mirror") == 0
        assert figures.sum("drs_blobs_damaged") == 1
        async with open_http() as http:
            await Alerting(parts.database, http, hook.url, service="org.example").tell()
        assert len(hook.messages) == 1
        [example] = hook.messages[0].examples
        assert (hook.messages[0].damaged, hook.messages[0].lost) == ({"primary": 1}, 1)
        assert (example.digest, example.place) == (DIGEST.hex, "primary")
    # Whoever sends the bytes again heals them.
    await client.put("/upload/b.bin", content=CONTENT)
    await until_known(lambda: is_whole(client, kept["id"]))
    assert (await scraped(client)).sum("drs_blobs_damaged") == 0


async def is_refused(client: httpx.AsyncClient, object_id: str) -> bool:
    return (await client.get(f"/data/{object_id}")).status_code == 502


async def is_whole(client: httpx.AsyncClient, object_id: str) -> bool:
    return (await client.get(f"/data/{object_id}")).content == CONTENT


async def test_a_worker_scrubs_heals_and_tells(
    parts: Parts, digest: Digest, settings: Settings, own_environment: dict[str, str]
) -> None:
    path = parts.file("mirror", digest)
    flip(path)
    async with parts.database.transaction() as connection:
        await enqueue(connection, Scrub())
    async with listening() as hook:
        hooked = replace(settings, alert_webhook=Secret(hook.url))
        with worker(hooked, own_environment):
            await until(lambda: is_good(path, digest), within=PATIENCE)
            await eventually_copied(parts, digest, "mirror")
            async with asyncio.timeout(PATIENCE):
                while not await parts.jobs("alert"):
                    await asyncio.sleep(0.02)
    assert (await parts.copies(digest))["primary"].damage is None


async def test_many_bad_copies_are_one_message(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drs_service.usecases.alerting.GATHER", timedelta(0))
    reading = Reading(parts.database, parts.places, alerts=True)
    for number in range(3):
        await reading.damaged(await parts.keep(b"%d" % number), parts.store, "it was seen")
    assert await parts.jobs("alert") == 1


async def test_an_answer_that_is_no_success_is_tried_again_and_tells_no_secret(parts: Parts) -> None:
    await parts.reading.damaged(await parts.keep(CONTENT), parts.store, "it was seen")
    async with listening(status=500) as hook, open_http() as http:
        with pytest.raises(Unavailable) as caught:
            await Alerting(parts.database, http, hook.url, service="org.example").tell()
    assert "hunter2" not in str(caught.value)


async def test_nothing_is_told_when_all_is_healed_by_then(parts: Parts) -> None:
    async with listening() as hook, open_http() as http:
        await Alerting(parts.database, http, hook.url, service="org.example").tell()
        assert hook.messages == []


@dataclass
class Hook:
    url: str
    messages: list[Message] = field(default_factory=list)


@asynccontextmanager
async def listening(status: int = 204) -> AsyncIterator[Hook]:
    """Somebody who is told."""
    hook = Hook("")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("post /hunter2 ")
        assert "content-type: application/json" in head
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        hook.messages.append(decoded(await reader.readexactly(length)))
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        hook.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hunter2"
        yield hook


def decoded(body: bytes) -> Message:
    assert json.loads(body)["event"] == "replicas_damaged"
    return msgspec.json.decode(body, type=Message)
