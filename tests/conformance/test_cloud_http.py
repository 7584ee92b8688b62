"""What is asked of a cloud by plain HTTP when it answers badly, or not at all."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from drs_service.blobs.cloud_http import ATTEMPTS, CloudHttp, Request, refusal
from drs_service.errors import BlobCorrupt, StorageFull, StorageUnavailable

BODY = (b"some ", bytes(600_000), b" and more")
CONTENT = b"0123456789"
CUT = 0  # instead of a status: the connection ends


class Store(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers: list[int] = []
        self.bodies: list[bytes] = []
        self.asked: list[tuple[str, str | None, str | None]] = []
        """What for, and by whom: as a proxy hears it, and as a store does."""
        self.connected: list[str] = []
        self.headers: dict[str, str] = {}


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Store

    def do_CONNECT(self) -> None:
        self.server.connected.append(self.path)
        self.send_error(503)

    def do_PUT(self) -> None:
        said = self.headers
        self.server.asked.append((self.path, said["Proxy-Authorization"], said["Authorization"]))
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.answers.pop(0)
        if status == CUT:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"said.")

    def do_GET(self) -> None:
        self.send_response(self.server.answers.pop(0))
        for name, said in self.server.headers.items():
            self.send_header(name, said)
        self.end_headers()
        self.wfile.write(CONTENT)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
async def http() -> AsyncIterator[CloudHttp]:
    async def sign(request: Request) -> Request:
        return request.with_headers(Authorization="signed")

    http = CloudHttp(sign, lambda headers, body: "TheCode")
    yield http
    await http.close()


async def asked(http: CloudHttp, store: Store, *answers: int) -> tuple[bytes, list[bytes]]:
    """What came in the end, and the bodies that were sent."""
    store.answers, store.bodies = list(answers), []
    url = f"http://127.0.0.1:{store.server_port}/a"
    try:
        answer = await http.ask(Request(method="PUT", url=url, body=BODY))
    finally:
        assert store.answers == []
    return answer.body, store.bodies


@pytest.mark.parametrize("answers", [(200,), (503, 200), (500, 429, 200), (CUT, 200), (CUT, 503, 200)])
async def test_what_may_succeed_later_is_asked_again_whole(
    http: CloudHttp, store: Store, answers: tuple[int, ...]
) -> None:
    await asked(http, store, 200)  # so that there is a connection to be used again
    said, bodies = await asked(http, store, *answers)
    assert said == b"said."
    assert bodies == [b"".join(BODY)] * len(answers)


@pytest.mark.parametrize("status", [503, CUT])
async def test_not_for_ever(http: CloudHttp, store: Store, status: int) -> None:
    with pytest.raises(StorageUnavailable):
        await asked(http, store, *[status] * ATTEMPTS)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 501, 302])
async def test_what_is_refused_is_not_asked_again(http: CloudHttp, store: Store, status: int) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        await asked(http, store, status)
    assert (refusal(caught.value).status, refusal(caught.value).code) == (status, "TheCode")


async def test_a_proxy_is_asked_unless_a_host_is_named_that_needs_none(
    http: CloudHttp, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{store.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,other.invalid")
    store.answers = [200, 200]
    far = Request(method="PUT", url="http://account.invalid/a%20b", query={"comp": "c/d"}, body=BODY)
    near = Request(method="PUT", url=f"http://127.0.0.1:{store.server_port}/near", body=BODY)
    for request in (far, near):
        assert (await http.ask(request)).body == b"said."
    assert store.asked == [
        ("http://account.invalid/a%20b?comp=c%2Fd", "Basic bWU6c2VjcmV0", "signed"),
        ("/near", None, "signed"),
    ]
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{store.server_port}")
    with pytest.raises(StorageUnavailable):
        await http.ask(Request(method="GET", url="https://account.invalid/a"))
    assert store.connected == ["account.invalid:443"] * ATTEMPTS
    with pytest.raises(StorageUnavailable):
        await http.ask(Request(method="GET", url="https://other.invalid/a"))
    assert len(store.connected) == ATTEMPTS


@pytest.mark.parametrize("status", [413, 507])
async def test_a_place_that_is_full_is_told(http: CloudHttp, store: Store, status: int) -> None:
    with pytest.raises(StorageFull):
        await asked(http, store, status)


async def test_one_that_takes_no_connection_is_missed_soon(http: CloudHttp) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering, bind_and_activate=False) as silent:
        silent.request_queue_size = 0
        silent.server_bind()
        silent.server_activate()
        port = silent.server_address[1]
        waiting = [await asyncio.open_connection("127.0.0.1", port)]  # it takes no more than this one
        async with asyncio.timeout(10):
            with pytest.raises(StorageUnavailable):
                await http.ask(Request(method="GET", url=f"http://127.0.0.1:{port}/a"))
        for _, writer in waiting:
            writer.close()
            await writer.wait_closed()


async def part(http: CloudHttp, store: Store, start: int, status: int, headers: dict[str, str]) -> bytes:
    """Ten bytes from start on, as the store gives them."""
    store.answers, store.headers = [status], headers
    request = Request(method="GET", url=f"http://127.0.0.1:{store.server_port}/a")
    return b"".join([bytes(piece) async for piece in http.read(request, "a", start, start + 10)])


@pytest.mark.parametrize(
    ("start", "status", "headers"),
    [
        (5, 206, {"Content-Range": "bytes 5-14/20"}),
        (5, 206, {"Content-Range": "bytes 5-14/*"}),
        (0, 200, {"Content-Length": "10"}),
    ],
)
async def test_the_part_that_was_asked_for(
    http: CloudHttp, store: Store, start: int, status: int, headers: dict[str, str]
) -> None:
    assert await part(http, store, start, status, headers) == CONTENT


@pytest.mark.parametrize(
    ("start", "status", "headers"),
    [
        (0, 200, {}),  # as what is decompressed on the way
        (0, 200, {"Content-Length": "11"}),
        (5, 200, {"Content-Length": "10"}),
        (5, 206, {"Content-Range": "bytes 6-15/20"}),
        (5, 206, {"Content-Range": "bytes 5-13/20"}),
    ],
)
async def test_another_part_is_none_at_all(
    http: CloudHttp, store: Store, start: int, status: int, headers: dict[str, str]
) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        await part(http, store, start, status, headers)
    assert caught.value.facts["refused"]


async def test_what_ends_too_early_is_told_before_the_first_byte(http: CloudHttp, store: Store) -> None:
    with pytest.raises(BlobCorrupt):
        await part(http, store, 5, 206, {"Content-Range": "bytes 5-9/10"})
