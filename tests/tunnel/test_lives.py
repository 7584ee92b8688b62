"""How sessions end, and what their agents make of it."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.support.deadline import once, until
from tests.support.program import free_port
from tests.support.raw_http import asked, request
from tests.support.stage import OK, Stage, Visit, staged
from tests.support.tunnel import Agent, Cluster, Session
from tests.support.tunnel import connected as all_connected
from worker.agent import delay_of


def slow(stage: Stage) -> tuple[asyncio.Event, asyncio.Event]:
    """An app that says when it is asked, and answers when it is told."""
    there, finish = asyncio.Event(), asyncio.Event()

    async def act(visit: Visit) -> None:
        await visit.request()
        there.set()
        await finish.wait()
        await visit.say(OK)

    stage.act = act
    return there, finish


async def ended(session: Session) -> str:
    """Why, once it has."""

    async def shown() -> dict[str, str]:
        async with httpx.AsyncClient() as client:
            found: dict[str, str] = (
                await client.get(f"{session.service}/sessions/{session.id}", headers=session.headers)
            ).json()
        return found

    return (await once(lambda one: one["state"] == "ended", shown))["reason"]


async def test_a_session_that_is_stopped_ends_its_agent(cluster: Cluster) -> None:
    """What is under way is finished first."""
    session, port = cluster.session(), free_port()
    agent = cluster.agent(session, f"http://127.0.0.1:{port}")
    all_connected([session])
    async with staged(port) as stage:
        there, finish = slow(stage)
        asking = asyncio.create_task(asked(cluster.places[1], request("GET", f"{session.path}/", session.bearer)))
        await there.wait()
        stopped = await asked(cluster.places[0], request("DELETE", f"/sessions/{session.id}", session.bearer))
        assert (stopped.status, stopped.json()["state"]) == (202, "stopping")
        await until(lambda: "the session stops" in agent.told)
        finish.set()
        assert (await asking).body == b"ok"
    assert await asyncio.to_thread(agent.wait) == 0
    assert "The session has ended: stopped." in agent.told
    assert agent.told.count("the session stops") == 1
    assert await ended(session) == "stopped"


async def test_an_agent_that_is_ended_ends_its_session(cluster: Cluster) -> None:
    session, port = cluster.session(), free_port()
    agent = cluster.agent(session, f"http://127.0.0.1:{port}")
    all_connected([session])
    async with staged(port) as stage:
        there, finish = slow(stage)
        asking = asyncio.create_task(asked(cluster.places[1], request("GET", f"{session.path}/", session.bearer)))
        await there.wait()
        ending = asyncio.create_task(asyncio.to_thread(agent.end, signal.SIGTERM))
        finish.set()
        assert (await asking).body == b"ok"
    assert await ending == 0
    assert await ended(session) == "agent_left"
    assert agent.told.count("The session has ended") == 1


async def test_work_that_is_under_way_keeps_a_session_alive(cluster: Cluster, tmp_path: Path) -> None:
    """Two sessions that nobody drives, of which one says that it works."""
    (tmp_path / "busy").touch()
    idle, busy = cluster.session(idle_seconds=2), cluster.session(idle_seconds=2)
    agents: list[Agent] = [
        cluster.agent(idle, f"http://127.0.0.1:{free_port()}"),
        cluster.agent(busy, f"http://127.0.0.1:{free_port()}", "--busy", f"test -e {tmp_path / 'busy'}"),
    ]
    all_connected([busy])
    assert await ended(idle) == "idle"
    assert await asyncio.to_thread(agents[0].wait) == 0
    assert "The session has ended: idle." in agents[0].told
    assert (busy.show()["state"], busy.show()["running"]) == ("connected", 1)


@pytest.mark.parametrize("attempts", [1, 5, 1_100, 10**9])
def test_an_agent_dials_on_for_as_long_as_it_takes(attempts: int) -> None:
    delays = [delay_of(attempts, most=30) for _ in range(200)]
    assert 0 <= min(delays) < max(delays) <= 30
    assert max(delays) > min(30, 0.2 * 2 ** min(attempts, 20)) / 2
