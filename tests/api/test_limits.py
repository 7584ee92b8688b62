"""What is too much is refused, in time and without a trace; and there is room again once something has gone."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.test_announced import announced, register
from tests.api.test_draft import begun, gone_on
from tests.api.test_forms import TYPE, file, form
from tests.api.test_uploads import in_pieces
from tests.api.traces import nothing_stored, query, staged_files
from tests.api.writing import OBJECTS, of_bytes, refused, uploaded
from tests.support.deadline import until
from tests.support.raw_http import asked, chunk, connected, request
from tests.support.server import Service, running
from tests.support.tus import Tus, metadata, patch_head, path_of

QUOTA = 100_000
MIB = 1024**2
Limited = Callable[..., AbstractAsyncContextManager[tuple[Service, httpx.AsyncClient]]]


@pytest.fixture
def limited(settings: Settings) -> Limited:
    """A service with these limits, and a client of it."""

    @asynccontextmanager
    async def start(**limits: int) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
        async with (
            running(replace(settings, **limits)) as service,  # type: ignore[arg-type]  # all of these are numbers
            httpx.AsyncClient(base_url=service.url, timeout=20) as client,
        ):
            yield service, client

    return start


def assert_full(answer: httpx.Response) -> None:
    """Told apart from a storage that is full, and nothing to be tried again by itself."""
    assert_refused(answer, 507, "quota_exceeded")
    assert "retry-after" not in answer.headers


async def deleted(client: httpx.AsyncClient, object_id: str) -> None:
    (await client.put(f"{OBJECTS}/{object_id}/delete", json={"delete_reason": "room"})).raise_for_status()


# The quota


@pytest.mark.parametrize("whose", ["owner_quota_bytes", "space_quota_bytes"])
async def test_a_quota_ends_what_is_put_and_deleting_makes_room(limited: Limited, whose: str) -> None:
    async with limited(**{whose: QUOTA}) as (service, client):
        first = await uploaded(client, secrets.token_bytes(QUOTA - 10))
        async with nothing_stored(service.settings):
            for content in (b"x" * 11, in_pieces(b"x" * MIB), in_pieces(b"x" * 11, 1)):
                assert_full(await client.put("/upload/more.bin", content=content))
        last = await uploaded(client, b"x" * 10)
        async with nothing_stored(service.settings):
            assert_full(await client.put("/upload/more.bin", content=b"x"))
        assert (await client.put("/upload/empty.bin", content=b"")).status_code == 201
        await deleted(client, first["id"])
        await deleted(client, last["id"])
        await uploaded(client, secrets.token_bytes(QUOTA))


async def test_the_same_bytes_twice_count_twice(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (_, client):
        content = secrets.token_bytes(QUOTA // 2)
        await uploaded(client, content)
        await uploaded(client, content)
        await refused(client, 507, "quota_exceeded", of_bytes(content))
        sha256 = metadata({"sha-256": of_bytes(content)["checksums"][0]["checksum"]})
        assert_full(await Tus(client).post({"Upload-Length": str(len(content)), **sha256}))


async def test_too_much_is_refused_before_it_is_sent(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (service, _), connected(service) as connection:
        head = request("PUT", "/upload/a", f"Content-Length: {QUOTA + 1}", "Expect: 100-continue")
        await connection.send(head)
        assert (await connection.answer()).status == 507  # and no 100 before it


async def test_what_has_no_length_is_stopped_where_the_quota_ends(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (service, _), nothing_stored(service.settings):
        answer = await asked(
            service, request("PUT", "/upload/a", "Transfer-Encoding: chunked"), chunk(b"x" * QUOTA), chunk(b"x")
        )  # of a body that has not ended
        assert_refused(answer, 507, "quota_exceeded")


async def test_a_form_that_goes_over_stores_none_of_its_files(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (service, client):
        half = secrets.token_bytes(QUOTA // 2 + 1)
        body = form(file(half, b"one"), file(half + b"x", b"two"))
        headers = dict([TYPE.split(": ")])
        async with nothing_stored(service.settings):
            assert_full(await client.post("/upload", content=body, headers=headers))
        assert (await client.post("/upload", content=form(file(half)), headers=headers)).status_code == 201


async def test_announced_bytes_have_to_fit(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (service, client):
        content = secrets.token_bytes(QUOTA // 2 + 1)
        two = [await announced(client, content), await announced(client, content[::-1])]
        of_more = {"name": "a", "size": QUOTA + 1, "mime_type": "a/b", "checksums": of_bytes(b"")["checksums"]}
        assert_full(await client.post("/ga4gh/drs/v1/upload-request", json={"requests": [of_more]}))
        assert (await client.put(two[0], content=content)).status_code == 200
        for body in (content[::-1], in_pieces(content[::-1])):
            async with nothing_stored(service.settings):
                assert_full(await client.put(two[1], content=body))
        # What is here already may be sent again, and becomes an object: that is no more than there was.
        assert (await client.put(two[0], content=content)).status_code == 200
        made = (await register(client, two[0])).raise_for_status().json()["objects"][0]
        assert_full(await client.put(two[1], content=content[::-1]))
        await deleted(client, made["id"])
        assert (await client.put(two[1], content=content[::-1])).status_code == 200


async def test_tus_is_told_when_it_begins(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (service, client):
        tus = Tus(client)
        async with nothing_stored(service.settings):
            answer = await tus.post({"Upload-Length": str(QUOTA + 1)})
            assert_full(answer)
            assert answer.headers["tus-resumable"] == "1.0.0"
            assert_full(await tus.post({"Upload-Length": str(QUOTA + 1)}, b"x"))
            assert_full(await tus.post({"Upload-Defer-Length": "1"}, in_pieces(b"x" * (QUOTA + 1))))
        assert await query(service.settings, "SELECT FROM uploads") == []
        path = await tus.begin(QUOTA)
        await tus.sent(path, 0, b"x" * QUOTA)
        await deleted(client, (await tus.object_of(path)).rpartition("/")[2])
        await uploaded(client, b"x" * QUOTA)


async def test_bytes_that_wait_count_until_they_are_given_up(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (_, client):
        tus = Tus(client)
        path = await tus.begin(QUOTA)
        await tus.sent(path, 0, b"x" * (QUOTA - 10))
        assert_full(await client.put("/upload/a", content=b"x" * 11))
        await tus.delete(path)
        await uploaded(client, b"x" * QUOTA)


async def test_what_has_expired_makes_room_at_once(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA, max_unfinished_uploads=1) as (service, client):
        tus = Tus(client)
        path = await tus.begin(QUOTA)
        await tus.sent(path, 0, b"x" * (QUOTA - 1))
        assert_refused(await tus.post({"Upload-Length": "2"}), 429, "too_many_uploads")
        await query(service.settings, "UPDATE uploads SET expires_at = now()")
        await tus.sent(await tus.begin(QUOTA), 0, b"y" * QUOTA)


async def test_tus_without_a_length_ends_at_the_quota_and_goes_on_when_there_is_room(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (service, client):
        other = await uploaded(client, secrets.token_bytes(QUOTA // 2))
        tus = Tus(client)
        path = await tus.begin(headers={"Upload-Defer-Length": "1"})
        content = secrets.token_bytes(QUOTA)
        assert_full(await tus.patch(path, 0, content))
        assert await tus.offset(path) == 0
        assert_full(await tus.patch(path, 0, in_pieces(content, QUOTA // 4)))
        come = QUOTA // 2
        assert await tus.offset(path) == come
        await deleted(client, other["id"])
        answer = await tus.patch(path, come, content[come:], {"Upload-Length": str(QUOTA)})
        assert answer.status_code == 204
        assert await tus.content_of(path) == content
        assert not staged_files(service.settings)


async def test_parts_are_not_counted_twice_when_they_are_joined(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (_, client):
        tus = Tus(client)
        parts = []
        for content in (b"a" * (QUOTA // 2), b"b" * (QUOTA // 2)):
            parts.append(
                path_of(await tus.post({"Upload-Length": str(len(content)), "Upload-Concat": "partial"}, content))
            )
        joined = await tus.join(parts)
        assert joined.status_code == 201
        assert len(await tus.content_of(path_of(joined))) == QUOTA
        assert_full(await client.put("/upload/a", content=b"x"))


async def test_the_draft_is_told_as_well(limited: Limited) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (_, client):
        path = await begun(client)
        answer = await gone_on(client, path, b"x" * (QUOTA + 1), 0, "?1")
        assert_full(answer)
        assert answer.headers["upload-complete"] == "?0"
        assert (await gone_on(client, path, b"x" * QUOTA, 0, "?1")).status_code == 200


@pytest.mark.parametrize("way", ["put", "announced"])
async def test_uploads_at_the_same_time_are_looked_at_again_when_they_are_recorded(limited: Limited, way: str) -> None:
    async with limited(owner_quota_bytes=QUOTA) as (service, client):
        async with connected(service) as one, connected(service) as other:
            size = QUOTA // 2 + 1
            for connection, byte in ((one, b"a"), (other, b"b")):
                path = "/upload/a" if way == "put" else await announced(client, byte * size)
                await connection.send(request("PUT", path, f"Content-Length: {size}") + byte)
            await until(lambda: len(staged_files(service.settings)) == 2)
            await one.send(b"a" * (size - 1))
            assert (await one.answer()).status in {200, 201}
            async with nothing_stored(service.settings):
                await other.send(b"b" * (size - 1))
                answer = await other.answer()
                assert_refused(answer, 507, "quota_exceeded")
        await uploaded(client, b"x" * (QUOTA - size))


# Requests, and uploads under way


async def test_too_many_unfinished_uploads_are_refused_until_one_ends(limited: Limited) -> None:
    async with limited(max_unfinished_uploads=2) as (service, client):
        tus = Tus(client)
        path, of_draft = await tus.begin(1), await begun(client)
        refusals = [
            await tus.post({"Upload-Length": "1"}),
            await tus.post({"Upload-Length": "1"}, b"x"),
            await client.post("/tus", headers={"Upload-Complete": "?0"}),
            await client.post("/ga4gh/drs/v1/upload-request", json={"requests": [announcement()]}),
        ]
        for answer in refusals:
            assert_refused(answer, 429, "too_many_uploads")
            assert answer.headers["retry-after"] == "60"
        assert len(await query(service.settings, "SELECT FROM uploads")) == 2
        await uploaded(client)  # in one request: nothing of it waits
        await tus.sent(path, 0, b"x")  # done
        third = await announced(client, b"x")
        assert_refused(await tus.post({"Upload-Length": "1"}), 429, "too_many_uploads")
        await client.put(third, content=b"x")
        await register(client, third)
        await begun(client)
        await client.delete(of_draft, headers={"Upload-Draft-Interop-Version": "8"})
        await begun(client)


def announcement() -> dict[str, object]:
    return {"name": "a", "size": 1, "mime_type": "a/b", "checksums": of_bytes(b"x")["checksums"]}


async def test_more_uploads_at_once_than_there_is_room_for_are_not_read(limited: Limited) -> None:
    async with limited(max_uploads_at_once=1) as (service, client):
        tus = Tus(client)
        path = await tus.begin(5)
        waiting = await announced(client, b"hello")
        async with connected(service) as first:
            await first.send(request("PUT", "/upload/a", "Content-Length: 5") + b"he")
            await until(lambda: len(staged_files(service.settings)) == 1)
            for head in (
                request("PUT", "/upload/b", "Content-Length: 5", "Expect: 100-continue"),
                request("POST", "/upload", TYPE, "Content-Length: 500", "Expect: 100-continue"),
                request("PUT", waiting, "Content-Length: 5", "Expect: 100-continue"),
                patch_head(path, 0, "Content-Length: 5", "Expect: 100-continue"),
            ):
                answer = await asked(service, head)
                assert_refused(answer, 429, "too_many_at_once")
                assert answer.headers["retry-after"] == "1"
                assert answer.headers["connection"] == "close"
            # Who asks, or gives up, sends nothing: that goes on.
            assert await tus.offset(path) == 0
            await first.send(b"llo")
            assert (await first.answer()).status == 201
        await tus.sent(path, 0, b"hello")
        assert (await client.put(waiting, content=b"hello")).status_code == 200
        async with connected(service) as gone:
            await gone.send(request("PUT", "/upload/a", "Transfer-Encoding: chunked") + chunk(b"he"))
            await until(lambda: len(staged_files(service.settings)) == 1)
            gone.hang_up()
        await until(lambda: not staged_files(service.settings))
        await uploaded(client)


async def test_more_requests_than_fit_into_a_minute_are_told_when_to_come_again(limited: Limited) -> None:
    async with limited(upload_requests_per_minute=3) as (service, client):
        for _ in range(3):
            await uploaded(client)
        async with nothing_stored(service.settings):
            answer = await client.put("/upload/a", content=b"x")
            assert_refused(answer, 429, "too_many_requests")
            assert 1 <= int(answer.headers["retry-after"]) <= 20
        assert (await client.get("/readyz")).status_code == 200


async def test_who_sends_too_fast_is_slowed_down_and_everything_arrives(limited: Limited) -> None:
    async with limited(upload_bytes_per_second=MIB) as (_, client):
        content = secrets.token_bytes(2 * MIB)
        began = time.monotonic()
        halves = content[:MIB], content[MIB:]
        path = await Tus(client).begin(len(content))

        async def put(half: bytes) -> bytes:
            return (await client.get(f"/data/{(await uploaded(client, half))['id']}")).content

        # The first second's worth is free; those who send at the same time share the rest.
        assert await asyncio.gather(*(put(half) for half in halves)) == list(halves)
        assert time.monotonic() - began >= 0.9
        await Tus(client).sent(path, 0, content)
        assert time.monotonic() - began >= 2.9
        assert await Tus(client).content_of(path) == content


async def test_who_was_slowed_down_can_still_be_interrupted(limited: Limited) -> None:
    async with limited(upload_bytes_per_second=65_536) as (service, client):
        tus = Tus(client)
        path = await tus.begin(10 * MIB)
        async with connected(service) as slow:
            await slow.send(patch_head(path, 0, f"Content-Length: {10 * MIB}") + b"x" * MIB)
            await until(lambda: len(staged_files(service.settings)) == 1)
            began = time.monotonic()
            await tus.offset(path)  # it ends the other request, which would be held back for a long time
            assert time.monotonic() - began < 3
        await tus.delete(path)


async def test_parts_that_are_named_twice_make_no_room(limited: Limited) -> None:
    async with limited(owner_quota_bytes=1000) as (_, client):
        tus = Tus(client)
        part = await tus.begin(400, {"Upload-Concat": "partial"})
        await tus.sent(part, 0, bytes(400))
        assert_full(await tus.join([part] * 3))
        assert (await tus.join([part] * 2)).status_code == 201
