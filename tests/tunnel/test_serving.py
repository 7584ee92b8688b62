"""`drs-service agent --serve`: this service itself, where nobody can reach it."""

import json
import secrets
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from drs_service.outgoing.http import open_http
from tests.support.serve import COMMAND, alive, family, wait_until
from tests.support.server import Service
from tests.support.tunnel import PATIENCE, Agent, Cluster, Session
from worker.serving import LATELY, Moving, Upload, unfinished

TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def data_dir(roomy: Path) -> Path:
    return roomy / f"inner-{secrets.token_hex(4)}"


def opened(session: Session, service: str) -> httpx.Client:
    """What is asked of it goes to the session."""
    return httpx.Client(base_url=service + session.path, headers=session.headers, timeout=PATIENCE)


def gone(agent: Agent, processes: list[int]) -> bool:
    return not alive(agent.pid) and not any(alive(pid) for pid in processes)


def test_the_service_itself_is_served_and_ends_with_its_agent(
    cluster: Cluster, data_dir: Path, own_environment: dict[str, str]
) -> None:
    session = cluster.session()
    agent = cluster.agent(session, None, "--data-dir", str(data_dir))
    env = {**own_environment, "XDG_STATE_HOME": str(data_dir)}
    wait_until(lambda: session.is_connected)
    with opened(session, cluster.url) as client:
        # It may not answer yet: what is asked waits until it does.
        put = client.put("/upload/a.txt", content=b"hello")
        assert put.status_code == 201, put.text
        [method] = put.json()["access_methods"]
        assert method["access_url"]["url"].startswith(f"{cluster.url}{session.path}/")
        began = client.post("/tus", headers={**TUS, "Upload-Length": "5"})
        assert began.status_code == 201

        # kill -9 leaves nothing running; the agent that is started again has the same session and the same data.
        processes = family(agent.pid)
        assert len(processes) > 4
        agent.end()
        wait_until(lambda: gone(agent, processes))
        agent.run("--data-dir", str(data_dir))
        read = client.get(method["access_url"]["url"])
        assert (read.status_code, read.content) == (200, b"hello")
        # What comes along knows how to say the secret.
        (secret := data_dir / "secret").write_text(session.secret)
        said = ["--url", cluster.url + session.path, "--secret-file", str(secret), "--json"]
        done = subprocess.run([*COMMAND, "put", *said, str(secret)], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert client.get(f"/data/{json.loads(done.stdout)['id']}").text == session.secret
        # An upload that is not finished is work.
        wait_until(lambda: session.show()["running"] == 1)

    processes = family(agent.pid)
    assert agent.end(signal.SIGTERM) == 0, agent.told
    assert gone(agent, processes)
    wait_until(lambda: session.show()["state"] == "ended")


async def test_an_upload_that_nobody_goes_on_with_is_work_for_a_while(
    service: Service, client: httpx.AsyncClient
) -> None:
    moving = Moving()
    began = [await client.post("/tus", headers={**TUS, "Upload-Length": "5"}) for _ in range(3)]
    last = httpx.URL(began[-1].headers["location"]).path
    async with open_http(timeout_seconds=PATIENCE) as http:

        async def seen() -> int:
            """At the time now."""
            return moving.count(await unfinished(http, service.url, page=2), now)

        async def send(offset: int, data: bytes) -> None:
            octets = {"Content-Type": "application/offset+octet-stream"}
            sent = await client.patch(last, headers={**TUS, **octets, "Upload-Offset": f"{offset}"}, content=data)
            assert sent.status_code == 204

        now = 0.0
        assert await seen() == 3
        now = LATELY - 1
        await send(0, b"a")
        assert await seen() == 3
        now = LATELY
        assert await seen() == 1
        now = 2 * LATELY - 1
        assert await seen() == 0
        await send(1, b"b")  # whoever comes back after all
        assert await seen() == 1
        await send(2, b"cde")
        assert await seen() == 0
        # What a worker is to finish needs nobody who goes on.
        finishing = [Upload("u", "finishing", 5, "2030-01-01T00:00:00Z")]
        assert [moving.count(finishing, at) for at in (now, now + 2 * LATELY)] == [1, 1]
