"""`GET /jobs`: what workers do, have to do and have given up."""

import asyncio
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.api.schemas import assert_refused
from tests.api.traces import query
from tests.support.server import Service

Json = dict[str, Any]

NEW = """
    INSERT INTO pgqueuer (priority, status, entrypoint, payload, execute_after, queue_manager_id)
    VALUES (0, $1, $2, $3, now() + $4::text::interval, $5) RETURNING id
"""
WORKER = "6f8b9f5e-0d37-4a0e-9f0a-6f1f5d1f2f3a"


async def job(
    service: Service, status: str, kind: str, payload: bytes = b"{}", after: str = "0", worker: str | None = None
) -> int:
    [row] = await query(service.settings, NEW, status, kind, payload, after, worker)
    return int(row["id"])


async def listed(client: httpx.AsyncClient, **params: object) -> list[Json]:
    """All of it, page by page."""
    found: list[Json] = []
    while True:
        answer = await client.get("/jobs", params={key: str(value) for key, value in params.items()})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
        page = answer.json()
        found += page["jobs"]
        if "next_page_token" not in page:
            return found
        params["page_token"] = page["next_page_token"]


async def test_every_state_is_told(own_service: Service, own_client: httpx.AsyncClient) -> None:
    settings = own_service.settings
    queued = await job(own_service, "queued", "checksum_blob", b'{"digest": "00"}')
    later = await job(own_service, "queued", "tidy", after="1 hour")
    await query(settings, "INSERT INTO workers (id, host, pid, kinds) VALUES ($1, 'here', 7, '{}')", WORKER)
    running = await job(own_service, "picked", "verify_external", b'{"object_id": "a", "urls": ["s"]}', worker=WORKER)
    note = "INSERT INTO job_notes (job_id, done, total, unit, progressed_at) VALUES ($1, 1, 2, 'bytes', now())"
    await query(settings, note, running)
    dead = await job(own_service, "failed", "finish_upload", b'{"upload_id": "secret"}')
    await query(
        settings,
        "INSERT INTO job_notes (job_id, error_code, error_message, failed_at) VALUES ($1, 'e', 'secret', now())",
        dead,
    )
    found = await listed(own_client)
    assert [(one["id"], one["state"], one["about"]) for one in found] == [
        (queued, "queued", {"digest": "00"}),
        (later, "scheduled", {}),
        (running, "running", {"object_id": "a"}),
        (dead, "dead", {}),
    ]
    assert datetime.fromisoformat(found[1]["next_at"]) > datetime.fromisoformat(found[1]["created_at"])
    assert found[2]["progress"] == {"done": 1, "total": 2, "unit": "bytes"}
    assert (found[2]["worker"], found[2]["silent_seconds"] >= 0) == ("here:7", True)
    assert found[3]["error"] == "e"
    answer = await own_client.get("/jobs")
    assert "secret" not in answer.text


async def test_progress_of_an_earlier_attempt_is_none(own_service: Service, own_client: httpx.AsyncClient) -> None:
    running = await job(own_service, "picked", "tidy", worker=WORKER)
    note = (
        "INSERT INTO job_notes (job_id, done, unit, progressed_at) VALUES ($1, 1, 'bytes', now() - interval '1 hour')"
    )
    await query(own_service.settings, note, running)
    [one] = await listed(own_client)
    assert "progress" not in one


async def test_pages_are_of_a_state_and_a_kind(own_service: Service, own_client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await asyncio.gather(job(own_service, "queued", "tidy"), job(own_service, "failed", "tidy"))
        await job(own_service, "failed", "sweep_orphans")
    assert len(await listed(own_client, page_size=2)) == 9
    assert len(await listed(own_client, page_size=1, state="dead")) == 6
    assert [one["kind"] for one in await listed(own_client, page_size=2, state="dead", kind="tidy")] == ["tidy"] * 3
    assert await listed(own_client, kind="no such kind\0") == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"page_token": "dTE6MQ"}, "page_invalid"),  # of another list
        ({"page_token": "x"}, "page_invalid"),
        ({"page_size": "0"}, "page_invalid"),
        ({"state": "done"}, "bad_request"),
    ],
)
async def test_what_cannot_be_asked_is_refused(client: httpx.AsyncClient, params: dict[str, str], code: str) -> None:
    assert_refused(await client.get("/jobs", params=params), 400, code)
