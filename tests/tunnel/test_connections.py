"""Requests for sessions and others take turns on one connection."""

import asyncio
import asyncio.subprocess
import contextlib
from pathlib import Path

import pytest

from tests.support.raw_http import asked, chunk, connected, request
from tests.support.stage import Stage, Visit
from tests.support.tunnel import Cluster, Place, Session

KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_requests_for_a_session_and_others_take_turns(app: Stage, node: Place, session: Session) -> None:
    app.answers(KEPT)
    body = bytes(range(256)) * 1000
    own = request("POST", f"{session.path}/a", session.bearer, f"Content-Length: {len(body)}") + body
    chunked = request("PUT", f"{session.path}/b", session.bearer, "Transfer-Encoding: chunked")
    upload = request("PUT", "/upload/a.bin", f"Content-Length: {len(body)}") + body
    async with connected(node) as connection:
        for _ in range(3):
            for asking, status in (
                (own, 200),
                (request("GET", "/livez"), 200),
                (chunked + chunk(body) + chunk(b""), 200),
                (upload, 201),
                (request("GET", f"{session.path}/c"), 404),
                (request("GET", f"{session.path}/d", session.bearer), 200),
                (request("GET", "/nothing"), 404),
            ):
                await connection.send(asking)
                assert (await connection.answer()).status == status
    assert [one.target for one in app.heard] == [b"/a", b"/b", b"/d"] * 3
    assert [len(one.body) for one in app.heard] == [len(body), len(body), 0] * 3


@pytest.mark.parametrize("first", ["ours", "theirs"])
async def test_heads_come_in_pieces(first: str, app: Stage, node: Place, session: Session) -> None:
    """The borders of requests and those of what is read have nothing to do with each other."""
    app.answers(KEPT)
    ours, theirs = request("GET", f"{session.path}/a", session.bearer), request("GET", "/livez")
    asking = ours + theirs if first == "ours" else theirs + ours
    middle = len(ours if first == "ours" else theirs)
    async with connected(node) as connection:
        for piece in (asking[:7], asking[7:30], asking[30:middle]):
            await connection.send(piece)
        assert (await connection.answer()).status == 200
        for at in range(middle, len(asking)):
            await connection.send(asking[at : at + 1])
        assert (await connection.answer()).status == 200


async def test_who_does_not_wait_for_the_answer_does_no_harm(app: Stage, node: Place, session: Session) -> None:
    """RFC 9112 9.3.2: the first request is answered; who sent others on top of it must be ready to send them again."""
    app.answers(KEPT)
    ours = request("GET", f"{session.path}/a", session.bearer)
    for others in (ours, request("GET", "/livez"), request("POST", f"{session.path}/b", "Content-Length: 3") + b"abc"):
        app.heard.clear()
        async with connected(node) as connection:
            await connection.send(ours + others)
            assert (await connection.answer()).body == b"ok"
            assert await connection.rest() == b""
        assert [one.target for one in app.heard] == [b"/a"]
    refused = ours.replace(b"Host: localhost", b"Host: evil.example")
    async with connected(node) as connection:
        await connection.send(refused + request("GET", "/livez"))
        assert (await connection.answer()).status == 421
        assert await connection.rest() == b""
    async with connected(node) as connection:
        await connection.send(request("GET", "/livez") + ours)
        assert (await connection.answer()).status == 200
        assert (await connection.answer()).status in {200, 404}


async def test_what_is_no_http_ends_the_connection(app: Stage, node: Place, session: Session) -> None:
    for rubbish in (
        f"GET {session.path}/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        f"GET {session.path}/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        f"GET {session.path}/ HTTP/1.1\r\nHost: localhost\r\nBad Name: 1\r\n\r\n",
        f"GET {session.path}/ HTTP/1.1\r\nHost: localhost\r\nX: 1\r\n folded\r\n\r\n",
        f"GET {session.path}/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        f"GET {session.path}/ BLA\r\n\r\n",
        f"FETCH {session.path}/ HTTP/1.1\r\n\r\n",
    ):
        async with connected(node) as connection:
            await connection.send(rubbish.encode())
            answer = await connection.answer()
            assert (answer.status, answer.json()["code"]) == (400, "bad_request"), rubbish
            assert await connection.rest() == b""
    assert not app.heard


@pytest.mark.parametrize(
    "begun",
    [
        "GET /socket/x/ HTTP/1.1\r\nHost: localhost\r\nX: ",
        "POST /socket/x/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ",
        "GET /livez/",
    ],
    ids=["of-a-session", "behind-its-body", "of-none", "a-path"],
)
async def test_a_field_without_end_is_not_gathered(begun: str, node: Place) -> None:
    async with connected(node) as connection:
        await connection.send(begun.encode() + bytes(b"x" * 2**20))
        with contextlib.suppress(ConnectionError):
            assert b" 200 " not in await connection.rest()


async def test_a_connect_is_for_no_session(node: Place, session: Session) -> None:
    async with connected(node) as connection:
        await connection.send(request("CONNECT", f"{session.path}/", session.bearer))
        assert (await connection.answer()).json()["code"] == "route_not_found"


async def test_a_body_is_no_request_whatever_is_left_out_of_the_head(app: Stage, node: Place, session: Session) -> None:
    """Of fields that are too large not all are kept, and one may have said how long the body is."""
    lines = ["Connection: Upgrade", "Upgrade: h2c", "Origin: https://evil.example", f"X: {'x' * 2**16}"]
    head = request("POST", f"{session.path}/", session.bearer, *lines, "Content-Length: 1000")
    async with connected(node) as connection:
        await connection.send(head + request("GET", f"{session.path}/", session.bearer))
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (431, "headers_too_large")
        assert await connection.rest() == b""
    assert not app.heard


@pytest.mark.parametrize("way", ["holder", "other", "proxy"])
async def test_a_body_is_not_lost_to_an_upgrade_that_nobody_wants(
    way: str, app: Stage, session: Session, cluster: Cluster, tmp_path: Path
) -> None:
    body = bytes(range(256)) * 1000
    (tmp_path / "body").write_bytes(body)
    place = {"proxy": cluster.url, "holder": cluster.nodes[0].url, "other": cluster.nodes[1].url}[way]
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--max-time", "10", "--http2", "-H", session.bearer, "-H", "Expect:"),
        *("--data-binary", f"@{tmp_path / 'body'}", f"{place}{session.path}/a"),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await curl.communicate()
    assert (curl.returncode, said) == (0, b"ok")
    assert app.heard[0].body == body
    assert not app.heard[0].all("upgrade") and not app.heard[0].all("http2-settings")


async def test_a_connection_that_the_app_closed_meanwhile_fails_no_request(
    app: Stage, node: Place, session: Session
) -> None:
    """It closes each one after its answer, and does not say so."""

    async def act(visit: Visit) -> None:
        app.heard.append(await visit.request())
        await visit.say(KEPT)

    app.act = act
    async with connected(node) as connection:
        for _ in range(20):
            await connection.send(request("GET", f"{session.path}/", session.bearer))
            assert (await connection.answer()).status == 200
    assert len(app.heard) == 20


async def test_a_body_that_is_none_is_told_so_and_reaches_nobody_as_whole(
    app: Stage, node: Place, session: Session
) -> None:
    head = request("POST", f"{session.path}/", session.bearer, "Transfer-Encoding: chunked")
    async with connected(node) as connection:
        await connection.send(head + chunk(b"some") + b"no size\r\n")
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (400, "bad_request")
        assert await connection.rest() == b""
    assert (await asked(node, request("GET", f"{session.path}/", session.bearer))).status == 200
    assert [heard.method for heard in app.heard] == [b"GET"]
