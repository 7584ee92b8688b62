"""What a caller is answered is what the app answers."""

import httpx
import pytest

from tests.support.raw_http import asked, connected, request
from tests.support.stage import OK, Stage, Visit
from tests.support.tunnel import Cluster, Place, Session


async def test_fields_come_back_as_they_are_but_those_between_neighbours(
    app: Stage, node: Place, session: Session
) -> None:
    ours = ["X-Twice: 1", "x-tWICE: 2", "Empty: ", "X_Under: a", "Server: mine", "Date: then", "X-Bytes: \xfc\x80 \xff"]
    ours += ["WWW-Authenticate: Basic", "Content-Encoding: br", "ETag: W/", "Vary: *"]
    between = ["Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: 5", "Proxy-Authenticate: no"]
    between += ["Strict-Transport-Security: max-age=1", "Clear-Site-Data: *", "Alt-Svc: h3"]
    lines = ["HTTP/1.1 299 Own Words", *ours[:3], *between, *ours[3:], "Content-Length: 0", "", ""]
    app.answers("\r\n".join(lines).encode("latin-1"))
    async with connected(node) as connection:
        await connection.send(request("GET", f"{session.path}/", session.bearer))
        status, *fields = await connection.lines()
    assert status.startswith("HTTP/1.1 299 ")
    assert fields == [*ours, "Content-Length: 0"]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        pytest.param("HEAD", "200 OK\r\nContent-Length: 12345", id="head"),
        pytest.param("HEAD", "200 OK\r\nTransfer-Encoding: chunked", id="head-chunked"),
        pytest.param("HEAD", "200 OK", id="head-of-no-length"),
        pytest.param("GET", "204 No Content", id="204"),
        pytest.param("GET", "304 Not Modified\r\nContent-Length: 12345", id="304"),
        pytest.param("GET", "200 OK\r\nContent-Length: 0", id="empty"),
    ],
)
async def test_an_answer_without_a_body_ends_with_its_head(
    method: str, answer: str, app: Stage, node: Place, session: Session
) -> None:
    """The next one on the same connections says that nothing is left, and that nothing is waited for."""
    app.answers(f"HTTP/1.1 {answer}\r\n\r\n".encode(), OK)
    async with connected(node) as connection:
        await connection.send(request(method, f"{session.path}/", session.bearer))
        head = await connection.head()
        assert str(head.status) == answer[:3]
        assert ("12345" in answer) is (head.headers.get("content-length") == "12345")
        await connection.send(request("GET", f"{session.path}/", session.bearer))
        assert (await connection.answer()).body == b"ok"


@pytest.mark.parametrize("end", ["length", "chunks", "close"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_body_comes_back_whole(end: str, version: str, app: Stage, node: Place, session: Session) -> None:
    body = bytes(range(256)) * 1000
    framed = {
        "length": b"Content-Length: %d\r\n\r\n" % len(body) + body,
        "chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        "close": b"\r\n" + body,
    }

    async def act(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\n" + framed[end])

    app.act = act
    async with connected(node) as connection:
        asking = request("GET", f"{session.path}/", session.bearer)
        await connection.send(asking.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))
        head = await connection.head()
        if "transfer-encoding" in head.headers:
            assert version == "1.1"
            came = b""
            while piece := await connection.chunk():
                came += piece
        elif end == "length":
            came = await connection.read(int(head.headers["content-length"]))
        else:
            came = await connection.rest()
        assert came == body


async def test_fields_behind_a_body_come_back(app: Stage, node: Place, session: Session) -> None:
    app.answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 5\r\nx-sum: 6\r\n\r\n")
    async with connected(node) as connection:
        await connection.send(request("GET", f"{session.path}/", session.bearer, "TE: trailers"))
        await connection.head()
        assert await connection.chunk() == b"ok"
        assert await connection.chunk() == b""
        assert await connection.lines() == ["X-Sum: 5", "x-sum: 6"]


async def test_an_app_says_go_on_and_gives_hints(app: Stage, node: Place, session: Session) -> None:
    """RFC 9110 15.2: 100 comes from the app itself, before the body has been sent, and 103 before the answer."""

    async def act(visit: Visit) -> None:
        assert (await visit.head()).all("expect") == ["100-continue"]
        await visit.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await visit.reader.readexactly(5) == b"hello"
        await visit.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK)

    app.act = act
    async with connected(node) as connection:
        await connection.send(
            request("POST", f"{session.path}/", session.bearer, "Expect: 100-continue", "Content-Length: 5")
        )
        assert (await connection.head()).status == 100
        await connection.send(b"hello")
        hints = await connection.head()
        assert (hints.status, hints.headers["link"]) == (103, "</a.css>")
        assert (await connection.answer()).body == b"ok"


async def test_a_proxy_gets_no_hints(app: Stage, session: Session, cluster: Cluster) -> None:
    """To nginx before 1.29 one is the answer, and it waits for its end."""
    app.answers(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    async with connected(Place(int(cluster.url.rpartition(":")[2]))) as connection:
        await connection.send(request("GET", f"{session.path}/", session.bearer))
        assert (await connection.answer()).status == 200


async def test_an_app_refuses_before_the_body_is_sent(app: Stage, node: Place, session: Session) -> None:
    async def act(visit: Visit) -> None:
        await visit.head()
        await visit.say(b"HTTP/1.1 417 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    app.act = act
    head = request("POST", f"{session.path}/", session.bearer, "Expect: 100-continue", "Content-Length: 5")
    assert (await asked(node, head)).status == 417


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/a?b#c", "{prefix}/a?b#c"),
        ("{prefix}/a", "{prefix}/a"),
        ("{prefix}x/a", "{prefix}{prefix}x/a"),
        ("a/../b", "a/../b"),
        ("{own}/a", "{prefix}/a"),
        ("{own}", "{prefix}/"),
        ("{public}{prefix}/a", "{prefix}/a"),
        ("{public}/a", "{prefix}/a"),
        ("https://example.org/a", "https://example.org/a"),
        ("//example.org/a", "//example.org/a"),
        ("?b", "?b"),
    ],
)
async def test_a_redirect_stays_in_the_session(
    said: str, told: str, app: Stage, session: Session, cluster: Cluster
) -> None:
    words = {"prefix": session.path, "own": f"http://127.0.0.1:{app.port}", "public": cluster.url}
    fields = f"Location: {said.format(**words)}\r\nContent-Location: {said.format(**words)}\r\nContent-Length: 0"
    app.answers(f"HTTP/1.1 302 Found\r\n{fields}\r\n\r\n".encode())
    answer = await asked(cluster.places[1], request("GET", f"{session.path}/", session.bearer))
    assert (answer.headers["location"], answer.headers["content-location"]) == (told.format(**words),) * 2


async def test_cookies_stay_in_the_session(app: Stage, node: Place, session: Session) -> None:
    said = ["a=b; Path=/; HttpOnly", "a=b; path=/x/y; Domain=example.org; Secure", 'a="b;c"', "a=b; Path=x", "=; Path"]
    said += [f"drs_session_{session.id}=evil; Path=/", " drs_session_x=evil"]
    fields = "".join(f"Set-Cookie: {one}\r\n" for one in said)
    app.answers(f"HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n".encode())
    async with connected(node) as connection:
        await connection.send(request("GET", f"{session.path}/", session.bearer))
        cookies = [line for line in await connection.lines() if line.startswith("Set-Cookie")]
    assert cookies == [
        f"Set-Cookie: a=b; Path={session.path}/; HttpOnly",
        f"Set-Cookie: a=b; Path={session.path}/x/y; Secure",
        f'Set-Cookie: a="b;c"; Path={session.path}/',
        f"Set-Cookie: a=b; Path={session.path}/",
        f"Set-Cookie: =; Path={session.path}/",
    ]


async def test_a_cookie_of_an_app_comes_back_to_it(app: Stage, session: Session, cluster: Cluster) -> None:
    app.answers(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/in\r\nContent-Length: 0\r\n\r\n", OK)
    async with httpx.AsyncClient(base_url=cluster.url, headers=session.headers) as client:
        for path in ("/", "/in/x", "/out"):
            await client.get(f"{session.path}{path}")
    assert [one.all("cookie") for one in app.heard] == [[], ["a=b"], []]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "target_broken", id="no-http"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "target_broken", id="fields-too-large"),
        pytest.param(b"", "target_broken", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", "target_broken", id="half-a-head"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", "target_broken", id="two-lengths"
        ),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "target_broken", id="101"
        ),
    ],
)
async def test_an_answer_that_is_none_is_told_as_that(
    answer: bytes, code: str, app: Stage, node: Place, session: Session
) -> None:
    async def act(visit: Visit) -> None:
        await visit.request()
        await visit.say(answer)

    app.act = act
    told = await asked(node, request("POST", f"{session.path}/", session.bearer))
    assert (told.status, told.json()["code"], told.json()["status_code"]) == (502, code, 502)


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_an_answer_that_is_cut_short_resets_the_connection(
    framing: str, version: str, app: Stage, node: Place, session: Session
) -> None:
    async def act(visit: Visit) -> None:
        await visit.request()
        await visit.say(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello".encode())

    app.act = act
    async with connected(node) as connection:
        asking = request("GET", f"{session.path}/", session.bearer)
        await connection.send(asking.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))
        with pytest.raises(ConnectionResetError):
            await connection.rest()


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nst", b"HTTP/1.1 404 Not Found\r\nX: "])
async def test_what_an_app_says_beyond_its_answer_is_nobodys(
    more: bytes, app: Stage, node: Place, session: Session
) -> None:
    """Whoever asks next would get it; and a body without a head would end the tunnel."""

    async def act(visit: Visit) -> None:
        kept = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        while True:
            app.heard.append(await visit.request())
            await visit.say(kept + more if len(app.heard) == 1 else b"ale" + kept if visit is app.visits[0] else kept)

    app.act = act
    async with connected(node) as connection:
        for _ in range(2):
            await connection.send(request("GET", f"{session.path}/", session.bearer))
            answer = await connection.answer()
            assert (answer.status, answer.body) == (200, b"ok")
    assert session.is_connected
