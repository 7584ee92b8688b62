"""Uppy in a real browser, unchanged, on a page of another origin: it uploads, and goes on after whatever happens."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page

from drs_service.settings import Secret, Settings
from tests.support.chromium import chromium
from tests.support.pages import UPPY, pages
from tests.support.passage import Passage, passage, serving_behind
from tests.support.postgres import Postgres
from tests.support.server import running_beside

SIZE = 20 * 1024**2 + 1
CHUNK = 5_000_000
HEADS = 100_000  # bytes: more than all that is sent beside the file
# Sooner than Uppy's own, and for longer: a busy machine may take its time to start the service again.
DELAYS = [100] + [500] * 60
PATIENCE = 40_000  # ms

ASKED = ("HEAD 200", "HEAD 204")  # the draft's is the second

PROTOCOLS = pytest.mark.parametrize("protocol", ["tus-v1", "ietf-draft-05"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    assert UPPY.exists(), "Run: make tests/support/tus/node_modules/.installed"
    with pages() as url:
        yield url


@pytest.fixture(scope="module")
def way(postgres: Postgres, origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passage]:
    """Leads to a service that pages of the origin may use."""
    with postgres.database() as database_url, passage() as way:
        settings = Settings(
            database_url=Secret(database_url),
            storage_url=(tmp_path_factory.mktemp("uppy") / "store").as_uri(),
            public_url=way.url,
            cors_origins=(origin,),
            shutdown_grace_seconds=5,
        )
        with running_beside(settings) as service:
            way.port = service.port
            yield way


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "reads.bam"
    path.write_bytes(secrets.token_bytes(SIZE))
    return path


@contextmanager
def opened(browser: Browser, origin: str, way: Passage, protocol: str) -> Iterator[Page]:
    """A page that sends to where the way leads."""
    options: dict[str, Any] = {
        "endpoint": f"{way.url}/tus",
        "protocol": protocol,
        "chunkSize": CHUNK,
        "retryDelays": DELAYS,
    }
    if protocol != "tus-v1":  # which knows no metadata
        options["headers"] = {"Content-Disposition": 'inline; filename="reads.bam"'}
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{origin}/?{quote(json.dumps(options))}")
        yield page


def choose(page: Page, file: Path) -> None:
    page.set_input_files("input", file)


def answers_of_arrived(page: Page, file: Path) -> list[str]:
    """What Uppy was answered, once it is done; the object has the file's bytes, for the page and for everybody."""
    page.wait_for_function("window.outcome")
    outcome = page.evaluate("window.outcome")
    assert outcome["error"] is None
    content = file.read_bytes()
    assert outcome["digest"] == hashlib.sha256(content).hexdigest()
    drs_object = httpx.get(outcome["objectUrl"], timeout=20).json()
    assert (drs_object["name"], drs_object["size"]) == ("reads.bam", SIZE)
    return list(outcome["answers"])


@PROTOCOLS
def test_uppy_uploads_from_another_origin(
    browser: Browser, origin: str, way: Passage, protocol: str, file: Path
) -> None:
    said: list[str] = []
    with opened(browser, origin, way, protocol) as page:
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        choose(page, file)
        answers = answers_of_arrived(page, file)
    assert answers[0] == "POST 201"
    assert [answer.split()[0] for answer in answers[1:]] == ["PATCH"] * 5
    # Among it would be what the browser does not let the page do, or read.
    assert said == []


@PROTOCOLS
def test_uppy_goes_on_after_a_reload(browser: Browser, origin: str, way: Passage, protocol: str, file: Path) -> None:
    before = way.up.bytes
    with opened(browser, origin, way, protocol) as page:
        way.up.block_after(2 * CHUNK + CHUNK // 2)
        choose(page, file)
        assert way.up.blocked.wait(PATIENCE / 1000)
        page.wait_for_function("window.answers.length === 3")
        page.reload()
        way.up.free()
        choose(page, file)
        answers = answers_of_arrived(page, file)
    assert answers[0] in ASKED
    assert {answer.split()[0] for answer in answers[1:]} == {"PATCH"}
    # Only of the chunk that was under way something may have been lost.
    assert way.up.bytes - before < SIZE + CHUNK + HEADS


@PROTOCOLS
def test_uppy_goes_on_after_the_service_is_killed(
    browser: Browser, origin: str, protocol: str, file: Path, roomy: Path, own_environment: dict[str, str]
) -> None:
    data_dir = roomy / f"uppy-{secrets.token_hex(4)}"
    env = {**own_environment, "DRS_CORS_ORIGINS": origin}
    with (
        passage() as way,
        serving_behind(way, data_dir, env) as service,
        opened(browser, origin, way, protocol) as page,
    ):
        way.up.block_after(2 * CHUNK + CHUNK // 2)
        choose(page, file)
        assert way.up.blocked.wait(PATIENCE / 1000)
        service.kill()
        way.up.free()
        with serving_behind(way, data_dir, env):
            answers = answers_of_arrived(page, file)
        assert way.up.bytes < SIZE + 2 * CHUNK + HEADS
    assert answers.count("POST 201") == 1
    assert set(ASKED) & set(answers)
