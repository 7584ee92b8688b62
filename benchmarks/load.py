"""Clients that only move bytes, so that the server is what is measured. Run in a process of their own:

    python -m benchmarks.load fetch URL CONNECTIONS         GET, to the end, with all connections at once
    python -m benchmarks.load send URL CONNECTIONS BYTES    PUT of that many bytes each, no two alike

Prints the seconds from the first byte asked for to the last.
"""

import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from benchmarks import programs
from benchmarks.scale import MIB

BUFFER_SIZE = MIB


def fetch(url: str, *, connections: int) -> float:
    """Seconds for all connections to have read the answer."""
    return float(programs.completed([sys.executable, "-m", "benchmarks.load", "fetch", url, str(connections)]))


def send(url: str, *, connections: int, size: int) -> float:
    """Seconds for all connections to have been told 201."""
    command = [sys.executable, "-m", "benchmarks.load", "send", url, str(connections), str(size)]
    return float(programs.completed(command))


def main() -> None:
    match sys.argv[1:]:
        case ["fetch", url, "1"]:
            seconds = timed(lambda: fetch_one(url))
        case ["fetch", url, connections]:
            seconds = timed(lambda: fetch_many(url, int(connections)))
        case ["send", url, connections, size]:
            seconds = timed(lambda: send_many(url, int(connections), int(size)))
        case _:
            sys.exit(__doc__)
    print(seconds)


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fetch_one(url: str) -> None:
    with connected(url) as connection:
        connection.sendall(request("GET", url))
        buffer = bytearray(BUFFER_SIZE)
        left = body_left(head(connection))
        while left:
            count = connection.recv_into(buffer, min(left, BUFFER_SIZE))
            if not count:
                raise RuntimeError(f"The answer ended {left} bytes early.")
            left -= count


def fetch_many(url: str, connections: int) -> None:
    buffer = bytearray(BUFFER_SIZE)
    left: dict[socket.socket, int] = {}
    opened = [connected(url) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        for connection in opened:
            connection.sendall(request("GET", url))
            selector.register(connection, selectors.EVENT_READ, connection)
        while selector.get_map():
            for key, _ in selector.select(timeout=60):
                connection = key.data
                if connection not in left:
                    left[connection] = body_left(head(connection))
                else:
                    count = connection.recv_into(buffer, min(left[connection], BUFFER_SIZE))
                    if not count:
                        raise RuntimeError(f"The answer ended {left[connection]} bytes early.")
                    left[connection] -= count
                if not left[connection]:
                    selector.unregister(connection)
                    connection.close()


def send_many(url: str, connections: int, size: int) -> None:
    filling = os.urandom(BUFFER_SIZE - 16)
    with ThreadPoolExecutor(connections) as pool:
        for done in [pool.submit(send_one, url, number, size, filling) for number in range(connections)]:
            done.result()


def send_one(url: str, number: int, size: int, filling: bytes) -> None:
    """PUT size bytes that differ from those of every other number and from block to block."""
    with connected(url) as connection:
        name = f"{url}/{number}"
        connection.sendall(request("PUT", name, f"content-length: {size}\r\n"))
        buffer = bytearray(16) + filling
        for at in range(0, size, BUFFER_SIZE):
            buffer[:16] = number.to_bytes(8) + at.to_bytes(8)
            connection.sendall(memoryview(buffer)[: size - at])
        status = head(connection)[0].split()[1]
        if status != b"201":
            raise RuntimeError(f"PUT was answered {status!r}.")


def send_tus(url: str, path: Path, chunk: int) -> None:
    """Create an upload at url and send a file to it, chunk by chunk over one connection."""
    send_range(url, path, range(path.stat().st_size), chunk)


def send_in_parts(urls: list[str], path: Path, chunk: int) -> None:
    """The same with one connection to each of the urls, in turn: each sends its part, and the parts are joined."""
    size = path.stat().st_size
    each = -(-size // len(urls))
    with ThreadPoolExecutor(len(urls)) as pool:
        sending = [
            pool.submit(
                send_range, url, path, range(at, min(at + each, size)), chunk, headers="upload-concat: partial\r\n"
            )
            for url, at in zip(urls, range(0, size, each), strict=True)
        ]
        parts = " ".join(one.result() for one in sending)
    with connected(urls[0]) as connection:
        joining = f"{TUS}upload-concat: final;{parts}\r\ncontent-length: 0\r\n"
        connection.sendall(request("POST", urls[0], joining))
        answered(connection, b"201")


def send_range(url: str, path: Path, bounds: range, chunk: int, *, headers: str = "") -> str:
    """Create an upload at url of these bytes of a file, and send them. Its path."""
    with connected(url) as connection, path.open("rb") as file:
        at = begin_tus(connection, url, len(bounds), headers)
        for start in bounds[::chunk]:
            count = min(chunk, bounds.stop - start)
            connection.sendall(request("PATCH", at, going_on(start - bounds.start) + f"content-length: {count}\r\n"))
            connection.setblocking(True)
            while count:
                sent = os.sendfile(connection.fileno(), file.fileno(), start, count)
                start, count = start + sent, count - sent
            answered(connection, b"204")
    return urlsplit(at).path


TUS = "tus-resumable: 1.0.0\r\n"


def begin_tus(connection: socket.socket, url: str, size: int, headers: str = "") -> str:
    """The URL of a new upload, at the server of url whatever that calls itself."""
    connection.sendall(request("POST", url, f"{TUS}upload-length: {size}\r\n{headers}content-length: 0\r\n"))
    [location] = [line[10:].strip().decode() for line in answered(connection, b"201") if line.startswith(b"location:")]
    return urljoin(url, urlsplit(location).path)


def going_on(offset: int) -> str:
    """Headers of a PATCH."""
    return f"{TUS}upload-offset: {offset}\r\ncontent-type: application/offset+octet-stream\r\n"


def answered(connection: socket.socket, status: bytes) -> list[bytes]:
    """The lines of a head without a body, header names in lower case."""
    lines = [name.lower() + colon + value for name, colon, value in (line.partition(b":") for line in head(connection))]
    if lines[0].split()[1] != status:
        raise RuntimeError(f"The answer is {lines[0]!r}, not {status!r}.")
    return lines


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 80), timeout=300)


def request(method: str, url: str, headers: str = "") -> bytes:
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return f"{method} {target} HTTP/1.1\r\nhost: {parts.netloc}\r\n{headers}\r\n".encode()


def head(connection: socket.socket) -> list[bytes]:
    """The lines of an answer's head, and after them what came of its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(4096)
        if not more:
            raise RuntimeError("The connection ended before an answer.")
        received += more
    lines, _, body = received.partition(b"\r\n\r\n")
    return [*lines.split(b"\r\n"), body]


def body_left(answer: list[bytes]) -> int:
    """How many bytes of a 200's body are still to come."""
    status, *headers, body = answer
    if status.split()[1] != b"200":
        raise RuntimeError(f"GET was answered {status!r}.")
    fields = dict(line.lower().split(b": ", 1) for line in headers)
    return int(fields[b"content-length"]) - len(body)


def random_file(path: Path, size: int) -> Path:
    """A durable file of random bytes, in the page cache."""
    with path.open("wb") as file:
        for at in range(0, size, BUFFER_SIZE):
            file.write(os.urandom(min(BUFFER_SIZE, size - at)))
        file.flush()
        os.fsync(file.fileno())
    return path


if __name__ == "__main__":
    main()
