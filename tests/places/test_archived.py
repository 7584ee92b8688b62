"""Readers of bytes that lie in an archive are told to wait, and get them as soon as they were brought back."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from drs_service.blobs.keys import key_for
from drs_service.db.pool import Database
from drs_service.errors import BytesArchived
from drs_service.jobs import listing
from drs_service.parts import open_parts, open_places
from drs_service.settings import Settings
from drs_service.usecases.places import Places
from drs_service.usecases.tidying import Tidying
from tests.api.schemas import assert_refused
from tests.api.writing import OBJECTS, Object, bundle_of, got, registered, uploaded
from tests.support.deadline import once, until
from tests.support.frozen import Frozen, tasks, thawing, working
from tests.support.glacier import glacier
from tests.support.rows import digest_of_bytes
from tests.support.s3 import S3Server
from tests.support.server import running

CONTENT = secrets.token_bytes(300_000)
DIGEST = digest_of_bytes(CONTENT)


@pytest.fixture
async def frozen(s3: S3Server) -> AsyncIterator[Frozen]:
    async with glacier(s3) as behind:
        yield Frozen(behind)


@pytest.fixture
def settings(settings: Settings, frozen: Frozen) -> Settings:
    return frozen.settings(settings)


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[tuple[Database, Places]]:
    async with AsyncExitStack() as stack:
        database, store = await stack.enter_async_context(open_parts(settings, name="test"))
        yield database, await stack.enter_async_context(open_places(settings, database, store))


@pytest.fixture
async def put_away(client: httpx.AsyncClient, frozen: Frozen) -> Object:
    """An object whose bytes have gone into the archive, which nobody knows yet."""
    made = await uploaded(client, CONTENT)
    frozen.put_away(DIGEST)
    return made


def assert_later(answer: httpx.Response, seconds: int = 3600) -> None:
    """DRS 1.5.0: 202, no body, Retry-After in seconds."""
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["retry-after"] == str(seconds)
    assert answer.headers["cache-control"] == "no-store"


def is_there(answer: httpx.Response) -> bool:
    return answer.status_code == 200


async def queued(database: Database) -> list[listing.Listed]:
    async with database.connection() as connection:
        return await listing.page(connection, state=None, kind="thaw_blob", after=0, limit=10)


async def test_whoever_asks_has_them_brought_back(
    client: httpx.AsyncClient,
    put_away: Object,
    frozen: Frozen,
    parts: tuple[Database, Places],
    settings: Settings,
) -> None:
    data, at = f"/data/{put_away['id']}", f"{OBJECTS}/{put_away['id']}"
    assert_later(await client.get(data))
    [method] = (await got(client, put_away["id"]))["access_methods"]
    assert method == {"type": "https", "access_id": "https", "available": False}
    frozen.glacier.read.clear()
    assert_later(await client.get(data, headers={"range": "bytes=5-9"}))
    assert_later(await client.head(data))
    assert_later(await client.get(f"{at}/access/https"))
    assert_later(await client.post(f"{at}/access/https", json={}))
    ids = [{"bulk_object_id": put_away["id"], "bulk_access_ids": ["https"]}]
    bulk = (await client.post(f"{OBJECTS}/access", json={"bulk_object_access_ids": ids})).json()
    assert bulk["unresolved_drs_objects"] == [{"error_code": 202, "object_ids": [put_away["id"]]}]
    assert (await client.get(data, headers={"if-none-match": f'"{DIGEST.hex}"'})).status_code == 304
    assert frozen.glacier.read == []  # what is known is not asked for again
    database, places = parts
    assert len(await queued(database)) == 1

    async with working(database, tasks(thawing(database, places, settings))):
        await until(lambda: len(frozen.glacier.restores) == 1)
        [job] = await once(lambda jobs: jobs[0].error is not None, lambda: queued(database))
        assert job.error is not None and (job.error.code, job.attempts) == ("bytes_archived", 0)
        assert_later(await client.get(data))
        frozen.glacier.give_back()
        answer = await once(is_there, lambda: client.get(data))
    [restore] = frozen.glacier.restores
    assert (restore.tier, restore.days) == ("Standard", 7)
    assert answer.content == CONTENT
    assert await queued(database) == []
    assert (await client.get(data, headers={"range": "bytes=5-9"})).content == CONTENT[5:10]
    assert (await client.head(data)).headers["content-length"] == str(len(CONTENT))
    [method] = (await got(client, put_away["id"]))["access_methods"]
    assert "available" not in method
    assert (await client.get(f"{at}/access/https")).json() == method["access_url"]


async def test_what_was_brought_back_for_a_while_goes_again(
    client: httpx.AsyncClient,
    put_away: Object,
    frozen: Frozen,
    parts: tuple[Database, Places],
    settings: Settings,
) -> None:
    database, places = parts
    data = f"/data/{put_away['id']}"
    async with working(database, tasks(thawing(database, places, settings))):
        assert_later(await client.get(data))
        await until(lambda: len(frozen.glacier.restores) == 1)
        frozen.glacier.give_back(valid=timedelta(seconds=1))
        assert (await once(is_there, lambda: client.get(data))).content == CONTENT
    async with database.transaction() as connection:
        await connection.execute("UPDATE replicas SET restored_until = now() - interval '1 second'")
    await Tidying(database, places.primary).run()
    assert_later(await once(lambda answer: not is_there(answer), lambda: client.head(data)))
    assert await queued(database) == []  # HEAD brings nothing back
    assert_later(await client.get(data))
    assert frozen.glacier.read.count(frozen.bucket.prefix + key_for(DIGEST)) == 2  # before, and when it was back
    assert len(await queued(database)) == 1


async def test_another_copy_that_can_be_read_is(settings: Settings, frozen: Frozen, tmp_path: Path) -> None:
    mirrored = replace(
        settings,
        places=(f"mirror={(tmp_path / 'mirror').as_uri()}",),
        shown_places=("primary",),
        signed_places=("primary",),
    )
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(mirrored))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=service.url, timeout=20))
        database, store = await stack.enter_async_context(open_parts(mirrored, name="test"))
        places = await stack.enter_async_context(open_places(mirrored, database, store))
        made = await uploaded(client, CONTENT)
        await copied(database, places)
        frozen.put_away(DIGEST)
        for _ in range(2):
            assert (await client.get(f"/data/{made['id']}")).content == CONTENT
        own, copy, signed = (await got(client, made["id"]))["access_methods"]
        assert own["access_url"] and "available" not in own
        assert copy == {"type": "s3", "access_id": "copy-primary", "available": False}
        assert signed == {"type": "https", "access_id": "signed-primary", "available": False}
        at = f"{OBJECTS}/{made['id']}/access"
        assert (await client.get(f"{at}/signed-primary")).json() == own["access_url"]
        assert await queued(database) == []
        # Nothing but this very copy is what that way leads to.
        assert_later(await client.get(f"{at}/copy-primary"))
        assert len(await queued(database)) == 1
    assert frozen.glacier.restores == []


async def copied(database: Database, places: Places) -> None:
    mirror = places.get("mirror")
    assert mirror is not None

    async def source() -> AsyncIterator[bytes]:
        yield CONTENT

    async with mirror.receive(source()) as arrival:
        await arrival.keep()
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO replicas (digest, place, key) VALUES ($1, 'mirror', $2)", DIGEST.raw, arrival.key
            )


async def test_no_url_leads_to_what_cannot_be_read(settings: Settings, frozen: Frozen) -> None:
    signing = replace(settings, signed_places=("primary",), signed_downloads=True, thaw_tier="expedited")
    async with running(signing) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        made = await uploaded(client, CONTENT)
        assert (await client.get(f"/data/{made['id']}")).status_code == 302
        frozen.put_away(DIGEST)
        async with open_parts(signing, name="test") as (database, _):
            await noticed(database)
            data = f"/data/{made['id']}"
            assert_later(await once(lambda answer: answer.status_code != 302, lambda: client.get(data)), 120)
            assert_later(await client.get(f"{OBJECTS}/{made['id']}/access/signed-primary"), 120)
            assert len(await queued(database)) == 1


async def noticed(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("UPDATE replicas SET archived_at = now()")


async def test_all_files_of_an_archive_are_brought_back_at_once(
    client: httpx.AsyncClient, parts: tuple[Database, Places]
) -> None:
    files = [await uploaded(client, b"%d" % number, f"{number}.txt") for number in range(3)]
    bundle = await registered(client, bundle_of(*files))
    data = f"/data/{bundle['id']}"
    etag = (await client.head(data)).headers["etag"]
    await noticed(parts[0])
    assert_later(await once(lambda answer: not is_there(answer), lambda: client.head(data)))
    assert (await client.get(data, headers={"if-none-match": etag})).status_code == 304
    assert_refused(await client.get(data, headers={"if-match": '"another"'}), 412, "precondition_failed")
    assert_later(await client.head(f"{OBJECTS}/{files[0]['id']}/access/https"))
    assert await queued(parts[0]) == []
    assert_later(await client.get(data))
    assert len(await queued(parts[0])) == 3


async def test_readers_bring_nothing_back_where_they_may_not(
    settings: Settings, frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    thrifty = replace(settings, thaw=False)
    async with (
        running(thrifty) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
        open_parts(thrifty, name="test") as (database, _),
    ):
        made = await uploaded(client, CONTENT)
        frozen.put_away(DIGEST)
        data, at = f"/data/{made['id']}", f"{OBJECTS}/{made['id']}/access"
        for _ in range(2):  # as whoever finds it out, and as all others
            assert_refused(await client.get(data), 409, "bytes_put_away")
        assert (await client.head(data)).status_code == 409
        assert_refused(await client.get(f"{at}/https"), 409, "bytes_put_away")
        ids = [{"bulk_object_id": made["id"], "bulk_access_ids": ["https"]}]
        bulk = (await client.post(f"{OBJECTS}/access", json={"bulk_object_access_ids": ids})).json()
        assert bulk["unresolved_drs_objects"] == [{"error_code": 409, "object_ids": [made["id"]]}]
        frozen.take_out(DIGEST)  # by hand
        assert_refused(await client.get(data), 409, "bytes_put_away")  # somebody has looked a moment ago
        monkeypatch.setattr("drs_service.usecases.looking_again.EVERY", 0.0)
        assert (await client.get(data)).content == CONTENT
        await once(is_there, lambda: client.head(data))
        assert await queued(database) == []


async def test_no_more_is_brought_back_in_a_day_than_was_said(settings: Settings, frozen: Frozen) -> None:
    thrifty = replace(settings, thaw_daily_bytes=len(CONTENT) + 10)
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(thrifty))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=service.url, timeout=20))
        database, store = await stack.enter_async_context(open_parts(thrifty, name="test"))
        places = await stack.enter_async_context(open_places(thrifty, database, store))
        contents = [CONTENT, CONTENT[1:], CONTENT + CONTENT]
        made = [f"/data/{(await uploaded(client, one))['id']}" for one in contents]
        for one in contents:
            frozen.put_away(digest_of_bytes(one))
        for data in made[:2]:
            assert_later(await client.get(data))  # nobody has asked the storage yet
        answer = await client.get(made[2])
        assert_refused(answer, 409, "bytes_put_away")
        assert f"{len(contents[2])} bytes" in answer.json()["msg"]
        thaws = thawing(database, places, thrifty)
        with pytest.raises(BytesArchived, match="was asked"):
            await thaws.thaw(DIGEST, "primary")
        with pytest.raises(BytesArchived, match="It waits"):
            await thaws.thaw(digest_of_bytes(contents[1]), "primary")
        assert_later(await client.get(made[0]))  # that is paid for
        answer = await client.get(made[1])
        assert_refused(answer, 503, "too_much_thawed")
        assert 86_000 < int(answer.headers["retry-after"]) <= 86_400
        assert len(frozen.glacier.restores) == 1
        async with database.transaction() as connection:
            await connection.execute("UPDATE restores SET asked_at = now() - interval '1 day'")
        assert_later(await client.get(made[1]))
        with pytest.raises(BytesArchived, match="was asked"):
            await thaws.thaw(digest_of_bytes(contents[1]), "primary")


async def test_the_same_bytes_can_be_uploaded_all_the_same(client: httpx.AsyncClient, put_away: Object) -> None:
    assert_later(await client.get(f"/data/{put_away['id']}"))
    again = await uploaded(client, CONTENT, "b.txt")
    assert again["access_methods"][0]["available"] is False
    assert_later(await client.get(f"/data/{again['id']}"))
