"""What docker-compose.yaml starts, seen through its proxy."""

import hashlib
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.support.containers import Composition
from tests.support.serve import alive, command_of, wait_until

MIB = 1024**2
TUS = {"Tus-Resumable": "1.0.0"}
NODES = (8001, 8002)


@pytest.fixture
def proxy(composition: Composition) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=composition.url(8080), timeout=20) as client:
        yield client


def counted(composition: Composition, port: int, metric: str) -> float:
    """The sum of a metric, as a node tells it at its own address."""
    text = httpx.get(f"{composition.url(port)}/metrics", timeout=20).raise_for_status().text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(metric))


def put(client: httpx.Client, content: bytes | Iterator[bytes]) -> str:
    answer = client.put("/upload/sample.bam", content=content)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_every_place_is_one_of_the_files(composition: Composition) -> None:
    assert not composition.host.unused
    assert not composition.containers["store"], "which Ceph stands in for"
    running = {name: len(some) for name, some in composition.containers.items() if name != "store"}
    assert running == {"postgres": 1, "dbmate": 1, "loopback": 1, "web1": 1, "web2": 1, "proxy": 1, "worker": 2}


def test_a_node_has_no_worker(composition: Composition) -> None:
    for name in ("web1", "web2"):
        [node] = composition.containers[name]
        [child] = node.family[1:]
        assert "drs_service\0web" in command_of(child)


def test_a_long_body_is_read_at_both_nodes_and_summed_by_a_worker(
    composition: Composition, proxy: httpx.Client
) -> None:
    content = secrets.token_bytes(20 * MIB + 17)
    pieces = (content[at : at + 300_000] for at in range(0, len(content), 300_000))
    object_id = put(proxy, pieces)
    for port in (*NODES, 8080):
        answer = httpx.get(f"{composition.url(port)}/data/{object_id}", timeout=20)
        assert answer.status_code == 200 and answer.content == content
    part = proxy.get(f"/data/{object_id}", headers={"Range": "bytes=-100"})
    assert part.status_code == 206 and part.content == content[-100:]
    # Its URLs are those of the proxy, and lead there.
    described = proxy.get(f"/ga4gh/drs/v1/objects/{object_id}").json()
    [method] = described["access_methods"]
    assert method["access_url"]["url"] == f"{composition.url(8080)}/data/{object_id}"

    wanted = {"type": "md5", "checksum": hashlib.md5(content).hexdigest()}
    wait_until(lambda: wanted in proxy.get(f"/ga4gh/drs/v1/objects/{object_id}").json()["checksums"])


def test_parts_of_an_upload_go_to_one_node_after_the_other(composition: Composition, proxy: httpx.Client) -> None:
    content = secrets.token_bytes(MIB)
    before = [counted(composition, port, "drs_http_received_bytes_total") for port in NODES]
    path = begin(proxy, len(content))
    for at in range(0, len(content), MIB // 8):
        patch = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": str(at)}
        assert proxy.patch(path, headers=patch, content=content[at : at + MIB // 8]).status_code == 204
    received = [counted(composition, port, "drs_http_received_bytes_total") for port in NODES]
    assert [now - then for now, then in zip(received, before, strict=True)] == [MIB // 2, MIB // 2]
    found = proxy.head(path, headers=TUS).headers["content-location"]
    assert proxy.get(f"/data/{found.rpartition('/')[2]}").content == content


def begin(client: httpx.Client, length: int) -> str:
    """The path of a new upload, whose URL is one of the proxy."""
    answer = client.post("/tus", headers={**TUS, "Upload-Length": str(length)})
    assert answer.status_code == 201, answer.text
    location = answer.headers["location"]
    assert location.startswith(f"{client.base_url}".rstrip("/") + "/tus/")
    return str(httpx.URL(location).path)


def test_bytes_of_a_body_go_through_as_they_come(composition: Composition) -> None:
    with slow_upload(composition) as finish:
        assert finish().startswith(b"HTTP/1.1 201 ")


@contextmanager
def slow_upload(composition: Composition) -> Iterator[Callable[[], bytes]]:
    """An upload of which a node has half by now; what is yielded sends the rest, and returns how the answer begins."""

    def received() -> float:
        return sum(counted(composition, port, "drs_http_received_bytes_total") for port in NODES)

    half, before = bytes(1_000_000), received()
    head = f"PUT /upload/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 * len(half)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", composition.ports[8080]), timeout=20) as connection:
        connection.sendall(head.encode() + half)
        wait_until(lambda: received() == before + len(half))

        def finish() -> bytes:
            connection.sendall(half)
            return connection.recv(100)

        yield finish


def test_the_proxy_publishes_what_is_for_the_public(proxy: httpx.Client) -> None:
    for path in ("/metrics", "/metrics/", "//jobs", "/jobs?state=dead", "/%6Detrics", "/a/../jobs"):
        answer = proxy.get(httpx.URL(f"{proxy.base_url}".rstrip("/") + path))
        assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found"), path
    assert proxy.get("/readyz").json()["status"] == "ready"
    assert proxy.get("/livez", headers={"Host": "localhost:8000", "Upload-Concat": "a" * 60_000}).status_code == 200
    stranger = proxy.get("/livez", headers={"Host": "rebound.example.org"})
    assert (stranger.status_code, stranger.json()["code"]) == (421, "host_unknown")


def test_a_node_that_is_killed_is_not_missed(composition: Composition, proxy: httpx.Client) -> None:
    content = secrets.token_bytes(32 * MIB)
    object_id = put(proxy, content)
    killed = threading.Event()
    broken: list[str] = []
    # Two at once: one of them comes from the node that dies. Whoever is cut short is told so.
    readers = [threading.Thread(target=read, args=(composition, object_id, len(content), killed, broken)) for _ in "ab"]
    for reader in readers:
        reader.start()
    wait_until(lambda: len(broken) == 2)
    composition.containers["web1"][0].kill()
    killed.set()
    for reader in readers:
        reader.join()
    assert sorted(broken[2:]) == ["cut", "whole"]

    # What is read is asked of the other node. A PUT is not, which may have been done: its sender decides.
    answers = [proxy.put("/upload/after", content=b"after") for _ in range(5)]
    assert sorted(answer.status_code for answer in answers) in ([201] * 5, [201] * 4 + [503])
    for answer in answers:
        if answer.status_code == 201:
            assert proxy.get(f"/data/{answer.json()['id']}").content == b"after"
        else:
            assert answer.headers["retry-after"] == "5"
    composition.start("web1")  # `restart: unless-stopped`
    composition.wait_for("web1", "service_healthy")
    assert httpx.get(f"{composition.url(8001)}/data/{object_id}", timeout=20).content == content


def read(composition: Composition, object_id: str, length: int, killed: threading.Event, said: list[str]) -> None:
    """Says `begun` when half a megabyte is there, goes on when a node was killed, and says how it ends."""
    request = f"GET /data/{object_id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", composition.ports[8080]), timeout=20) as connection:
        connection.sendall(request.encode())
        received = 0
        while received < 500_000:
            received += len(connection.recv(65_536))
        said.append("begun")
        assert killed.wait(20)
        while more := connection.recv(1_000_000):
            received += len(more)
    said.append("whole" if received > length else "cut")


def test_what_is_under_way_is_finished_when_all_is_stopped(composition: Composition) -> None:
    pids = {pid for some in composition.containers.values() for one in some for pid in one.family}
    stopping = threading.Thread(target=composition.stop)
    with slow_upload(composition) as finish:
        stopping.start()
        wait_until(lambda: refuses(composition.ports[8080]))
        assert finish().startswith(b"HTTP/1.1 201 ")
    stopping.join()
    assert set(list(composition.ended)[:2]) == {"proxy", "worker"}
    codes = {"proxy": [0], "web1": [0], "web2": [0], "worker": [0, 0], "postgres": [0]}
    assert composition.ended == codes | {"loopback": [-signal.SIGTERM]}
    wait_until(lambda: not any(alive(pid) for pid in pids))


def refuses(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) != 0
