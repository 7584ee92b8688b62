"""Clients of tus that other people wrote, unchanged: tuspy, and tus-js-client under node."""

import asyncio
import hashlib
import json
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from drs_service.settings import Settings
from tests.support.server import Service, running

CLIENTS = Path(__file__).parents[1] / "support" / "tus"
SIZE = 20 * 1024**2 + 1

NODE = Path(sys.executable).with_name("node")


@pytest_asyncio.fixture(loop_scope="session")
async def at_home(settings: Settings) -> AsyncIterator[Service]:
    """A service that its own URLs lead to."""
    async with running(replace(settings, public_url=None)) as service:
        yield service


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "reads.bam"
    path.write_bytes(secrets.token_bytes(SIZE))
    return path


async def started(*command: str | Path) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)


async def printed(*command: str | Path) -> str:
    process = await started(*command)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def assert_arrived(service: Service, file: Path, url: str) -> None:
    """The upload at url has become an object with the bytes of file."""
    async with httpx.AsyncClient(timeout=20) as client:
        asked = await client.head(url, headers={"Tus-Resumable": "1.0.0"})
        assert asked.headers["upload-offset"] == asked.headers["upload-length"] == str(SIZE)
        drs_object = (await client.get(asked.headers["content-location"])).json()
        assert drs_object["name"] == "reads.bam"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert {"type": "sha-256", "checksum": digest} in drs_object["checksums"]
        content = (await client.get(f"{service.url}/data/{drs_object['id']}")).content
        assert hashlib.sha256(content).hexdigest() == digest


async def test_tuspy_goes_on_where_it_was_killed(at_home: Service, file: Path, tmp_path: Path) -> None:
    command = (sys.executable, CLIENTS / "upload.py", f"{at_home.url}/tus", file, tmp_path / "urls.json")
    process = await started(*command)
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(6)]
    process.kill()
    await process.communicate()
    assert [int(line) for line in lines] == [0, *range(1_000_000, 6_000_000, 1_000_000)]
    *offsets, url = (await printed(*command)).split()
    assert 5_000_000 <= int(offsets[0]) < SIZE
    assert int(offsets[-1]) == SIZE
    await assert_arrived(at_home, file, url)


async def by_tus_js_client(how: str, service: Service, file: Path, directory: Path) -> dict[str, Any]:
    assert (CLIENTS / "node_modules").exists(), "Run: make tests/support/tus/node_modules/.installed"
    result = json.loads(await printed(NODE, CLIENTS / "upload.js", how, f"{service.url}/tus", file, directory))
    await assert_arrived(service, file, result["url"])
    said: dict[str, Any] = result
    return said


def halves(requests: list[str]) -> tuple[slice, slice]:
    """Before the upload was aborted, and after."""
    at = requests.index("aborted")
    return slice(0, at), slice(at + 1, None)


async def test_tus_js_client_uploads_four_parts_at_once(at_home: Service, file: Path, tmp_path: Path) -> None:
    said = await by_tus_js_client("parallel", at_home, file, tmp_path)
    # Each part is begun and sent, and then they are joined.
    assert sorted(said["requests"]) == ["PATCH"] * 4 + ["POST"] * 5


async def test_tus_js_client_goes_on_with_what_it_has_noted(at_home: Service, file: Path, tmp_path: Path) -> None:
    said = await by_tus_js_client("resumed", at_home, file, tmp_path)
    before, after = (said["requests"][part] for part in halves(said["requests"]))
    assert before == ["POST", *["PATCH"] * (len(before) - 1)]
    assert after == ["HEAD", *["PATCH"] * 5]


async def test_tus_js_client_sends_what_it_does_not_know_the_end_of(
    at_home: Service, file: Path, tmp_path: Path
) -> None:
    said = await by_tus_js_client("deferred", at_home, file, tmp_path)
    first, *others = said["requests"]
    assert (first, set(others)) == ("POST, length deferred", {"PATCH"})
    assert len(others) >= 7


async def test_tus_js_client_speaks_the_draft(at_home: Service, file: Path, tmp_path: Path) -> None:
    """That of its time, interop version 6: what of it is spoken here has not changed since."""
    said = await by_tus_js_client("draft", at_home, file, tmp_path)
    before, after = (said["requests"][part] for part in halves(said["requests"]))
    assert (before[0], after[0]) == ("POST", "HEAD")
    assert json.loads(said["body"])["size"] == SIZE
