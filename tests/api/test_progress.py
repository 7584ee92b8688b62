"""`/uploads/{upload_id}` tells how far an upload has come."""

from typing import Any

import httpx
import pytest

from tests.api.schemas import assert_refused

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": "application/offset+octet-stream"}


async def test_an_upload_is_open_then_complete(client: httpx.AsyncClient, some_bytes: bytes) -> None:
    headers = {**TUS, "Upload-Length": str(len(some_bytes)), "Upload-Metadata": "filename cmVhZHMuYmFt"}
    path = httpx.URL((await client.post("/tus", headers=headers)).headers["location"]).path
    said = await told(client, path)
    assert (said["state"], said["received"], said["size"], said["name"]) == ("open", 0, len(some_bytes), "reads.bam")
    assert said["tus_url"].endswith(path)
    await client.patch(path, headers={**CHUNK, "Upload-Offset": "0"}, content=some_bytes[:5])
    assert (await told(client, path))["received"] == 5
    await client.patch(path, headers={**CHUNK, "Upload-Offset": "5"}, content=some_bytes[5:])
    said = await told(client, path)
    assert (said["state"], said["received"]) == ("complete", len(some_bytes))
    assert (await client.get(f"/data/{said['object']['id']}")).content == some_bytes


async def test_what_nobody_knows_the_size_of_has_none(client: httpx.AsyncClient) -> None:
    path = httpx.URL((await client.post("/tus", headers={**TUS, "Upload-Defer-Length": "1"})).headers["location"]).path
    said = await told(client, path)
    assert "size" not in said and "object" not in said


@pytest.mark.parametrize("unknown", ["nothing", "%00", "x" * 500, "a.b"])
async def test_an_upload_that_is_not_there_is_not_found(client: httpx.AsyncClient, unknown: str) -> None:
    assert_refused(await client.get(f"/uploads/{unknown}"), 404, "upload_not_found")


async def told(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answer = await client.get(path.replace("/tus/", "/uploads/"))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    said: dict[str, Any] = answer.json()
    return said
