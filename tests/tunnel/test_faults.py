"""Whatever dies takes with it what was under way, and no more."""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from drs_service.db.embedded import EmbeddedPostgres
from drs_service.db.migrate import migrate
from tests.support.containers import missing
from tests.support.deadline import once, until
from tests.support.program import free_port
from tests.support.raw_http import asked, chunk, connected, request
from tests.support.stage import OK, Stage, Visit, staged
from tests.support.tunnel import Agent, Cluster, Place, Session, clustered
from tests.support.tunnel import connected as all_connected
from tests.tunnel.conftest import settings_for

SOON = 3.0  # seconds: far less than anybody's patience
LONG = 15.0  # seconds within which a session is reached again


@pytest.fixture(scope="module")
def own_postgres(roomy: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(roomy / f"tunnel-{secrets.token_hex(4)}", settings={"fsync": "off"})
    server.start()
    try:
        server.create_database("drs")
        migrate(server.url("drs"))
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def mortal(roomy: Path, own_postgres: EmbeddedPostgres, own_environment: dict[str, str]) -> Iterator[Cluster]:
    """Of which parts may be killed, and must be started again by whoever does."""
    if reason := missing():
        pytest.skip(reason)
    directory = roomy / "tunnel-faults"
    settings = settings_for(directory, own_postgres.url("drs"))
    with clustered(directory, settings, own_environment | {"DRS_SHUTDOWN_GRACE_SECONDS": "5"}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def led(mortal: Cluster) -> tuple[Session, Agent, int]:
    """A session, its agent, and the port of its app."""
    session, port = mortal.session(), free_port()
    agent = mortal.agent(session, f"http://127.0.0.1:{port}")
    all_connected([session])
    return session, agent, port


@pytest.fixture
def own(led: tuple[Session, Agent, int]) -> Session:
    return led[0]


@pytest.fixture
def agent(led: tuple[Session, Agent, int]) -> Agent:
    return led[1]


@pytest.fixture(autouse=True)
def heal(mortal: Cluster, agent: Agent) -> Iterator[None]:
    """What a test that failed has left dead would be the death of the next ones."""
    yield
    for number, node in enumerate(mortal.nodes):
        if not node.is_alive:
            mortal.restart(number)
    if agent.code is not None:
        agent.run()


@pytest_asyncio.fixture
async def app(led: tuple[Session, Agent, int]) -> AsyncIterator[Stage]:
    async with staged(led[2]) as stage:
        yield stage


def waiting(app: Stage, callers: int) -> Callable[[], bool]:
    """Have the app keep its callers waiting, at /wait and in the middle of /half. The fact that so many do."""
    there: list[bytes] = []

    async def act(visit: Visit) -> None:
        heard = await visit.request()
        if heard.target == b"/":
            await visit.say(OK)
            return
        there.append(heard.target)
        if heard.target == b"/half":
            await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await visit.gone()

    app.act = act
    return lambda: len(there) == callers


@asynccontextmanager
async def half(places: Sequence[Place], session: Session) -> AsyncIterator[None]:
    """Answers of which half has come, and which are broken off soon after the block."""
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connected(place)) for place in places]
        for one in connections:
            await one.send(request("GET", f"{session.path}/half", session.bearer))
            assert (await one.head()).status == 200
        yield
        async with asyncio.timeout(SOON):
            for one in connections:
                with contextlib.suppress(ConnectionResetError):
                    assert await one.rest() in {b"", b"half"}


async def works(session: Session, place: Place) -> None:
    """It is reached, perhaps after a while, and nobody is told otherwise."""
    async with asyncio.timeout(LONG):
        answer = await asked(place, request("GET", f"{session.path}/", session.bearer))
    assert (answer.status, answer.body) == (200, b"ok"), answer


def proxy(cluster: Cluster) -> Place:
    return Place(int(cluster.url.rpartition(":")[2]))


async def test_a_node_that_ends_fails_no_request(mortal: Cluster, own: Session, app: Stage) -> None:
    """Its agents go to the other one; what is under way is finished where it began."""
    finish, there = asyncio.Event(), asyncio.Event()

    async def act(visit: Visit) -> None:
        heard = await visit.request()
        if heard.target == b"/":
            await visit.say(OK)
            return
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        there.set()
        await finish.wait()
        await visit.say(b"half")

    app.act = act
    ends = await mortal.holder(own)
    over = asyncio.Event()
    answers: list[str] = []

    async def driving() -> None:
        async with httpx.AsyncClient(base_url=mortal.url, headers=own.headers, timeout=LONG) as client:
            while not over.is_set():
                try:
                    answers.append((await client.get(f"{own.path}/")).text)
                except httpx.HTTPError as error:
                    answers.append(repr(error))

    drivers = [asyncio.create_task(driving()) for _ in range(4)]
    slow = asyncio.create_task(asked(mortal.places[1 - ends], request("GET", f"{own.path}/slow", own.bearer)))
    await there.wait()
    await until(lambda: len(answers) > 20)
    ending = asyncio.create_task(mortal.nodes[ends].end(signal.SIGTERM))

    async def moved() -> int:
        return await mortal.holder(own)

    await once(lambda holder: holder == 1 - ends, moved)
    count = len(answers)
    await until(lambda: len(answers) > count + 20)
    assert set(answers) == {"ok"}
    finish.set()
    assert (await slow).body == b"halfhalf"
    async with asyncio.timeout(LONG):
        await ending
    count = len(answers)
    await until(lambda: len(answers) > count + 20)
    over.set()
    await asyncio.gather(*drivers)
    assert set(answers) == {"ok"}
    await asyncio.to_thread(mortal.restart, ends)
    await works(own, mortal.places[ends])


async def test_the_node_that_holds_the_tunnel_is_killed(mortal: Cluster, own: Session, app: Stage) -> None:
    all_there = waiting(app, 2)
    dies = await mortal.holder(own)
    lives = mortal.places[1 - dies]
    through_other = asyncio.create_task(asked(lives, request("POST", f"{own.path}/wait", own.bearer)))
    async with half([lives], own):
        await until(all_there)
        mortal.nodes[dies].kill()
    async with asyncio.timeout(SOON):
        answer = await through_other
    assert (answer.status, answer.json()["code"]) == (502, "tunnel_lost")
    await works(own, lives)
    # nginx may think for a second that nobody lives.
    await once(lambda one: one.status == 200, partial(asked, proxy(mortal), request("GET", f"{own.path}/", own.bearer)))
    assert await mortal.holder(own) == 1 - dies
    await asyncio.to_thread(mortal.restart, dies)
    await works(own, mortal.places[dies])


async def test_the_other_node_is_killed(mortal: Cluster, own: Session, app: Stage) -> None:
    """The app hears that those who asked through it have left."""
    all_there = waiting(app, 2)
    dies = 1 - await mortal.holder(own)
    asking = asyncio.create_task(asked(mortal.places[dies], request("GET", f"{own.path}/wait", own.bearer)))
    async with half([mortal.places[dies]], own):
        await until(all_there)
        mortal.nodes[dies].kill()
    await asyncio.wait([asking], timeout=SOON)
    assert asking.exception() is not None
    await until(lambda: all(visit.is_over for visit in app.visits), within=SOON)
    await works(own, mortal.places[1 - dies])
    await asyncio.to_thread(mortal.restart, dies)
    await works(own, mortal.places[dies])


async def test_the_agent_is_killed(mortal: Cluster, own: Session, app: Stage, agent: Agent) -> None:
    """Who asks while it is away waits for it; started again with the same command, it goes on."""
    all_there = waiting(app, 4)
    asking = [
        asyncio.create_task(asked(place, request("POST", f"{own.path}/wait", own.bearer))) for place in mortal.places
    ]
    async with half(mortal.places, own):
        await until(all_there)
        agent.end()
    async with asyncio.timeout(SOON):
        for one in asking:
            assert ((await one).status, (await one).json()["code"]) == (502, "tunnel_lost")
    later = [asyncio.create_task(works(own, place)) for place in (*mortal.places, proxy(mortal))]
    done, _ = await asyncio.wait(later, timeout=1.5)
    assert not done
    agent.run()
    await asyncio.gather(*later)


async def test_the_app_is_killed(mortal: Cluster, own: Session, led: tuple[Session, Agent, int]) -> None:
    async with staged(led[2]) as app:
        all_there = waiting(app, 4)
        asking = [
            asyncio.create_task(asked(place, request("POST", f"{own.path}/wait", own.bearer)))
            for place in mortal.places
        ]
        async with half(mortal.places, own):
            await until(all_there)
            for visit in app.visits:
                visit.break_off()
    async with asyncio.timeout(SOON):
        for one in asking:
            assert ((await one).status, (await one).json()["code"]) == (502, "target_broken")
        for place in mortal.places:
            answer = await asked(place, request("GET", f"{own.path}/", own.bearer))
            assert (answer.status, answer.json()["code"]) == (502, "target_unreachable")
    async with staged(led[2]):
        for place in mortal.places:
            await works(own, place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
async def test_postgres_is_started_again(
    number: signal.Signals, mortal: Cluster, own: Session, app: Stage, own_postgres: EmbeddedPostgres
) -> None:
    """Neither what is under way nor who asks a session that is known hears of it; the tunnel stays as it is."""
    more = asyncio.Semaphore(0)

    async def act(visit: Visit) -> None:
        if (await visit.request()).target == b"/":
            await visit.say(OK)
            return
        await visit.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while await more.acquire():
            await visit.say(chunk(b"more"))

    app.act = act
    epoch = own.show()["tunnel"]["since"]
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connected(place)) for place in mortal.places]
        for stream in streams:
            await stream.send(request("GET", f"{own.path}/stream", own.bearer))
            await stream.head()

        async def all_go_on() -> None:
            for _ in streams:
                more.release()
            for stream in streams:
                assert await stream.chunk() == b"more"
            for place in mortal.places:
                await works(own, place)

        await all_go_on()
        assert own_postgres.pid is not None
        os.kill(own_postgres.pid, number)
        await until(lambda: own_postgres.returncode is not None)
        for _ in range(3):
            await all_go_on()
            await asyncio.sleep(0.5)  # so long that nothing of before is fresh
        own_postgres.start()
        await all_go_on()

    async def shown() -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(f"{mortal.url}/sessions/{own.id}", headers=own.headers)

    answer = await once(lambda one: one.status_code == 200, shown)
    assert answer.json()["tunnel"] == {"connected": True, "since": epoch}
