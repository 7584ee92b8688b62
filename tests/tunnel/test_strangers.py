"""Who does not have what opens a session finds nothing, and does nothing."""

import asyncio

import pytest

from tests.support.fake_agent import GOAWAY, LEFT, STOPPED, credentials, frame, joined
from tests.support.raw_http import Answer, asked, connected, request
from tests.support.serve import wait_until
from tests.support.stage import Stage
from tests.support.tunnel import Cluster, Place, Session

SWITCH = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
SWITCH += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
DIAL = [*SWITCH, "Sec-WebSocket-Protocol: drs-tunnel.1"]


@pytest.fixture(scope="module")
def another(cluster: Cluster) -> Session:
    return cluster.session()


def shown(what: str, session: Session, another: Session) -> list[str]:
    """What a stranger shows."""
    return {
        "nothing": [],
        "rubbish": ["Authorization: Bearer rubbish"],
        "the join token": [f"Authorization: Bearer {session.join_token}"],
        "the secret as a password": [f"Authorization: Basic {session.secret}"],
        "the secret of another session": [another.bearer],
        "it as a cookie": [f"Cookie: drs_session_{another.id}={session.secret}"],
        "a cookie of nothing": [f"Cookie: drs_session_{session.id}=; drs_session_{session.id}"],
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        "nothing",
        "rubbish",
        "the join token",
        "the secret as a password",
        "the secret of another session",
        "it as a cookie",
        "a cookie of nothing",
    ],
)
async def test_a_stranger_finds_no_session(
    what: str, app: Stage, node: Place, session: Session, another: Session
) -> None:
    """It is as if there were none: the answers are those for an id that nobody has."""
    lines = shown(what, session, another)
    for method, path, more in (
        ("GET", "/socket/{}/", []),
        ("HEAD", "/socket/{}", []),
        ("POST", "/socket/{}/a?b", ["Content-Length: 0"]),
        ("GET", "/socket/{}/", SWITCH),
        ("GET", "/sessions/{}", []),
        ("GET", "/sessions/{}/events", []),
        ("POST", "/sessions/{}/links", ["Content-Length: 0"]),
        ("GET", "/sessions/{}/enter?code=rubbish", []),
        ("DELETE", "/sessions/{}", []),
    ):
        answers = []
        for session_id in (session.id, "0123456789abcdef"):
            answer = await of(node, request(method, path.format(session_id), *lines, *more))
            answer.headers.pop("date", None)
            answers.append(answer)
        assert answers[0] == answers[1]
        assert answers[0].status == 404
        assert method == "HEAD" or answers[0].json()["code"] == "session_not_found"
    assert not app.heard
    assert session.show()["state"] in {"connected", "idle"}


async def of(place: Place, asking: bytes) -> Answer:
    """The answer, of which that to HEAD has no content."""
    async with connected(place) as connection:
        await connection.send(asking)
        return await (connection.head() if asking.startswith(b"HEAD") else connection.answer())


async def test_nobody_else_joins(node: Place, session: Session, cluster: Cluster) -> None:
    own = credentials(None)["Authorization"]
    for lines in (
        [],
        [f"Drs-Join-Token: {session.join_token}"],
        [f"Authorization: {own}"],
        [f"Authorization: {own}", "Drs-Join-Token: rubbish"],
        [f"Authorization: {own}", f"Drs-Join-Token: {session.join_token}"],  # it is used
        [f"Authorization: {own}", f"Drs-Join-Token: {session.secret}"],
        [f"Authorization: Bearer {session.secret}"],
        [f"Authorization: {own}", f"Authorization: {own}"],
        [f"Authorization: {own}", "Drs-Join-Token: a", "Drs-Join-Token: b"],
        ["Authorization: Bearer \xff\xfe"],
        ["Authorization: Bearer short", f"Drs-Join-Token: {cluster.session().join_token}"],
    ):
        answer = await asked(node, request("GET", "/tunnel", *lines, *DIAL))
        assert (answer.status, answer.json()["code"]) == (401, "join_refused"), lines
    for status, lines in ((400, [f"Authorization: {own}", *SWITCH]), (426, [])):
        answer = await asked(node, request("GET", "/tunnel", *lines))
        assert (answer.status, answer.json()["code"]) == (status, "bad_request")
        assert answer.json()["status_code"] == status
    assert session.is_connected


async def test_what_comes_before_the_door_is_open_closes_it(node: Place, cluster: Cluster) -> None:
    session = cluster.session()
    lines = [f"{name}: {value}" for name, value in credentials(session.join_token).items()]
    async with connected(node) as connection:
        await connection.send(request("GET", "/tunnel", *lines, *DIAL) + request("GET", "/livez"))
        assert await connection.rest() == b""
    assert not session.is_connected


async def test_an_agent_that_joins_and_never_speaks_holds_nothing(node: Place, cluster: Cluster) -> None:
    session = cluster.session()
    lines = [f"{name}: {value}" for name, value in credentials(session.join_token).items()]
    async with connected(node) as connection:
        await connection.send(request("GET", "/tunnel", *lines, *DIAL))
        assert (await connection.head()).status == 101
        assert session.is_connected
    wait_until(lambda: not session.is_connected)


async def test_a_second_agent_with_the_token_is_told_so(session: Session, cluster: Cluster) -> None:
    agent = cluster.agent(session, "http://127.0.0.1:1", home="second")
    assert await asyncio.to_thread(agent.wait) != 0
    assert "join token" in agent.told and "Traceback" not in agent.told


async def test_two_agents_race_for_a_token(cluster: Cluster) -> None:
    session = cluster.session()
    lines = [[f"{name}: {value}" for name, value in credentials(session.join_token).items()] for _ in range(8)]
    answers = await asyncio.gather(
        *(
            of_head(cluster.places[number % 2], request("GET", "/tunnel", *one, *DIAL))
            for number, one in enumerate(lines)
        )
    )
    assert sorted(answers) == [101, *[401] * 7]


async def of_head(place: Place, asking: bytes) -> int:
    async with connected(place) as connection:
        await connection.send(asking)
        return (await connection.head()).status


async def test_pages_of_others_change_nothing(app: Stage, node: Place, session: Session, cluster: Cluster) -> None:
    evil = "Origin: https://evil.example"
    for head in (
        request("POST", f"{session.path}/", session.bearer, evil, "Content-Length: 0"),
        request("GET", f"{session.path}/", session.bearer, evil, *SWITCH),
        request("GET", f"{session.path}/", session.bearer, "Origin: null", *SWITCH),
    ):
        answer = await asked(node, head)
        assert (answer.status, answer.json()["code"]) == (403, "forbidden")
    assert not app.heard
    for origin in (cluster.url, "http://localhost:3000"):
        head = request("POST", f"{session.path}/", session.bearer, f"Origin: {origin}", "Content-Length: 0")
        assert (await asked(node, head)).status == 200


async def test_another_host_is_not_answered(app: Stage, node: Place, session: Session) -> None:
    head = request("GET", f"{session.path}/", session.bearer)
    for host in (b"Host: evil.example", b"X: y", b"Host: localhost\r\nHost: evil.example", b"Host: "):
        answer = await asked(node, head.replace(b"Host: localhost", host))
        assert (answer.status, answer.json()["code"]) == (421, "host_unknown")
    answer = await asked(node, request("GET", "/tunnel", *DIAL).replace(b"localhost", b"evil.example"))
    assert answer.status in {401, 421}
    assert not app.heard


async def test_that_a_session_has_ended_is_told_to_who_has_its_secret(cluster: Cluster, node: Place) -> None:
    session = cluster.session()
    async with joined(node, session) as agent:
        assert (await asked(node, request("DELETE", f"/sessions/{session.id}", session.bearer))).status == 202
        assert await agent.told_to_leave() == (STOPPED, "stopped")
        await agent.send(frame(GOAWAY, LEFT))
        await agent.closed()
    answer = await asked(node, request("GET", f"{session.path}/", session.bearer))
    assert (answer.status, answer.json()["code"]) == (410, "session_ended")
    answer = await asked(node, request("GET", f"{session.path}/", "Authorization: Bearer another"))
    assert (answer.status, answer.json()["code"]) == (404, "session_not_found")
