"""Apps as people use them, in a real browser: JupyterLab, and this service itself."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urljoin

import httpx
import pytest
from playwright.sync_api import Browser, Page, WebSocket

from tests.support.chromium import chromium
from tests.support.jupyter import jupyter_lab, missing
from tests.support.pages import UPPY, pages
from tests.support.serve import wait_until
from tests.support.tunnel import Cluster, Session, connected

PATIENCE = 15_000  # ms
MIB = 1024**2
SIZE = 200 * 10**6
CHUNK = 64 * MIB
SHA256_OF_HI = {"type": "sha-256", "checksum": hashlib.sha256(b"hi").hexdigest()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def link_to(session: Session) -> str:
    answer = httpx.post(f"{session.service}/sessions/{session.id}/links", headers=session.headers)
    return str(answer.json()["url"])


@pytest.fixture(scope="module")
def notebooks(cluster: Cluster, own_environment: dict[str, str]) -> Iterator[tuple[Session, Path]]:
    """A session in front of JupyterLab, which knows that it is below the session's path; and where its files are."""
    if reason := missing():
        pytest.skip(reason)
    session = cluster.session()
    directory = cluster.directory / "jupyter"
    with jupyter_lab(directory, f"{session.path}/", own_environment) as origin:
        cluster.agent(session, origin, "--keep-prefix")
        connected([session])
        yield session, directory / "files"


@pytest.fixture(scope="module")
def lab(browser: Browser, notebooks: tuple[Session, Path]) -> Iterator[Page]:
    """Opened by a link."""
    session, _ = notebooks
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(link_to(session))
        yield page


def test_a_link_leads_to_the_app(lab: Page, notebooks: tuple[Session, Path]) -> None:
    session, _ = notebooks
    assert lab.url.rstrip("?") == f"{session.service}{session.path}/lab"
    lab.wait_for_selector(".jp-Launcher")
    cookies = {one["name"]: one["path"].rstrip("/") for one in lab.context.cookies()}
    assert {f"drs_session_{session.id}", "_xsrf"} <= cookies.keys()
    assert set(cookies.values()) == {session.path}


def test_a_kernel_runs_a_cell(lab: Page, notebooks: tuple[Session, Path]) -> None:
    session, _ = notebooks
    sockets: list[str] = []
    sent: list[str | bytes] = []
    heard: list[str | bytes] = []

    def watch(socket: WebSocket) -> None:
        sockets.append(socket.url)
        if "/channels" in socket.url:
            socket.on("framesent", lambda frame: sent.append(frame))
            socket.on("framereceived", lambda frame: heard.append(frame))

    lab.on("websocket", watch)
    lab.click('.jp-LauncherCard[data-category="Notebook"]')
    lab.wait_for_selector("text=Python 3 (ipykernel) | Idle")
    lab.click(".jp-Notebook .cm-content")
    lab.keyboard.type("print(6 * 7 * 10**30)")
    lab.keyboard.press("Shift+Enter")
    output = lab.wait_for_selector(".jp-OutputArea-output pre")
    assert output is not None
    assert output.inner_text().strip() == str(42 * 10**30)
    prefix = session.service.replace("http", "ws", 1) + session.path
    assert all(url.startswith(f"{prefix}/api/") for url in sockets)
    # Its subprotocol has binary messages alone.
    assert sent and heard and {type(one) for one in sent + heard} == {bytes}


def test_a_file_is_uploaded_and_downloaded(lab: Page, notebooks: tuple[Session, Path], tmp_path: Path) -> None:
    _, files = notebooks
    content = secrets.token_bytes(3 * MIB + 1)
    (tmp_path / "reads.bam").write_bytes(content)
    with lab.expect_file_chooser() as chooser:
        lab.click('.jp-FileBrowser [data-jp-item-name="uploader"]')
    chooser.value.set_files(tmp_path / "reads.bam")
    there = files / "reads.bam"
    wait_until(lambda: there.exists() and there.stat().st_size == len(content))
    assert there.read_bytes() == content
    lab.click('.jp-DirListing-item:has-text("reads.bam")', button="right")
    with lab.expect_download() as download:
        lab.click('.lm-Menu-item[data-command="filebrowser:download"]')
    assert download.value.path().read_bytes() == content


@pytest.fixture(scope="module")
def inner(cluster: Cluster, roomy: Path) -> Session:
    """A session in front of this service itself."""
    session = cluster.session()
    cluster.agent(session, None, "--data-dir", str(roomy / f"inner-{session.id}"))
    connected([session])
    return session


@pytest.fixture(scope="module")
def uppy(cluster: Cluster) -> Iterator[Session]:
    """A session in front of a page with Uppy: to a browser all sessions have one origin."""
    assert UPPY.exists(), "Run: make tests/support/tus/node_modules/.installed"
    with pages() as origin:
        session = cluster.session()
        cluster.agent(session, origin)
        connected([session])
        yield session


def test_a_page_uploads_200_mb_and_gets_them_back(
    browser: Browser, inner: Session, uppy: Session, tmp_path: Path
) -> None:
    content = secrets.token_bytes(SIZE)
    (file := tmp_path / "reads.bam").write_bytes(content)
    options = {"endpoint": f"{inner.service}{inner.path}/tus", "protocol": "tus-v1", "chunkSize": CHUNK}
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        for session in (inner, uppy):
            page.goto(link_to(session))
            assert page.url == f"{session.service}{session.path}/"
        page.goto(f"{page.url}?{quote(json.dumps(options))}")
        page.set_input_files("input", file)
        page.wait_for_function("window.outcome")
        outcome = page.evaluate("window.outcome")
    assert (outcome["error"], outcome["answers"]) == (None, ["POST 201", *["PATCH 204"] * 3])
    assert outcome["digest"] == hashlib.sha256(content).hexdigest()


def test_where_it_refers_to_itself_leads_into_the_session(inner: Session) -> None:
    base = f"{inner.service}{inner.path}/"
    with httpx.Client(base_url=base, headers=inner.headers, timeout=30) as client:
        put = client.put("upload/a.txt", content=b"hello")
        made = put.json()
        [method] = made["access_methods"]
        began = client.post("tus", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "2"})
        [announced] = client.post(
            "ga4gh/drs/v1/upload-request",
            json={"requests": [{"name": "b.txt", "size": 2, "mime_type": "text/plain", "checksums": [SHA256_OF_HI]}]},
        ).json()["responses"]
        created = client.post("sessions", json={}).json()
        schema = client.get("schema/openapi.json").json()
        said = {
            "location": put.headers["location"],
            "access": method["access_url"]["url"],
            "tus": began.headers["location"],
            "announced": announced["upload_methods"][0]["access_url"]["url"],
            "link": created["link"]["url"],
            "schema": schema["servers"][0]["url"] + "/",
        }
        resolved = {name: urljoin(base, url) for name, url in said.items()}
        assert {name for name, url in resolved.items() if not url.startswith(base)} == set()
        assert client.get(resolved["location"]).json()["id"] == made["id"]
        assert client.get(resolved["access"]).content == b"hello"
        assert client.head(resolved["tus"], headers={"Tus-Resumable": "1.0.0"}).headers["upload-offset"] == "0"
        assert client.put(resolved["announced"], content=b"hi").status_code < 300
