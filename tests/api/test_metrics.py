"""`/metrics`: figures that are right, read as Prometheus reads them."""

import re
import secrets
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.api.test_health import dropped_database
from tests.api.test_objects import put
from tests.api.traces import query
from tests.api.writing import OBJECTS, uploaded
from tests.support.raw_http import connected, request
from tests.support.server import Service
from tests.support.tus import Tus

DOCS = Path(__file__).parents[2] / "docs" / "operating.md"
DURATION = "drs_http_request_duration_seconds"


class Figures:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))

    def sum(self, name: str, **labels: str) -> float:
        """Of the samples that have these labels."""
        samples = [sample for family in self.families for sample in family.samples if sample.name == name]
        return sum(one.value for one in samples if labels.items() <= one.labels.items())

    def values(self, name: str, label: str) -> set[str]:
        return {one.labels[label] for family in self.families for one in family.samples if one.name == name}


async def scraped(client: httpx.AsyncClient) -> Figures:
    answer = await client.get("/metrics")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Figures(answer.text)


async def test_every_metric_is_documented_and_nothing_else_is(own_client: httpx.AsyncClient) -> None:
    await uploaded(own_client)
    real = {
        family.name + ("_total" if family.type == "counter" else "") for family in (await scraped(own_client)).families
    }
    documented = re.findall(
        r"^\| `(\w+)` \|.*\|.*\|$", DOCS.read_text().split("### `/metrics`")[1].split("\n## ")[0], re.M
    )
    assert len(documented) == len(set(documented))
    assert real <= set(documented)
    # What the system says of a process is not the same everywhere.
    assert {name for name in documented if not name.startswith("process_")} <= real


async def test_requests_are_counted_by_what_they_ask_and_not_by_what_they_name(own_client: httpx.AsyncClient) -> None:
    for _ in range(3):
        object_id = await put(own_client)
        assert (await own_client.get(f"{OBJECTS}/{object_id}")).status_code == 200
    await own_client.get(f"{OBJECTS}/nothing")
    await own_client.get("/" + secrets.token_hex(8))
    await own_client.get("/livez", headers={"Host": "evil.example"})
    figures = await scraped(own_client)
    count = f"{DURATION}_count"
    route = "/ga4gh/drs/v1/objects/{object_id}"
    assert figures.sum(count, route="/upload/{name}", method="PUT", status="201") == 3
    assert figures.sum(count, route=route, method="GET", status="200") == 3
    assert figures.sum(count, route=route, method="GET", status="404") == 1
    assert figures.sum(count, route="(none)", method="GET", status="404") == 1
    assert figures.sum(count, route="(none)", method="GET", status="421") == 1
    assert figures.values(count, "route") == {"/upload/{name}", route, "(none)"}
    assert figures.sum(f"{DURATION}_bucket", route=route, status="200", le="+Inf") == 3
    assert figures.sum(f"{DURATION}_bucket", route=route, status="200", le="60") == 3
    assert 0 < figures.sum(f"{DURATION}_sum", route=route, status="200") < 10


async def test_bytes_are_counted_both_ways_while_they_come(own_service: Service, own_client: httpx.AsyncClient) -> None:
    before = await scraped(own_client)
    content = secrets.token_bytes(1_000_000)
    async with connected(own_service) as connection:
        await connection.send(request("PUT", "/upload/a", f"Content-Length: {len(content)}") + content[:400_000])

        async def come() -> bool:
            return (await scraped(own_client)).sum("drs_http_received_bytes_total") >= 400_000

        while not await come():
            pass
        now = await scraped(own_client)
        assert now.sum("drs_http_received_bytes_total") == 400_000
        assert now.sum("drs_http_requests_in_flight") == 2  # and the one that asks
        await connection.send(content[400_000:])
        object_id = (await connection.answer()).json()["id"]
    await own_client.get(f"/data/{object_id}")
    after = await scraped(own_client)
    assert after.sum("drs_http_received_bytes_total") == len(content)
    assert after.sum("drs_http_sent_bytes_total") - before.sum("drs_http_sent_bytes_total") >= len(content)
    assert after.sum("drs_http_requests_in_flight") == 1


async def test_uploads_are_counted_by_what_came_of_them(own_service: Service, own_client: httpx.AsyncClient) -> None:
    await uploaded(own_client)
    tus = Tus(own_client)
    path = await tus.begin(5)
    await tus.patch(path, 3, b"x")
    await own_client.put("/upload/a", content=b"x", headers={"Repr-Digest": "sha-256=:" + "A" * 43 + "=:"})
    await own_client.put("/upload/a", content=b"x" * (own_service.settings.max_upload_bytes + 1))
    async with connected(own_service) as connection:
        await connection.send(request("PUT", "/upload/a", "Content-Length: 5") + b"x")
        connection.hang_up()
    name = "drs_upload_requests_total"
    while (figures := await scraped(own_client)).sum(name, outcome="upload_interrupted") == 0:
        pass
    outcomes = {code: figures.sum(name, outcome=code) for code in figures.values(name, "outcome")}
    assert outcomes == {
        "ok": 2,
        "offset_mismatch": 1,
        "digest_mismatch": 1,
        "upload_too_large": 1,
        "upload_interrupted": 1,
    }


async def test_what_there_is_is_told(own_service: Service, own_client: httpx.AsyncClient) -> None:
    await uploaded(own_client, b"x" * 100)
    await uploaded(own_client, b"x" * 100)
    gone = await uploaded(own_client, b"y")
    await own_client.put(f"{OBJECTS}/{gone['id']}/delete", json={})
    tus = Tus(own_client)
    path = await tus.begin(50)
    await tus.sent(path, 0, b"z" * 30)
    await query(
        own_service.settings,
        "INSERT INTO pgqueuer (priority, status, entrypoint) VALUES (0, 'queued', 'tidy'), (0, 'picked', 'tidy')",
    )
    figures = await scraped(own_client)
    names = ("drs_objects", "drs_blobs", "drs_blob_bytes", "drs_staged_bytes", "drs_unfinished_uploads")
    assert [figures.sum(name) for name in names] == [2, 2, 101, 30, 1]
    assert figures.sum("drs_jobs", kind="tidy", state="queued") == 1
    assert figures.sum("drs_jobs", kind="tidy") == 2
    assert figures.values("drs_jobs", "kind") >= {"tidy", "sweep_orphans", "checksum_blob"}
    assert figures.sum("drs_database_connections", state="in_use") == 0
    assert figures.sum("drs_database_connections", state="idle") >= 1
    await tus.delete(path)
    assert (await scraped(own_client)).sum("drs_staged_bytes") == 0


async def test_a_service_without_its_database_still_tells_what_it_knows(
    own_service: Service, own_client: httpx.AsyncClient
) -> None:
    assert (await scraped(own_client)).sum("drs_database_up") == 1
    async with dropped_database(own_service.settings):
        figures = await scraped(own_client)
        assert figures.sum("drs_database_up") == 0
        assert figures.sum("drs_http_requests_in_flight") == 1
        assert "drs_objects" not in {family.name for family in figures.families}


async def test_a_refusal_is_counted_as_one(own_client: httpx.AsyncClient) -> None:
    """Nothing that fails escapes the counting, nor stays in flight."""
    for method, path in (("PATCH", "/tus/nothing"), ("POST", "/upload"), ("DELETE", "/upload/a"), ("GET", "/data/x")):
        await own_client.request(method, path)
    figures = await scraped(own_client)
    assert figures.sum(f"{DURATION}_count") == 4
    assert figures.sum("drs_http_requests_in_flight") == 1
