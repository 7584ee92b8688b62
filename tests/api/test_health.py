"""Does it live, and can it work?"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx

from drs_service.settings import Settings
from tests.api.schemas import assert_refused
from tests.api.test_objects import put
from tests.api.traces import query, store, until_known
from tests.support.server import Service

READY = {"status": "ready", "parts": {"database": "ok", "schema": "ok", "storage": "ok"}}


async def faults(client: httpx.AsyncClient) -> dict[str, str]:
    """What /readyz says of the parts that are not as they should be; checked to say the same in its status."""
    answer = await client.get("/readyz")
    body = answer.json()
    found = {part: text for part, text in body["parts"].items() if text != "ok"}
    assert (answer.status_code, body["status"]) == ((503, "not ready") if found else (200, "ready"))
    assert int(answer.headers.get("retry-after", "0")) == (5 if found else 0)
    assert body["parts"].keys() == READY["parts"].keys()  # type: ignore[attr-defined]
    assert (await client.get("/livez")).json() == {"status": "alive"}
    return found


@asynccontextmanager
async def dropped_database(settings: Settings) -> AsyncIterator[None]:
    """For the length of the block there is no database; then one of its name, for whoever made it to drop."""
    assert settings.database_url is not None
    [[name]] = await query(settings, "SELECT current_database()")
    connection = await asyncpg.connect(settings.database_url.reveal(), database="postgres")
    try:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        yield
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()


async def test_a_service_in_order_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    for path, body in (("/livez", {"status": "alive"}), ("/readyz", READY)):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, body)
        assert answer.headers["cache-control"] == "no-store"


async def test_a_database_that_is_gone_is_named(
    own_service: Service, own_client: httpx.AsyncClient, some_bytes: bytes
) -> None:
    object_id = await put(own_client)
    await until_known(lambda: is_listening(own_service.settings))
    assert (await own_client.get(f"/ga4gh/drs/v1/objects/{object_id}")).status_code == 200  # and kept
    async with dropped_database(own_service.settings):
        found = await faults(own_client)
        assert found.keys() == {"database", "schema"}
        assert found["database"].startswith("database_")

        # The service says that it cannot, and that it may later.
        for method, path in (("GET", "/ga4gh/drs/v1/objects/unread"), ("GET", "/data/unread"), ("PUT", "/upload/a")):
            answer = await own_client.request(method, path, content=some_bytes if method == "PUT" else None)
            assert_refused(answer, 503, "database_refused")
            assert int(answer.headers["retry-after"]) > 0
        # Once the loss of the connection was heard of, nothing is told from memory.
        await until_known(lambda: is_unavailable(own_client, object_id))


async def is_listening(settings: Settings) -> bool:
    """Whether the service would hear of changes, and so keeps what it reads."""
    listening = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    return bool(await query(settings, listening))


async def is_unavailable(client: httpx.AsyncClient, object_id: str) -> bool:
    return (await client.get(f"/ga4gh/drs/v1/objects/{object_id}")).status_code == 503


async def test_connections_that_were_cut_are_made_again(own_service: Service, own_client: httpx.AsyncClient) -> None:
    object_id = await put(own_client)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    await query(own_service.settings, f"{cut} AND pid <> pg_backend_pid()")
    await until_known(lambda: is_ready(own_client))
    assert (await own_client.get(f"/ga4gh/drs/v1/objects/{object_id}")).status_code == 200


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def test_a_schema_of_another_release_is_named(own_service: Service, own_client: httpx.AsyncClient) -> None:
    await query(own_service.settings, "INSERT INTO schema_migrations (version) VALUES ('99991231000000')")
    found = await faults(own_client)
    assert found.keys() == {"schema"}
    assert found["schema"].startswith("schema_ahead: ")

    await query(own_service.settings, "DELETE FROM schema_migrations")
    assert (await faults(own_client))["schema"].startswith("schema_behind: ")


async def test_a_storage_that_cannot_be_used_is_named(own_service: Service, own_client: httpx.AsyncClient) -> None:
    await put(own_client)
    directory = store(own_service.settings)
    await swap_for_a_file(directory)
    found = await faults(own_client)
    assert found.keys() == {"storage"}
    assert found["storage"].startswith("storage_unavailable: ")
    assert_refused(await own_client.put("/upload/a", content=b"a"), 503, "storage_unavailable")
    directory.unlink()
    directory.with_name("aside").rename(directory)
    assert not await faults(own_client)


async def swap_for_a_file(directory: Path) -> None:
    directory.rename(directory.with_name("aside"))
    directory.touch()


async def test_a_storage_that_is_gone_is_named(own_service: Service, own_client: httpx.AsyncClient) -> None:
    await put(own_client)
    shutil.rmtree(store(own_service.settings))
    found = await faults(own_client)
    assert found.keys() == {"storage"}
    assert found["storage"].startswith("storage_unavailable: ")
    assert_refused(await own_client.put("/upload/a", content=b"a"), 503, "storage_unavailable")
