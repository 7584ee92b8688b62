"""GA4GH's own `drs-compliance-suite` finds nothing wrong. It knows DRS 1.2, and has an environment of its own.

What it wants to be told is in its file report_runner.py (its README describes an older form): a way to be let in for
service-info, for each object and for each access. A case is one thing that it looks at.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from drs_service.api.public import DRS_PATH
from tests.support.server import Service

ROOT = Path(__file__).parents[2]
SUITE = ROOT / ".venv-compliance" / "bin"
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "tests" / "support" / "compliance")}

# The ways in that the suite knows: by the last it comes with POST. Here all of them lead to what anybody may see.
WAYS_IN = {"none": "", "basic": "dXNlcjpwYXNzd29yZA==", "bearer": "token", "passport": ["a.b.c"]}

# What fails, and why; in the end nothing does. DRS 1.2's service-info is closed: it has no member of 1.4 or 1.5.
EXPECTED = {
    (
        "Service Info response schema validation",
        "Additional properties are not allowed ('drs', 'maxBulkRequestLength' were unexpected)",
    ),
}


async def test_the_suite_of_ga4gh_finds_nothing_wrong(
    own_service: Service, own_client: httpx.AsyncClient, tmp_path: Path
) -> None:
    objects = [
        {"drs_id": await put(own_client, way), "auth_type": way, "auth_token": token, "is_bundle": False}
        for way, token in WAYS_IN.items()
    ]
    config = {
        "service_info": {"auth_type": "none", "auth_token": ""},
        "drs_object_info": objects,
        "drs_object_access": objects,
    }
    cases = list(cases_of(await report(own_service.url + DRS_PATH, config, tmp_path)))
    assert failed(cases) == sorted(EXPECTED)
    # Status, type and shape of service-info, of each object and of each access; and two of each object's methods.
    assert len(cases) == 3 + len(objects) * (3 + 2) + len(objects) * 3


async def test_a_fault_is_found(own_service: Service, tmp_path: Path) -> None:
    nothing = [{"drs_id": "nothing", "auth_type": "none", "auth_token": "", "is_bundle": False}]
    config = {
        "service_info": {"auth_type": "none", "auth_token": ""},
        "drs_object_info": nothing,
        "drs_object_access": nothing,
    }
    cases = list(cases_of(await report(own_service.url + DRS_PATH, config, tmp_path)))
    assert {name for name, _ in set(failed(cases)) - EXPECTED} == {
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
