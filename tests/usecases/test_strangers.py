"""URLs that anybody may have stated are asked without harm to anybody, against a real server."""

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from drs_service.domain.addresses import network
from drs_service.errors import EncodingUnsupported, Forbidden, Unavailable
from drs_service.outgoing.http import StrangersHttp, open_strangers_http
from tests.support.elsewhere import Elsewhere, cut, elsewhere, failing, redirect
from tests.support.registries import drip, never

HERE = network("127.0.0.1")
CONTENT = b"0123456789" * 100_000


@pytest.fixture
async def there() -> AsyncIterator[Elsewhere]:
    async with elsewhere() as there:
        there.kept["/file"] = CONTENT
        yield there


@pytest.fixture
async def http() -> AsyncIterator[StrangersHttp]:
    async with open_strangers_http(also=[HERE], idle_seconds=0.5) as http:
        yield http


async def read(
    http: StrangersHttp, url: str, *, headers: list[tuple[str, str]] | None = None, within: float = 10
) -> bytes:
    async with http.get(url, headers=headers or [], within=within) as answer:
        return b"".join([piece async for piece in answer.pieces])


async def test_bytes_come_as_they_are(there: Elsewhere, http: StrangersHttp) -> None:
    async with http.get(there.at("/file"), headers=[("X-Key", "a"), ("Host", "other.example")], within=10) as answer:
        assert (answer.length, answer.delimited) == (len(CONTENT), True)
        assert b"".join([piece async for piece in answer.pieces]) == CONTENT
    [request] = there.asked
    assert request.headers["X-Key"] == "a"
    assert request.headers["Host"] == there.url.removeprefix("http://")
    assert request.headers["Accept-Encoding"] == "identity"


async def test_a_url_is_asked_as_it_was_stated(there: Elsewhere, http: StrangersHttp) -> None:
    raw = "/a%2Fb%7e/c'd;e?X=%2f%20+~%c3%9c&x"
    with pytest.raises(Unavailable):
        await read(http, there.at(raw))
    there.kept["/to"] = redirect(raw)
    with pytest.raises(Unavailable):
        await read(http, there.at("/to"))
    assert [request.raw_path for request in there.asked] == [raw, "/to", raw]


@pytest.mark.parametrize(
    "name", ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0x7f000001", "127.1", "2130706433", "0"]
)
async def test_no_address_of_ours_is_connected_to(there: Elsewhere, name: str) -> None:
    async with open_strangers_http() as http:
        with pytest.raises(Forbidden, match=r"the address is not public|not a URL"):
            await read(http, f"http://{name}:{there.port}/file")
    assert there.asked == []


async def test_what_a_name_resolves_to_is_what_counts(there: Elsewhere, http: StrangersHttp) -> None:
    """The operator lets 127.0.0.1 be asked, by whatever name."""
    assert await read(http, f"http://localhost:{there.port}/file") == CONTENT


async def test_a_redirect_is_followed(there: Elsewhere, http: StrangersHttp) -> None:
    there.kept["/one"] = redirect("two", 307)
    there.kept["/two"] = redirect("/file", 301)
    assert await read(http, there.at("/one"), headers=[("Authorization", "Bearer stated")]) == CONTENT
    assert [request.headers.get("Authorization") for request in there.asked] == ["Bearer stated"] * 3
    assert [request.headers.get("Cookie") for request in there.asked] == [None] * 3


async def test_what_was_stated_for_a_server_is_told_to_no_other(there: Elsewhere, http: StrangersHttp) -> None:
    async with elsewhere() as other:
        there.kept["/away"] = redirect(other.at("/back"))
        other.kept["/back"] = redirect(there.at("/file"))
        assert await read(http, there.at("/away"), headers=[("Authorization", "s"), ("X-Key", "s")]) == CONTENT
    requests = [there.asked[0], other.asked[0], there.asked[1]]
    assert [request.headers.get("X-Key") for request in requests] == ["s", None, None]
    assert [request.headers.get("Authorization") for request in requests] == ["s", None, None]


async def test_a_loop_of_redirects_ends(there: Elsewhere, http: StrangersHttp) -> None:
    there.kept["/round"] = redirect("/round")
    with pytest.raises(Unavailable, match="redirects more than 5 times"):
        await read(http, there.at("/round"))
    assert len(there.asked) == 6


@pytest.mark.parametrize(
    "to",
    [
        "http://127.0.0.2/",
        "http://[::ffff:127.0.0.2]/",
        "http://169.254.169.254/latest/meta-data/",
        "//[fe80::1]/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "ftp://1.1.1.1/",
        "gopher://1.1.1.1/",
        "http://user:secret@1.1.1.1/",
        "http://127.1/",
        "http://1.1.1.1:99999/",
        "http://[::1",
    ],
)
async def test_a_redirect_is_looked_at_like_a_url(there: Elsewhere, http: StrangersHttp, to: str) -> None:
    there.kept["/away"] = redirect(to)
    with pytest.raises(Forbidden):
        await read(http, there.at("/away"))
    with pytest.raises(Forbidden):
        await read(http, to)


ASK = """
import asyncio, sys
from drs_service.domain.addresses import network
from drs_service.errors import DrsServiceError
from drs_service.outgoing.http import open_strangers_http

async def main():
    async with open_strangers_http(also=[network("127.0.0.1")]) as http:
        try:
            async with http.get(sys.argv[1], within=10) as answer:
                print(answer.length)
        except DrsServiceError as error:
            print(error)

asyncio.run(main())
"""


async def test_what_is_safe_never_leads_to_what_is_not(there: Elsewhere, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with elsewhere(tls) as safe:

        async def ask(path: str, **environment: str) -> str:
            # aiohttp reads the certificates that it trusts when it is imported.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", ASK, safe.at(path), stdout=subprocess.PIPE, env=environment
            )
            return (await process.communicate())[0].decode()

        safe.kept["/file"] = CONTENT
        safe.kept["/down"] = redirect(there.at("/file"))
        assert await ask("/file", SSL_CERT_FILE=str(certificate)) == f"{len(CONTENT)}\n"
        assert "redirects from https to http" in await ask("/down", SSL_CERT_FILE=str(certificate))
        assert "CERTIFICATE_VERIFY_FAILED" in await ask("/file")
    assert there.asked == []


@pytest.mark.parametrize("status", [204, 206, 304, 404, 410, 429, 500, 503])
async def test_what_is_not_there_now_may_come(there: Elsewhere, http: StrangersHttp, status: int) -> None:
    there.kept["/file"] = failing(1, CONTENT, status)
    with pytest.raises(Unavailable, match=str(status)):
        await read(http, there.at("/file"))
    assert await read(http, there.at("/file")) == CONTENT


@pytest.mark.parametrize("status", [401, 403, 451])
async def test_what_is_not_for_us_will_not(there: Elsewhere, http: StrangersHttp, status: int) -> None:
    there.kept["/file"] = failing(1, CONTENT, status)
    with pytest.raises(Forbidden, match=str(status)):
        await read(http, there.at("/file"))


async def test_bytes_that_break_off_are_no_bytes(there: Elsewhere, http: StrangersHttp) -> None:
    there.kept["/cut"] = cut(b"half", said=8)
    with pytest.raises(Unavailable):
        await read(http, there.at("/cut"))
    there.kept["/cut"] = cut(b"half", said=None)
    async with http.get(there.at("/cut"), within=10) as answer:
        assert (answer.length, answer.delimited) == (None, False)


async def test_what_is_encoded_is_not_the_bytes(there: Elsewhere, http: StrangersHttp) -> None:
    async def zipped(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})

    there.kept["/file"] = zipped
    with pytest.raises(EncodingUnsupported):
        await read(http, there.at("/file"))


async def test_silence_is_not_waited_for(there: Elsewhere, http: StrangersHttp) -> None:
    there.kept["/silent"] = never
    with pytest.raises(Unavailable, match="takes too long"):
        await read(http, there.at("/silent"))


async def test_a_trickle_ends_in_time(there: Elsewhere, http: StrangersHttp) -> None:
    there.kept["/drip"] = drip
    with pytest.raises(Unavailable, match="takes too long"):
        await read(http, there.at("/drip"), within=0.3)


@pytest.mark.parametrize("url", ["http://a..b/", f"http://{'a' * 64}.example/", "http://nowhere.invalid/"])
async def test_a_name_that_is_none_may_become_one(http: StrangersHttp, url: str) -> None:
    with pytest.raises(Unavailable):
        await read(http, url)


async def test_a_closed_port_does_not_answer(http: StrangersHttp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match="does not answer"):
        await read(http, f"http://127.0.0.1:{port}/")


async def test_no_proxy_is_asked_in_our_stead(there: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    async with elsewhere() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with open_strangers_http(also=[HERE]) as http:
            assert await read(http, there.at("/file")) == CONTENT
    assert proxy.asked == []
