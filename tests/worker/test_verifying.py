"""What is registered elsewhere is looked at by a worker, and is what it was said to be before anybody reads it."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from drs_service.db.pool import open_database
from drs_service.domain.addresses import network
from drs_service.jobs import running
from drs_service.jobs.kinds import Job, VerifyExternal, enqueue
from drs_service.jobs.tasks import Task
from drs_service.outgoing.http import open_strangers_http
from drs_service.settings import Settings
from drs_service.usecases.verifying import Verifying
from tests.api.traces import query
from tests.support import server
from tests.support.elsewhere import Elsewhere, Held, cut, elsewhere, failing, redirect
from tests.support.registries import drip, flood, never
from tests.worker.test_worker import database, worker
from worker.tasks.verify_external import verify_external

DRS = "/ga4gh/drs/v1"
CONTENT = secrets.token_bytes(5_000_001)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
HERE = "127.0.0.1"
Json = dict[str, Any]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, verify_external=True, verify_external_hosts=(HERE,))


@pytest.fixture
async def there() -> AsyncIterator[Elsewhere]:
    async with elsewhere() as there:
        there.kept["/file"] = CONTENT
        there.kept["/other"] = b"x" * len(CONTENT)
        yield there


@asynccontextmanager
async def working(settings: Settings, *, attempts: int = 8, idle_seconds: float = 5) -> AsyncIterator[None]:
    """A worker in this process, with less patience than that of a service."""
    assert settings.database_url is not None
    shutdown = asyncio.Event()
    url = settings.database_url.reveal()
    async with (
        open_database(url, name="worker", size=6, statement_cache=10) as db,
        open_strangers_http(also=[network(HERE)], idle_seconds=idle_seconds) as http,
    ):
        tasks: Mapping[type[Job], Task] = {
            VerifyExternal: verify_external(
                Verifying(db, http), attempts=attempts, first_delay=timedelta(milliseconds=10)
            )
        }
        poll = timedelta(milliseconds=50)
        run = asyncio.create_task(running.run(db, tasks, {}, shutdown=shutdown, grace=0.1, poll=poll))
        try:
            yield
        finally:
            shutdown.set()
            await run


def https(url: str, **more: Any) -> Json:
    return {"type": "https", "access_url": {"url": url, **more}}


def md5(value: str = MD5) -> Json:
    return {"type": "md5", "checksum": value}


async def register(client: httpx.AsyncClient, *ways: Json, size: int = len(CONTENT), **checksums: str) -> str:
    stated = [{"type": name, "checksum": value} for name, value in (checksums or {"md5": MD5}).items()]
    candidate = {"size": size, "checksums": stated, "access_methods": ways, "name": "reads.bam"}
    answer = await client.post(f"{DRS}/objects/register", json={"candidates": [candidate]})
    assert answer.status_code == 201, answer.text
    object_id: str = answer.json()["objects"][0]["id"]
    return object_id


async def replaced(client: httpx.AsyncClient, object_id: str, *ways: Json) -> None:
    answer = await client.put(f"{DRS}/objects/{object_id}/access-methods", json={"access_methods": ways})
    assert answer.status_code == 200, answer.text


async def get(client: httpx.AsyncClient, object_id: str) -> httpx.Response:
    return await client.get(f"{DRS}/objects/{object_id}")


async def settled(client: httpx.AsyncClient, object_id: str) -> httpx.Response:
    """What is answered once nobody looks at the bytes any more."""
    async with asyncio.timeout(50):
        while (answer := await get(client, object_id)).status_code == 202:
            await asyncio.sleep(0.02)
    return answer


async def done(settings: Settings, *, but: int = 0) -> None:
    """Wait until there is no job, or no more than that."""
    async with asyncio.timeout(50), database(settings) as db, db.connection() as connection:
        while await connection.fetchval("SELECT count(*) FROM pgqueuer WHERE status <> 'failed'") > but:
            await asyncio.sleep(0.02)


def checksums(answer: httpx.Response) -> dict[str, str]:
    return {one["type"]: one["checksum"] for one in answer.json()["checksums"]}


def urls(answer: httpx.Response) -> list[str]:
    return [one["access_url"]["url"] for one in answer.json()["access_methods"]]


async def test_readers_wait_until_it_was_seen(
    settings: Settings, own_environment: dict[str, str], client: httpx.AsyncClient, there: Elsewhere
) -> None:
    object_id = await register(client, https(there.at("/file"), headers=["X-Key: stated"]))
    waiting = await get(client, object_id)
    assert (waiting.status_code, waiting.content) == (202, b"")
    assert int(waiting.headers["Retry-After"]) > 0
    bulk = (await client.post(f"{DRS}/objects", json={"bulk_object_ids": [object_id]})).json()
    assert bulk["unresolved_drs_objects"] == [{"error_code": 202, "object_ids": [object_id]}]
    assert (await client.get(f"{DRS}/objects")).json()["resolved_drs_object"] == []
    with worker(settings, own_environment):
        answer = await settled(client, object_id)
    assert answer.status_code == 200
    assert checksums(answer) == {"sha-256": SHA256, "md5": MD5}
    assert [request.headers["X-Key"] for request in there.asked] == ["stated"]
    bulk = (await client.post(f"{DRS}/objects", json={"bulk_object_ids": [object_id]})).json()
    assert bulk["unresolved_drs_objects"] == []


async def test_another_worker_finishes_what_a_killed_one_began(
    settings: Settings, own_environment: dict[str, str], client: httpx.AsyncClient, there: Elsewhere
) -> None:
    held = Held(CONTENT)
    there.kept["/file"] = held
    object_id = await register(client, https(there.at("/file")))
    with worker(settings, own_environment) as first:
        await asyncio.wait_for(held.began.wait(), 20)
        first.kill()
    assert (await get(client, object_id)).status_code == 202
    # As if its heartbeat had been silent for long.
    await query(settings, "UPDATE pgqueuer SET heartbeat = now() - interval '1 hour'")
    held.let_go.set()
    with worker(settings, own_environment):
        answer = await settled(client, object_id)
    assert (answer.status_code, checksums(answer)["sha-256"]) == (200, SHA256)
    assert there.paths == ["/file", "/file"]


@pytest.mark.parametrize(
    ("stated", "size", "finding"),
    [
        ({"md5": MD5}, len(CONTENT) - 1, f"has {len(CONTENT)} bytes, not {len(CONTENT) - 1} as stated"),
        ({"md5": MD5}, len(CONTENT) + 1, f"has {len(CONTENT)} bytes, not {len(CONTENT) + 1} as stated"),
        ({"md5": "0" * 32}, len(CONTENT), f"has the md5 {MD5}, not {'0' * 32} as stated"),
        ({"md5": MD5, "sha-256": "0" * 64}, len(CONTENT), f"has the sha-256 {SHA256}, not {'0' * 64} as stated"),
        ({"sha-512": "0" * 128}, len(CONTENT), "has the sha-512"),
        ({"crc32c": "0" * 8}, len(CONTENT), "has the crc32c"),
    ],
    ids=["shorter", "longer", "md5", "sha-256", "sha-512", "crc32c"],
)
async def test_what_is_not_as_stated_is_buried(
    settings: Settings,
    client: httpx.AsyncClient,
    there: Elsewhere,
    stated: dict[str, str],
    size: int,
    finding: str,
) -> None:
    object_id = await register(client, https(there.at("/file")), size=size, **stated)
    async with working(settings):
        answer = await settled(client, object_id)
    assert answer.status_code == 410
    assert f"Verification failed: {there.at('/file')} {finding}" in answer.json()["msg"]


async def test_what_never_ends_is_not_read_to_its_end(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    there.kept["/flood"], there.kept["/drip"] = flood, drip
    flooded = await register(client, https(there.at("/flood")))
    dripped = await register(client, https(there.at("/drip")), size=2)
    async with working(settings):
        assert f"more than the {len(CONTENT)} bytes" in (await settled(client, flooded)).json()["msg"]
        assert "more than the 2 bytes" in (await settled(client, dripped)).json()["msg"]


@pytest.mark.parametrize("said", [len(CONTENT), None])
async def test_bytes_that_break_off_are_fetched_again(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere, said: int | None
) -> None:
    broken = cut(CONTENT[:-1], said=said)
    there.kept["/file"] = broken
    object_id = await register(client, https(there.at("/file")))
    async with working(settings):
        async with asyncio.timeout(20):
            while len(there.asked) < 2:
                assert (await get(client, object_id)).status_code == 202
                await asyncio.sleep(0.01)
        there.kept["/file"] = CONTENT
        assert (await settled(client, object_id)).status_code == 200


async def test_what_fails_twice_and_then_not_is_verified(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    there.kept["/file"] = failing(2, CONTENT)
    object_id = await register(client, https(there.at("/file")))
    async with working(settings):
        answer = await settled(client, object_id)
    assert checksums(answer)["sha-256"] == SHA256
    assert len(there.asked) == 3


async def test_what_cannot_be_looked_at_can_be_read_in_the_end(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    """Stated, but not verified: no sha-256 is added."""
    there.kept["/down"], there.kept["/silent"] = failing(99, CONTENT, 503), never
    there.kept["/round"] = redirect("/round")
    found = [await register(client, https(there.at(path))) for path in ("/down", "/silent", "/round", "/nothing")]
    async with working(settings, attempts=2, idle_seconds=0.1):
        for object_id in found:
            answer = await settled(client, object_id)
            assert (answer.status_code, checksums(answer)) == (200, {"md5": MD5})
        await done(settings)
    assert [there.paths.count(path) for path in ("/down", "/silent", "/nothing")] == [3, 3, 3]


async def test_what_may_not_be_looked_at_can_be_read_at_once(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    there.kept["/inside"], there.kept["/locked"] = redirect("http://127.0.0.2/"), failing(99, CONTENT, 401)
    ways = [there.at("/inside"), there.at("/locked"), "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/"]
    found = [await register(client, https(way)) for way in ways]
    async with working(settings):
        for object_id in found:
            answer = await settled(client, object_id)
            assert (answer.status_code, checksums(answer)) == (200, {"md5": MD5})
        await done(settings)
    assert sorted(there.paths) == ["/inside", "/locked"]


async def test_a_name_for_this_machine_is_not_asked(
    settings: Settings, own_environment: dict[str, str], client: httpx.AsyncClient, there: Elsewhere
) -> None:
    object_id = await register(client, https(f"http://localhost:{there.port}/file"))
    with worker(replace(settings, verify_external_hosts=()), own_environment):
        answer = await settled(client, object_id)
    assert (answer.status_code, checksums(answer)) == (200, {"md5": MD5})
    assert there.asked == []


async def test_what_needs_credentials_is_not_waited_for(client: httpx.AsyncClient) -> None:
    ways: list[Json] = [
        {"type": "s3", "access_url": {"url": "s3://bucket/key"}},
        {"type": "globus", "access_url": {"url": "https://globus.example/x"}},
        https("https://archive.example/x") | {"available": False},
    ]
    object_id = await register(client, *ways)
    assert (await get(client, object_id)).status_code == 200


async def test_every_way_is_looked_at(settings: Settings, client: httpx.AsyncClient, there: Elsewhere) -> None:
    s3 = {"type": "s3", "access_url": {"url": "s3://bucket/key"}}
    there.kept["/late"] = failing(2, CONTENT)
    good = await register(client, s3, https(there.at("/late")), https(there.at("/file")))
    bad = await register(client, https(there.at("/file")), https(there.at("/other")))
    async with working(settings):
        assert (await settled(client, good)).status_code == 200
        assert "/other has the md5" in (await settled(client, bad)).json()["msg"]
        await done(settings)
        assert urls(await get(client, good)) == ["s3://bucket/key", there.at("/late"), there.at("/file")]
    assert there.paths.count("/late") == 3


async def test_a_mirror_takes_nothing_from_readers(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    held = Held(b"x" * len(CONTENT))
    there.kept["/mirror"], there.kept["/good"] = held, CONTENT
    object_id = await register(client, https(there.at("/file")))
    async with working(settings):
        await settled(client, object_id)
        await replaced(
            client, object_id, https(there.at("/file")), https(there.at("/mirror")), https(there.at("/good"))
        )
        await asyncio.wait_for(held.began.wait(), 20)
        assert (await get(client, object_id)).status_code == 200
        held.let_go.set()
        await done(settings)
        assert urls(await get(client, object_id)) == [there.at("/file"), there.at("/good")]
    assert there.paths.count("/file") == 1


async def test_where_nothing_that_was_seen_is_left_readers_wait(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    there.kept["/moved"] = CONTENT
    object_id = await register(client, https(there.at("/file")))
    async with working(settings):
        await settled(client, object_id)
    await replaced(client, object_id, https(there.at("/moved")))
    assert (await get(client, object_id)).status_code == 202
    await replaced(client, object_id, {"type": "s3", "access_url": {"url": "s3://bucket/key"}})
    assert (await get(client, object_id)).status_code == 200
    await replaced(client, object_id, https(there.at("/other")))
    async with working(settings):
        assert (await settled(client, object_id)).status_code == 410


@pytest.mark.parametrize("old", [CONTENT, b"x" * len(CONTENT)])
async def test_what_was_seen_counts_for_what_is_still_there(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere, old: bytes
) -> None:
    """The way is replaced while it is looked at: what it leads to, be it right or wrong, is nobody's business now."""
    before, after = Held(old), Held(CONTENT)
    there.kept["/before"], there.kept["/after"] = before, after
    object_id = await register(client, https(there.at("/before")))
    async with working(settings):
        await asyncio.wait_for(before.began.wait(), 20)
        await replaced(client, object_id, https(there.at("/after")))
        await asyncio.wait_for(after.began.wait(), 20)
        before.let_go.set()
        await done(settings, but=1)
        assert (await get(client, object_id)).status_code == 202
        after.let_go.set()
        answer = await settled(client, object_id)
        assert (answer.status_code, checksums(answer)["sha-256"]) == (200, SHA256)
        assert urls(answer) == [there.at("/after")]


async def test_mirrors_of_bytes_that_are_here_are_looked_at(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    uploaded = (await client.put("/upload/reads.bam", content=CONTENT)).json()["id"]
    async with working(settings):
        await replaced(client, uploaded, https(there.at("/file")), https(there.at("/other")))
        candidate = {
            "access_methods": [https(f"https://drs.example.org/data/{uploaded}"), https(there.at("/other"))],
            "name": "again.bam",
        }
        answer = await client.post(f"{DRS}/objects/register", json={"candidates": [candidate]})
        again = answer.json()["objects"][0]["id"]
        await done(settings)
        assert urls(await get(client, uploaded))[1:] == [there.at("/file")]
        assert urls(await get(client, again))[1:] == []


async def test_what_is_deleted_meanwhile_stays_so(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    held = Held(CONTENT)
    there.kept["/held"] = held
    buried = await register(client, https(there.at("/held")))
    async with working(settings):
        await asyncio.wait_for(held.began.wait(), 20)
        await client.put(f"{DRS}/objects/{buried}/delete", json={"reason": "a mistake"})
        held.let_go.set()
        await done(settings)
        answer = await get(client, buried)
        assert (answer.status_code, "a mistake" in answer.text) == (410, True)
        forgotten = await register(client, https(there.at("/held")))
        await client.put(f"{DRS}/objects/{forgotten}/delete", json={"delete_object_metadata": True})
        await done(settings)
        assert (await get(client, forgotten)).status_code == 404


async def test_twice_is_as_good_as_once(settings: Settings, client: httpx.AsyncClient, there: Elsewhere) -> None:
    good = await register(client, https(there.at("/file")))
    bad = await register(client, https(there.at("/other")))
    async with working(settings):
        before = [await settled(client, object_id) for object_id in (good, bad)]
        await done(settings)
        async with database(settings) as db, db.transaction() as connection:
            for object_id, path in ((good, "/file"), (bad, "/other"), ("nobody", "/file")):
                await enqueue(connection, VerifyExternal(object_id=object_id, urls=(there.at(path),)))
        await done(settings)
        after = [await get(client, object_id) for object_id in (good, bad)]
    assert [one.text for one in after] == [one.text for one in before]


async def test_a_checksum_that_came_meanwhile_is_held_to_the_bytes(
    settings: Settings, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    held = Held(CONTENT)
    there.kept["/held"] = held
    object_id = await register(client, https(there.at("/held")))
    async with working(settings):
        await asyncio.wait_for(held.began.wait(), 20)
        stated = {"checksums": [{"type": "sha-256", "checksum": "0" * 64}]}
        assert (await client.put(f"{DRS}/objects/{object_id}/checksums", json=stated)).status_code == 200
        held.let_go.set()
        assert "has the sha-256" in (await settled(client, object_id)).json()["msg"]


async def test_it_is_off_until_it_is_switched_on(settings: Settings, there: Elsewhere) -> None:
    async with (
        server.running(replace(settings, verify_external=False)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        object_id = await register(client, https(there.at("/other")))
        await replaced(client, object_id, https(there.at("/nothing")))
        assert (await get(client, object_id)).status_code == 200
    async with database(settings) as db, db.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM pgqueuer") == 0
