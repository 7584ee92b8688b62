"""What is too long, too much or too late is told, each as what it is."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from drs_service.settings import Secret, Settings
from tests.support.deadline import once
from tests.support.fake_agent import DATA, HELLO, OPEN, RESET, frame, head, joined
from tests.support.postgres import Postgres
from tests.support.raw_http import asked, chunk, connected, request
from tests.support.server import Service, running_beside
from tests.support.stage import Stage
from tests.support.tunnel import Place, Session

MOST = 100_000  # bytes of a body


@pytest.fixture(scope="module")
def strict(roomy: Path, postgres: Postgres) -> Iterator[Service]:
    """A node with little patience."""
    with postgres.database() as database_url:
        settings = Settings(
            database_url=Secret(database_url),
            storage_url=(roomy / "strict").as_uri(),
            session_answer_seconds=1,
            session_silence_seconds=1,
            session_grace_seconds=0,
            session_max_body_bytes=MOST,
        )
        with running_beside(settings) as service:
            yield service


@pytest.fixture
def waited(strict: Service) -> Session:
    """A session of it."""
    return Session.created(strict.url)


@pytest.mark.parametrize("length", [70_000, 100_000, 1_000_000])
async def test_a_request_line_may_be_too_long(length: int, app: Stage, node: Place, session: Session) -> None:
    for line in (f"{session.path}/{'a' * length}", f"{session.path}/?{'a' * length}"):
        async with connected(node) as connection:
            await connection.send(request("GET", line, session.bearer))
            answer = await connection.answer()
            assert (answer.status, answer.json()["code"]) == (414, "request_line_too_long")
    assert not app.heard


async def test_it_may_be_long(app: Stage, node: Place, session: Session) -> None:
    assert (await asked(node, request("GET", f"{session.path}/{'a' * 60_000}", session.bearer))).status == 200
    assert len(app.heard[0].target) == 60_001


@pytest.mark.parametrize(
    "lines", [["X: " + "a" * 100_000], ["X: a"] * 20_000, ["X" * 100_000 + ": a"]], ids=["one", "many", "a-name"]
)
async def test_fields_may_be_too_large(lines: list[str], app: Stage, node: Place, session: Session) -> None:
    for method in ("GET", "POST"):
        answer = await asked(node, request(method, f"{session.path}/", session.bearer, *lines, "Content-Length: 0"))
        assert (answer.status, answer.json()["code"]) == (431, "headers_too_large")
    assert not app.heard


async def test_they_may_be_large(app: Stage, node: Place, session: Session) -> None:
    answer = await asked(node, request("GET", f"{session.path}/", session.bearer, "X: " + "a" * 60_000))
    assert answer.status == 200
    assert app.heard[0].all("x") == ["a" * 60_000]


async def test_fields_behind_a_body_may_be_too_large(app: Stage, node: Place, session: Session) -> None:
    """The body has gone its way by then: it goes without them."""
    head = request("POST", f"{session.path}/", session.bearer, "Transfer-Encoding: chunked")
    async with connected(node) as connection:
        await connection.send(head + chunk(b"hello") + b"0\r\nX: " + b"a" * 200_000 + b"\r\n\r\n")
        assert (await connection.head()).status in {200, 431}
    assert all(not one.trailers for one in app.heard)


@pytest.mark.parametrize("said", ["its length", "chunks"])
async def test_a_body_may_be_too_large(said: str, strict: Service, waited: Session) -> None:
    line = f"Content-Length: {2 * MOST}" if said == "its length" else "Transfer-Encoding: chunked"
    body = bytes(2 * MOST) if said == "its length" else chunk(bytes(2 * MOST)) + chunk(b"")
    async with joined(Place(strict.port), waited) as agent:
        await agent.frame(HELLO)
        async with connected(strict) as connection:
            await connection.send(request("POST", f"{waited.path}/", waited.bearer, line))
            if said == "chunks":
                await agent.frame(OPEN)
            await connection.send(body)
            answer = await connection.answer()
            assert (answer.status, answer.json()["code"]) == (413, "body_too_large")


async def test_an_app_may_take_too_long(strict: Service, waited: Session) -> None:
    async with joined(Place(strict.port), waited) as agent:
        asking = asyncio.create_task(asked(strict, request("GET", f"{waited.path}/", waited.bearer)))
        stream = await agent.opened()
        answer = await asking
        assert (answer.status, answer.json()["code"]) == (504, "target_timeout")
        reset = await agent.frame(RESET)
        assert reset.stream == stream


async def test_a_client_may_take_longer_than_an_app(strict: Service, waited: Session) -> None:
    """As long as it sends its request, nobody waits for an answer."""
    async with joined(Place(strict.port), waited) as agent, connected(strict) as connection:
        await connection.send(request("POST", f"{waited.path}/", waited.bearer, "Content-Length: 5"))
        await agent.opened()
        for _ in range(4):
            await asyncio.sleep(0.5)
            await connection.send(b"a")
        await connection.send(b"a")
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (504, "target_timeout")


async def test_an_answer_that_stops_is_broken_off(strict: Service, waited: Session) -> None:
    async with joined(Place(strict.port), waited) as agent, connected(strict) as connection:
        await connection.send(request("GET", f"{waited.path}/", waited.bearer))
        stream = await agent.opened()
        await agent.send(head(stream, 200), frame(DATA, stream, b"hello"))
        assert (await connection.head()).status == 200
        with pytest.raises(ConnectionResetError):
            await connection.rest()


async def test_a_session_without_an_agent_is_told(strict: Service, waited: Session) -> None:
    async def absent() -> str:
        answer = await asked(strict, request("GET", f"{waited.path}/", waited.bearer))
        assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (503, "tunnel_absent", "2")
        return str(answer.json()["msg"])

    assert "joined" in await absent()
    async with joined(Place(strict.port), waited) as agent:
        await agent.frame(HELLO)
    assert "at the moment" in await once(lambda said: "moment" in said, absent)
