"""GA4GH's own `drs-compliance-suite` finds nothing wrong. It knows DRS 1.2, and has an environment of its own.

What it wants to be told is in its file report_runner.py (its README describes an older form): a way to be let in for
service-info, for each object and for each access. A case is one thing that it looks at.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from drs_service.api.public import DRS_PATH
from drs_service.settings import Settings
from tests.support.server import Service, running

ROOT = Path(__file__).parents[2]
SUITE = ROOT / ".venv-compliance" / "bin"
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "tests" / "support" / "compliance")}

# The ways in that the suite knows: by the last it comes with POST. Here all of them lead to what anybody may see.
WAYS_IN = {"none": "", "basic": "dXNlcjpwYXNzd29yZA==", "bearer": "token", "passport": ["a.b.c"]}

# What it says of every bundle.
SKIPPED = (
    "DRS Object Info has access information",
    "Skip this test case as access_methods is optional for a DRS Bundle",
)


@pytest_asyncio.fixture(loop_scope="session")
async def speaking_1_2(settings: Settings) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """A service with a second mount: DRS 1.2's service-info is closed to the members of 1.4 and 1.5."""
    async with (
        running(replace(settings, drs_1_2_prefix="/1.2")) as service,
        httpx.AsyncClient(base_url=service.url, timeout=20) as client,
    ):
        yield service, client


async def test_the_suite_of_ga4gh_finds_nothing_wrong(
    speaking_1_2: tuple[Service, httpx.AsyncClient], tmp_path: Path
) -> None:
    service, client = speaking_1_2
    objects = [await put(client, way) for way in WAYS_IN]
    blobs = [described(one, way) for one, way in zip(objects, WAYS_IN, strict=True)]
    inner = await bundled(client, *objects[:2])
    bundles = [described(one, "none", is_bundle=True) for one in (inner, await bundled(client, inner, *objects[2:]))]
    config = {
        "service_info": {"auth_type": "none", "auth_token": ""},
        "drs_object_info": [*blobs, *bundles],
        "drs_object_access": blobs,
    }
    cases = list(cases_of(await report(service.url + "/1.2" + DRS_PATH, config, tmp_path)))
    assert failed(cases) == [SKIPPED] * len(bundles)
    # Status, type and shape of service-info, of each object and of each access; two of each object's methods; and each
    # bundle expanded.
    assert len(cases) == 3 + (len(blobs) + len(bundles)) * (3 + 2) + len(bundles) + len(blobs) * 3


async def test_what_1_2_does_not_know_is_left_out_of_its_mount(speaking_1_2: tuple[Service, httpx.AsyncClient]) -> None:
    _, client = speaking_1_2
    candidate = {
        "size": 1,
        "checksums": [{"type": "md5", "checksum": "0" * 32}],
        "tags": {"sample": "NA12878"},
        "access_methods": [
            {"type": "s3", "access_url": {"url": "s3://a/b"}, "region": "eu-west-1", "cloud": "aws", "available": True}
        ],
    }
    answer = await client.post(f"{DRS_PATH}/objects/register", json={"candidates": [candidate]})
    [made] = answer.json()["objects"]
    older = (await client.get(f"/1.2{DRS_PATH}/objects/{made['id']}")).json()
    assert made.pop("tags") == candidate["tags"]
    assert made["access_methods"][0].pop("cloud") == "aws"
    assert made["access_methods"][0].pop("available") is True
    assert older == made
    assert (await client.get(f"/1.2{DRS_PATH}/objects")).status_code in {404, 405}
    assert "1.2" not in (await client.get("/schema/openapi.json")).json()["paths"]


async def test_a_fault_is_found(own_service: Service, tmp_path: Path) -> None:
    nothing = [described("nothing", "none")]
    config = {
        "service_info": {"auth_type": "none", "auth_token": ""},
        "drs_object_info": nothing,
        "drs_object_access": nothing,
    }
    cases = list(cases_of(await report(own_service.url + DRS_PATH, config, tmp_path)))
    assert {name for name, _ in failed(cases)} == {
        "Service Info response schema validation",  # the mount of 1.5
        "DRS Object Info response status code validation",
        "DRS Object Info response schema validation",
        "DRS Object Info has access information",
    }


@pytest.mark.parametrize(
    ("attempt", "refused"),
    [
        ("socket.create_server(('127.0.0.1', 0)).close()", False),
        ("socket.getaddrinfo('localhost', 80)", False),
        ("socket.getaddrinfo('example.org', 80)", True),
        ("socket.gethostbyname('example.org')", True),
        ("socket.create_connection(('192.0.2.1', 80), 1)", True),
        ("socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))", True),
    ],
)
async def test_the_suite_reaches_this_machine_alone(attempt: str, refused: bool) -> None:
    lines = [
        "import supported_drs_versions, socket",
        f"try: {attempt}",
        "except OSError as error: print(str(error).startswith('Not from here'))",
        "else: print(False)",
    ]
    assert await run("python", "-c", "\n".join(lines)) == f"{refused}\n"


async def put(client: httpx.AsyncClient, name: str) -> str:
    answer = await client.put(f"/upload/{name}.txt", content=name.encode())
    assert answer.status_code == 201
    return str(answer.json()["id"])


def described(object_id: str, way: str, *, is_bundle: bool = False) -> dict[str, Any]:
    return {"drs_id": object_id, "auth_type": way, "auth_token": WAYS_IN[way], "is_bundle": is_bundle}


async def bundled(client: httpx.AsyncClient, *members: str) -> str:
    """A bundle of these objects."""
    contents = [{"name": f"member-{number}", "id": one} for number, one in enumerate(members)]
    answer = await client.post(f"{DRS_PATH}/objects/register", json={"candidates": [{"contents": contents}]})
    assert answer.status_code == 201
    return str(answer.json()["objects"][0]["id"])


async def report(base_url: str, config: dict[str, Any], directory: Path) -> dict[str, Any]:
    """What the suite says of the service."""
    (directory / "config.json").write_text(json.dumps(config))
    await run(
        "drs-compliance-suite",
        *("--server_base_url", base_url, "--drs_version", "1.2.0"),
        *("--platform_name", "drs-service", "--platform_description", "this service"),
        *("--config_file", "config.json", "--report_path", "report.json"),
        directory=directory,
    )
    said: dict[str, Any] = json.loads((directory / "report.json").read_text())
    return said


def cases_of(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for phase in said["phases"]:
        for test in phase["tests"]:
            yield from test["cases"]


def failed(cases: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((case["case_name"], case["message"]) for case in cases if case["status"] != "PASS")


async def run(command: str, *arguments: str, directory: Path | None = None) -> str:
    """What a command of the suite's environment prints."""
    assert SUITE.exists(), "Run: make .venv-compliance/.installed"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        SUITE / command, *arguments, cwd=directory, env=ENVIRONMENT, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
