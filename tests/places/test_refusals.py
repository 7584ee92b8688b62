"""A bucket that refuses: by the moment, by the clock, or for good."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from drs_service.blobs.keys import KEPT_PROBE
from drs_service.domain.replication import parse_rules
from drs_service.errors import StorageUnavailable
from drs_service.jobs.kinds import ReplicateBlob, SweepOrphans, enqueue
from drs_service.jobs.listing import Listed, State, page
from drs_service.settings import Settings
from drs_service.usecases.placekeeping import Placekeeping
from drs_service.usecases.replicating import Replicating
from tests.api.schemas import assert_refused
from tests.places.conftest import Parts, opened
from tests.support.bucket import Bucket
from tests.support.deadline import once
from tests.support.frozen import SOON, working
from tests.support.moody import Moody, moody
from tests.support.rows import incoming
from tests.support.s3 import S3Server
from tests.support.server import Service
from tests.support.stubborn import WAYS, Stubborn
from worker.tasks.replicate_blob import replicate_blob
from worker.tasks.sweep_orphans import sweep_orphans

SIZE = 300_000
LONG = 9 * 1024**2  # more than fits in one part
LATER = datetime(2999, 1, 1, tzinfo=UTC)
FILES = 6
MOST_ATTEMPTS = 4  # at one request


@pytest.fixture
async def front(s3: S3Server) -> AsyncIterator[Moody]:
    async with moody(s3) as front:
        yield front


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def settings(settings: Settings, bucket: Bucket, front: Moody) -> Settings:
    """The primary is the bucket; the mirror is on disk."""
    told = bucket.settings(replace(settings, places=(settings.places[0],)))
    return replace(told, s3_endpoint_url=front.url)


async def test_a_bucket_that_is_asked_too_much_loses_nothing_and_no_job(
    service: Service, parts: Parts, front: Moody
) -> None:
    chance = random.Random(1)
    kept: dict[str, bytes] = {}
    front.refuses = lambda _: chance.random() < 0.3
    reading = parts.reading
    replicating = Replicating(parts.database, parts.places, reading, parse_rules(parts.settings.replicas))
    task = replace(replicate_blob(replicating), first_delay=SOON)
    async with httpx.AsyncClient(timeout=20) as client, working(parts.database, {ReplicateBlob: task}):
        one = Stubborn(client, [service.url], random.Random(1))

        async def keep(number: int) -> None:
            content = secrets.token_bytes(SIZE)
            kept[await WAYS[-(number % 2)](one, content)] = content

        await asyncio.gather(*map(keep, range(FILES)))
        for path, content in kept.items():
            assert await one.content_of(path) == content
        async with asyncio.timeout(20):
            while await parts.jobs():
                await asyncio.sleep(0.02)
    assert len(kept) == FILES < front.refused.total()
    assert one.answered.keys() <= {200, 201, 204, 409, 423, 503}
    async with parts.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM pgqueuer") == 0
        assert await connection.fetchval("SELECT count(*) FROM replicas WHERE place = 'mirror'") == FILES
        assert await connection.fetchval("SELECT count(*) FROM replicas WHERE damage IS NOT NULL") == 0


async def test_a_bucket_that_is_always_asked_too_much_is_not_asked_for_ever(
    client: httpx.AsyncClient, front: Moody
) -> None:
    front.refuses = lambda request: "/sha256/" in request.path or "/staging/" in request.path
    answer = await client.put("/upload/a.bin", content=secrets.token_bytes(SIZE))
    assert_refused(answer, 503, "storage_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert 0 < max(front.refused.values()) <= MOST_ATTEMPTS


async def test_a_clock_that_is_wrong_is_told(client: httpx.AsyncClient, front: Moody) -> None:
    front.refusal = 403, "RequestTimeTooSkewed"
    front.refuses = lambda _: True
    answer = await client.put("/upload/a.bin", content=b"content")
    assert_refused(answer, 503, "storage_unavailable")
    assert "the clock of this machine is not that of the storage" in answer.json()["msg"]
    storage = (await client.get("/readyz")).json()["parts"]["storage"]
    assert "the clock of this machine is not that of the storage" in storage


def refuse_deletes(front: Moody) -> None:
    front.refusal = 403, "AccessDenied"
    front.refuses = lambda request: request.method == "DELETE"


async def test_where_nothing_may_be_deleted_all_else_works_and_nothing_is_half_done(
    client: httpx.AsyncClient, parts: Parts, front: Moody, bucket: Bucket
) -> None:
    refuse_deletes(front)
    short, long = secrets.token_bytes(SIZE), secrets.token_bytes(LONG)
    [first, second] = [(await client.put("/upload/a.bin", content=one)).raise_for_status() for one in (short, long)]
    assert (await client.put(f"/ga4gh/drs/v1/objects/{first.json()['id']}/delete", json={})).is_success
    task = replace(sweep_orphans(parts.sweep, grace=timedelta()), first_delay=SOON)
    async with parts.database.transaction() as connection:
        await connection.execute("DELETE FROM pgqueuer")
        await enqueue(connection, SweepOrphans(before=LATER))
    async with working(parts.database, {SweepOrphans: task}):
        [dead] = await once(lambda jobs: jobs[0].state is State.DEAD, lambda: all_jobs(parts))
    assert dead.error is not None and dead.attempts == task.attempts + 1
    said = "primary did not delete a blob. The storage refuses what it is asked: AccessDenied. (An error occurred"
    assert dead.error.message.startswith(said)
    assert len(bucket.blobs()) == 2
    [primary, _] = await Placekeeping(parts.database, parts.places, ()).status()
    assert (primary.copies, primary.state[-13:]) == (2, "AccessDenied.")
    again = (await client.put("/upload/a.bin", content=short)).raise_for_status()
    for one, content in ((again, short), (second, long)):
        assert (await client.get(f"/data/{one.json()['id']}")).content == content
    assert (await client.put(f"/ga4gh/drs/v1/objects/{again.json()['id']}/delete", json={})).is_success
    front.refuses = lambda _: False
    await parts.sweep.run(before=LATER)
    assert len(bucket.blobs()) == 1


async def test_a_place_where_nothing_may_be_deleted_is_ready_and_gathers_nothing(
    client: httpx.AsyncClient, parts: Parts, front: Moody, bucket: Bucket
) -> None:
    assert (await client.get("/readyz")).json()["parts"]["storage"] == "ok"
    refuse_deletes(front)
    for _ in range(3):
        answer = await client.get("/readyz")
        refusal = await parts.store.probe()
        assert refusal == answer.json()["parts"]["storage"]
        assert (answer.status_code, answer.json()["status"], refusal) == (
            *(200, "ready"),
            "nothing can be deleted: The storage refuses what it is asked: AccessDenied.",
        )
    left = bucket.keys("probe/")
    assert len(left) == 2 and KEPT_PROBE in left
    front.refuses = lambda request: request.method in {"DELETE", "PUT"}
    assert_refused(await client.put("/upload/a.bin", content=b"content"), 503, "storage_unavailable")
    assert (await client.get("/readyz")).status_code == 503
    front.refuses = lambda _: False
    assert await parts.store.probe() is None
    assert (await client.get("/readyz")).json()["parts"]["storage"] == "ok"
    assert bucket.keys("probe/") == []


async def test_one_file_that_may_not_be_deleted_keeps_no_other_from_going(
    parts: Parts, front: Moody, bucket: Bucket
) -> None:
    mirror = parts.places.get("mirror")
    assert mirror is not None
    for store in (parts.store, parts.store, mirror):
        async with store.receive(incoming(secrets.token_bytes(SIZE)).source) as arrival:
            await arrival.keep()
    locked = min(bucket.blobs())
    front.refusal = 403, "AccessDenied"
    front.refuses = lambda request: request.method == "DELETE" and request.path.endswith(locked)
    with pytest.raises(StorageUnavailable, match="primary did not delete"):
        await parts.sweep.run(before=LATER)
    assert bucket.blobs() == [locked]
    assert [stored async for stored in mirror.enumerate()] == []


async def test_the_sweep_names_the_place_that_does_not_let_us_look(settings: Settings, tmp_path: Path) -> None:
    gone = f"gone=s3://no-such-bucket-{secrets.token_hex(8)}"
    async with opened(replace(settings, places=(gone, *settings.places)), tmp_path) as parts:
        with pytest.raises(StorageUnavailable, match=r"^gone cannot be swept\. .* NoSuchBucket"):
            await parts.sweep.run(before=LATER)


async def test_a_place_where_nothing_may_be_deleted_is_not_emptied(
    settings: Settings, tmp_path: Path, front: Moody
) -> None:
    turned = replace(
        settings,
        storage_name="mirror",
        storage_url=settings.places[0].partition("=")[2],
        places=(f"primary={settings.storage_url}",),
        replicas="primary",
    )
    async with opened(turned, tmp_path) as parts:
        digest = await parts.keep(b"content")
        await parts.replicating.replicate(digest, "primary")
        await parts.draining.begin("primary")
        refuse_deletes(front)
        with pytest.raises(StorageUnavailable, match="primary did not delete"):
            await parts.draining.move(digest, "primary")
        assert (await parts.copies(digest)).keys() == {"mirror", "primary"}
        front.refuses = lambda _: False
        await parts.draining.move(digest, "primary")
        assert (await parts.copies(digest)).keys() == {"mirror"}


async def all_jobs(parts: Parts) -> list[Listed]:
    async with parts.database.connection() as connection:
        return await page(connection, state=None, kind=None, after=0, limit=10)
