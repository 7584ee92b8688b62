"""What an app is asked is what the caller asks, byte for byte."""

import httpx
import pytest

from tests.support.raw_http import asked, chunk, request
from tests.support.stage import Stage
from tests.support.tunnel import Cluster, Place, Session, connected

RAW = "/a%2Fb%2f//c;d=1/../.%2e/+/%E2%82%AC/%C3%BC?x=%20+&y=//&z=%2f;?"


@pytest.mark.parametrize(
    ("asked_for", "told"),
    [(RAW, RAW), ("", "/"), ("/", "/"), ("?a=b", "/?a=b"), ("//evil.example/", "//evil.example/"), ("/%", "/%")],
)
async def test_a_path_and_its_query_arrive_as_they_are(
    asked_for: str, told: str, app: Stage, node: Place, session: Session
) -> None:
    assert (await asked(node, request("GET", session.path + asked_for, session.bearer))).status == 200
    assert app.heard[0].target == told.encode("latin-1")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_so_they_do_through_the_proxy(method: str, app: Stage, cluster: Cluster, session: Session) -> None:
    path = "/a%2Fb%2f//c;d=1/+/%E2%82%AC/%C3%BC?x=%20+&y=//&z=%2f;"
    proxy = Place(int(cluster.url.rpartition(":")[2]))
    head = request(method, session.path + path, session.bearer, "Content-Length: 2")
    assert (await asked(proxy, head, b"hi")).status == 200
    assert (app.heard[0].target, app.heard[0].body) == (path.encode("latin-1"), b"hi")


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "MKCOL", "M-SEARCH", "QUERY"]
)
async def test_every_method_arrives(method: str, app: Stage, node: Place, session: Session) -> None:
    assert (await asked(node, request(method, f"{session.path}/", session.bearer))).status == 200
    assert app.heard[0].line == f"{method} / HTTP/1.1".encode()


async def test_fields_arrive_as_they_are_but_those_between_neighbours(
    app: Stage, node: Place, session: Session
) -> None:
    ours = [
        "X-Twice: 1",
        "x-tWICE: 2",
        "Empty:",
        "X_Under: a",
        "Accept-Encoding: br;q=0.5",
        "X-Bytes: \xfc\x80 \t \xff",
        "Via: 1.0 somebody",
        "Content-Type: a/b",
        "TE: trailers",
    ]
    between = ["Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: 5", "Proxy-Authorization: no", "TE: gzip"]
    await asked(node, request("GET", f"{session.path}/", session.bearer, *ours[:4], *between, *ours[4:]))
    told = [b": ".join(one) if one[1] else one[0] + b":" for one in app.heard[0].fields]
    assert [one for one in told if not one.startswith((b"X-Forwarded", b"Host: "))] == [
        one.encode("latin-1") for one in ours
    ]


@pytest.mark.parametrize("size", [0, 1, 200_000])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_arrives_whole(size: int, chunked: bool, app: Stage, node: Place, session: Session) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    if chunked:
        framed = b"".join(chunk(body[at : at + 7001]) for at in range(0, size, 7001)) + chunk(b"")
        head = request("POST", f"{session.path}/", session.bearer, "Transfer-Encoding: chunked")
    else:
        framed, head = body, request("POST", f"{session.path}/", session.bearer, f"Content-Length: {size}")
    assert (await asked(node, head, framed)).status == 200
    assert app.heard[0].body == body
    assert bool(app.heard[0].all("transfer-encoding")) is chunked
    assert app.heard[0].all("content-length") == ([] if chunked else [str(size)])


async def test_fields_behind_a_body_arrive(app: Stage, node: Place, session: Session) -> None:
    head = request("POST", f"{session.path}/", session.bearer, "Transfer-Encoding: chunked", "Trailer: X-Sum")
    await asked(node, head, chunk(b"hello") + b"0\r\nX-Sum: 5\r\nX-Sum: 6\r\n\r\n")
    assert app.heard[0].body == b"hello"
    assert app.heard[0].trailers == [(b"X-Sum", b"5"), (b"X-Sum", b"6")]


async def test_an_app_is_told_who_asks_and_where_it_is(
    app: Stage, node: Place, session: Session, cluster: Cluster
) -> None:
    lies = ["X-Forwarded-Host: evil", "X-Forwarded-Proto: gopher", "X-Forwarded-Prefix: /evil", "Forwarded: host=evil"]
    lies += ["X-Forwarded-Port: 1"]
    head = request("GET", f"{session.path}/", session.bearer, *lies, "X-Forwarded-For: 192.0.2.7")
    await asked(node, head)
    [heard] = app.heard
    assert heard.all("host") == [f"127.0.0.1:{app.port}"]
    assert heard.all("x-forwarded-for") == ["192.0.2.7, 127.0.0.1"]
    assert heard.all("x-forwarded-proto") == ["http"]
    assert heard.all("x-forwarded-host") == [cluster.url.removeprefix("http://")]
    assert heard.all("x-forwarded-prefix") == [session.path]
    assert not heard.all("forwarded") and not heard.all("x-forwarded-port")


async def test_to_an_app_its_pages_are_its_own(app: Stage, node: Place, session: Session, cluster: Cluster) -> None:
    said = [f"Origin: {cluster.url}", f"Referer: {cluster.url}{session.path}/page?a"]
    await asked(node, request("GET", f"{session.path}/", session.bearer, *said))
    await asked(node, request("GET", f"{session.path}/", session.bearer, "Origin: https://a.example", "Referer: b"))
    own, others = app.heard
    assert own.all("origin") == [f"http://127.0.0.1:{app.port}"]
    assert own.all("referer") == [f"http://127.0.0.1:{app.port}/page?a"]
    assert (others.all("origin"), others.all("referer")) == (["https://a.example"], ["b"])


async def test_what_opens_a_session_never_reaches_its_app(app: Stage, node: Place, session: Session) -> None:
    link = httpx.post(f"{session.service}/sessions/{session.id}/links", headers=session.headers).json()["url"]
    entered = httpx.get(link)
    assert (entered.status_code, entered.headers["location"]) == (303, f"{session.service}{session.path}/")
    cookie = entered.headers["set-cookie"].split(";")[0]
    await asked(node, request("GET", f"{session.path}/", f"Cookie: a=b; {cookie}; c=d"))
    await asked(node, request("GET", f"{session.path}/", f"Cookie: {cookie}", "Authorization: Basic YTpi"))
    await asked(node, request("GET", f"{session.path}/", session.bearer))
    await asked(node, request("GET", f"{session.path}/", f"Cookie: {cookie}", session.bearer))
    await asked(node, request("GET", f"{session.path}/", f"Cookie: {cookie}", "Authorization: Bearer of-the-app"))
    with_cookie, with_both, with_bearer, with_either, with_token = app.heard
    assert (with_cookie.all("cookie"), with_cookie.all("authorization")) == (["a=b; c=d"], [])
    assert (with_both.all("cookie"), with_both.all("authorization")) == ([], ["Basic YTpi"])
    assert (with_bearer.all("cookie"), with_bearer.all("authorization")) == ([], [])
    assert (with_either.all("cookie"), with_either.all("authorization")) == ([], [])
    assert (with_token.all("cookie"), with_token.all("authorization")) == ([], ["Bearer of-the-app"])


async def test_an_app_that_knows_its_prefix_is_asked_for_what_is_below_it(
    app: Stage, cluster: Cluster, stage_port: int
) -> None:
    session = cluster.session()
    cluster.agent(session, f"http://127.0.0.1:{stage_port}", "--keep-prefix")
    connected([session])
    app.answers(f"HTTP/1.1 302 Found\r\nLocation: {session.path}/b\r\nContent-Length: 0\r\n\r\n".encode())
    said = f"Referer: {cluster.url}{session.path}/page?a"
    answer = await asked(cluster.places[0], request("GET", f"{session.path}/%2F?a", session.bearer, said))
    [heard] = app.heard
    assert heard.target == f"{session.path}/%2F?a".encode()
    assert heard.all("referer") == [f"http://127.0.0.1:{app.port}{session.path}/page?a"]
    assert answer.headers["location"] == f"{session.path}/b"


async def test_an_app_that_wants_the_public_host_is_told_it(app: Stage, cluster: Cluster, stage_port: int) -> None:
    session = cluster.session()
    cluster.agent(session, f"http://127.0.0.1:{stage_port}", "--keep-host")
    connected([session])
    host = cluster.url.removeprefix("http://")
    app.answers(f"HTTP/1.1 302 Found\r\nLocation: {cluster.url}/b\r\nContent-Length: 0\r\n\r\n".encode())
    said = [f"Origin: {cluster.url}", f"Referer: {cluster.url}{session.path}/page"]
    proxy = Place(int(host.rpartition(":")[2]))
    answer = await asked(proxy, request("GET", f"{session.path}/a", session.bearer, *said))
    [heard] = app.heard
    assert (heard.target, heard.all("host")) == (b"/a", [host])
    assert (heard.all("origin"), heard.all("referer")) == ([cluster.url], [f"{cluster.url}{session.path}/page"])
    assert answer.headers["location"] == f"{session.path}/b"
