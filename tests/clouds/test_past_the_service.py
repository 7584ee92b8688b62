"""Parts that are brought to the place itself, where it has that power."""

import asyncio
import hashlib
import secrets
from dataclasses import replace

import httpx
import pytest

from drs_service.blobs.cloud import CloudDriver
from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.test_metrics import scraped
from tests.clouds.conftest import Nodes, blobs, waiting
from tests.support.deadline import PATIENCE, until
from tests.support.places import CloudPlace, CloudServer
from tests.support.s3 import S3Server
from tests.support.server import running
from tests.support.tus import Tus, metadata
from tests.worker.test_worker import worker

MIB = 1024**2
DRS = "/ga4gh/drs/v1/objects"


@pytest.fixture
def server(s3: S3Server) -> CloudServer:
    return s3


@pytest.fixture
async def directed(nodes: Nodes) -> str:
    """An upload whose parts are to be brought to S3."""
    return (await nodes.a.begin(len(LONG), metadata({"sha-256": hashlib.sha256(LONG).hexdigest()}))).replace(
        "/tus/", "/uploads/"
    )


LONG = secrets.token_bytes(33 * MIB + 5)
PART = 16 * MIB
PIECES = [LONG[start : start + PART] for start in range(0, len(LONG), PART)]


async def bring(client: httpx.AsyncClient, path: str, *numbers: int) -> None:
    given = (await client.post(f"{path}/parts", json={"numbers": numbers})).raise_for_status().json()
    assert (given["part_size"], given["count"]) == (PART, 3)
    async with httpx.AsyncClient(timeout=30) as past:
        for part in given["parts"]:
            piece = PIECES[part["number"] - 1]
            assert part["size"] == len(piece)
            (await past.put(part["url"], content=piece)).raise_for_status()


async def test_nobody_is_sent_to_a_store_that_he_does_not_reach(settings: Settings) -> None:
    closed = replace(settings, direct_uploads=False)
    async with running(closed) as service, httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        tus = Tus(client)
        at = (await tus.begin(len(LONG))).replace("/tus/", "/uploads/")
        assert "parts_url" not in (await client.get(at)).raise_for_status().json()
        assert_refused(await client.post(f"{at}/parts", json={"numbers": [1]}), 404, "route_not_found")
        assert "/uploads/{upload_id}/parts" not in (await client.get("/schema/openapi.json")).json()["paths"]
        await tus.give_up_all()


async def test_parts_go_past_the_service(nodes: Nodes, directed: str, place: CloudPlace) -> None:
    a, b = nodes.a.client, nodes.b.client
    said = (await a.get(directed)).json()
    assert said["parts_url"].endswith(f"{directed}/parts")
    await bring(a, directed, 3)
    await bring(b, directed, 1)
    here = (await a.get(f"{directed}/parts")).json()
    assert here["parts"] == [{"number": 1, "size": PART}, {"number": 3, "size": len(PIECES[2])}]
    refused = await a.post(f"{directed}/complete")
    assert_refused(refused, 409, "parts_missing")
    assert "2" in refused.json()["msg"]
    await bring(b, directed, 2)
    answers = await asyncio.gather(*(client.post(f"{directed}/complete") for client in (a, b)))
    [object_id] = {answer.raise_for_status().json()["object"]["id"] for answer in answers}
    assert (await b.get(f"/data/{object_id}")).content == LONG
    assert_refused(await a.post(f"{directed}/parts", json={"numbers": [1]}), 409, "upload_done")
    assert len(blobs(place)) == 1


async def test_a_worker_verifies_what_went_past(
    settings: Settings, own_environment: dict[str, str], place: CloudPlace
) -> None:
    settings = replace(settings, finish_at_once_bytes=1000)
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        tus = Tus(client)
        digest = hashlib.sha256(LONG).hexdigest()
        right, wrong = [
            (await tus.begin(len(LONG), metadata({"sha-256": stated}))).replace("/tus/", "/uploads/")
            for stated in (digest, "00" * 32)
        ]
        ids = {}
        for path in (right, wrong):
            await bring(client, path, 1, 2, 3)
            answer = await client.post(f"{path}/complete")
            assert answer.status_code == 202
            ids[path] = answer.json()["object"]["id"]
            assert (await client.get(f"{DRS}/{ids[path]}")).status_code == 202
        assert blobs(place) == []
        with worker(settings, own_environment):
            for path in (right, wrong):
                async with asyncio.timeout(PATIENCE):
                    while (await client.get(path)).json()["state"] == "finishing":
                        await asyncio.sleep(0.05)
        assert (await client.get(f"/data/{ids[right]}")).content == LONG
        assert_refused(await client.get(f"{DRS}/{ids[wrong]}"), 410, "upload_failed")
        # The worker was killed, perhaps before it had forgotten what it had staged.
        for path in (right, wrong):
            assert (await tus.delete(path.replace("/uploads/", "/tus/"))).status_code == 204
    await until(lambda: not waiting(place))


async def test_bytes_go_one_way_or_the_other(nodes: Nodes, directed: str) -> None:
    a, tus_path = nodes.a.client, directed.replace("/uploads/", "/tus/")
    await nodes.a.sent(tus_path, 0, LONG[:10])
    assert "parts_url" not in (await a.get(directed)).json()
    assert_refused(await a.post(f"{directed}/parts", json={"numbers": [1]}), 409, "direct_impossible")
    deferred = (await nodes.a.begin(None, {"Upload-Defer-Length": "1"})).replace("/tus/", "/uploads/")
    assert_refused(await a.post(f"{deferred}/parts", json={"numbers": [1]}), 409, "direct_impossible")
    assert_refused(await a.post("/uploads/nothing/parts", json={"numbers": [1]}), 404, "upload_not_found")


@pytest.mark.parametrize("numbers", [[], [0], [4], [10_001], ["a"], ["1"], [1.5], [True], None])
async def test_parts_that_cannot_be_are_refused(nodes: Nodes, directed: str, numbers: object) -> None:
    answer = await nodes.a.client.post(f"{directed}/parts", json={"numbers": numbers})
    assert answer.status_code in {400, 409}
    assert answer.json()["msg"]


async def test_a_part_of_another_size_is_not_taken(nodes: Nodes, directed: str, place: CloudPlace) -> None:
    a = nodes.a.client
    await bring(a, directed, 1, 2, 3)
    given = (await a.post(f"{directed}/parts", json={"numbers": [3]})).json()
    async with httpx.AsyncClient(timeout=20) as past:
        assert (await past.put(given["parts"][0]["url"], content=b"short")).status_code == 403
    # Not every server that speaks S3 need hold to what was signed.
    assert isinstance(place.driver, CloudDriver)
    bucket = place.driver.bucket
    [begun] = [one async for one in bucket.unfinished("")]
    assert begun.multipart is not None
    await bucket.put_part(begun.name, begun.multipart, 3, b"short")
    assert_refused(await a.post(f"{directed}/complete"), 409, "parts_missing")
    await bring(a, directed, 3)
    (await a.post(f"{directed}/complete")).raise_for_status()


async def test_what_may_go_past_the_service_counts_as_staged(nodes: Nodes, directed: str) -> None:
    a = nodes.a.client

    async def staged() -> float:
        return (await scraped(a)).sum("drs_staged_bytes")

    await bring(a, directed, 3)
    assert await staged() == len(PIECES[2])
    for _ in range(2):
        await bring(a, directed, 1, 3)
    assert await staged() == PART + len(PIECES[2])
    await bring(a, directed, 2)
    (await a.post(f"{directed}/complete")).raise_for_status()
    assert await staged() == 0


async def test_what_may_go_past_the_service_has_to_fit(settings: Settings, place: CloudPlace) -> None:
    settings = replace(settings, owner_quota_bytes=len(LONG) + PART)
    async with running(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        tus = Tus(client)
        first, second = [(await tus.begin(len(LONG))).replace("/tus/", "/uploads/") for _ in range(2)]
        for numbers in ([1, 2], [2, 3], [1, 2, 3]):
            (await client.post(f"{first}/parts", json={"numbers": numbers})).raise_for_status()
        assert_refused(await client.post(f"{second}/parts", json={"numbers": [1]}), 507, "quota_exceeded")
        await tus.sent(first.replace("/uploads/", "/tus/"), 0, LONG)
        assert await tus.content_of(first.replace("/uploads/", "/tus/")) == LONG
        await tus.give_up_all()


async def test_parts_that_the_place_has_forgotten_are_lost(nodes: Nodes, directed: str, place: CloudPlace) -> None:
    await bring(nodes.a.client, directed, 1, 2, 3)
    assert isinstance(place.driver, CloudDriver)
    [begun] = [one async for one in place.driver.bucket.unfinished("")]
    assert begun.multipart is not None
    await place.driver.bucket.abort(begun.name, begun.multipart)
    assert_refused(await nodes.b.client.post(f"{directed}/complete"), 410, "upload_lost")
    assert_refused(await nodes.b.client.get(f"{directed}/parts"), 410, "upload_lost")


async def test_what_is_given_up_leaves_nothing_in_the_bucket(nodes: Nodes, directed: str, place: CloudPlace) -> None:
    await bring(nodes.a.client, directed, 1)
    assert waiting(place)
    assert (await nodes.a.delete(directed.replace("/uploads/", "/tus/"))).status_code == 204
    assert not waiting(place)
