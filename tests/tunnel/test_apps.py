"""Apps that other people wrote, and this service itself, through a proxy and two nodes."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from drs_service.settings import Secret, Settings
from tests.support.nginx import nginx, static_conf
from tests.support.postgres import Postgres
from tests.support.program import free_port
from tests.support.server import running_beside
from tests.support.tunnel import Cluster, Session, connected

PAGE = bytes(range(256)) * 40


@dataclass(frozen=True, slots=True)
class Apps:
    static: Session
    itself: Session


@pytest.fixture(scope="module")
def apps(cluster: Cluster, roomy: Path, postgres: Postgres) -> Iterator[Apps]:
    root, port = roomy / "static", free_port()
    (root / "site" / "in").mkdir(parents=True)
    (root / "site" / "page.txt").write_bytes(PAGE)
    (root / "site").chmod(0o755)
    root.chmod(0o755)
    with postgres.database() as database_url:
        settings = Settings(
            database_url=Secret(database_url),
            storage_url=(roomy / "itself").as_uri(),
            public_url="https://drs.example.org",
        )
        with nginx(root, static_conf(root, port, root / "site")), running_beside(settings) as service:
            apps = Apps(cluster.session(), cluster.session())
            cluster.agent(apps.static, f"http://127.0.0.1:{port}")
            cluster.agent(apps.itself, service.url)
            connected([apps.static, apps.itself])
            yield apps


@pytest_asyncio.fixture
async def client(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=20) as client:
        yield client


async def test_files_of_nginx(apps: Apps, client: httpx.AsyncClient) -> None:
    page, headers = f"{apps.static.path}/page.txt", apps.static.headers
    whole = await client.get(page, headers=headers)
    assert (whole.status_code, whole.content) == (200, PAGE)
    head = await client.head(page, headers=headers)
    assert (head.headers["content-length"], head.headers["etag"]) == (str(len(PAGE)), whole.headers["etag"])
    for said, told in (("bytes=10-19", PAGE[10:20]), ("bytes=-5", PAGE[-5:])):
        part = await client.get(page, headers={**headers, "Range": said})
        assert (part.status_code, part.content) == (206, told)
    parts = await client.get(page, headers={**headers, "Range": "bytes=0-1,5-6"})
    assert parts.headers["content-type"].startswith("multipart/byteranges") and PAGE[5:7] in parts.content
    assert (await client.get(page, headers={**headers, "Range": "bytes=99999-"})).status_code == 416
    for field, value, status in (
        ("If-None-Match", whole.headers["etag"], 304),
        ("If-Modified-Since", whole.headers["last-modified"], 304),
        ("If-Match", '"another"', 412),
    ):
        answer = await client.get(page, headers={**headers, field: value})
        assert answer.status_code == status and (status != 304 or answer.content == b"")
    assert (await client.get(f"{apps.static.path}/none", headers=headers)).status_code == 404
    assert (await client.post(page, headers=headers)).status_code == 405


async def test_nginx_is_led_astray_by_no_path(apps: Apps, client: httpx.AsyncClient) -> None:
    into = await client.get(f"{apps.static.path}/in", headers=apps.static.headers)
    assert (into.status_code, into.headers["location"]) == (301, f"{apps.static.path}/in/")


async def test_this_service_in_a_session_of_itself(apps: Apps, client: httpx.AsyncClient) -> None:
    content = bytes(range(251)) * 40_000
    at, headers = apps.itself.path, apps.itself.headers
    made = await client.put(f"{at}/upload/a%20b.bin", content=content, headers=headers)
    assert made.status_code == 201, made.text
    assert made.headers["location"].startswith(("/", "https://drs.example.org/"))
    found = await client.get(f"{at}/data/{made.json()['id']}", headers={**headers, "Range": "bytes=1000-"})
    assert (found.status_code, hashlib.sha256(found.content).digest()) == (206, hashlib.sha256(content[1000:]).digest())
    described = (await client.get(f"{at}/ga4gh/drs/v1/objects/{made.json()['id']}", headers=headers)).json()
    assert (described["name"], described["size"]) == ("a_b.bin", len(content))
