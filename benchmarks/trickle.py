"""Many uploads that take their time: `python -m benchmarks.trickle URL SENDERS`.

Half of them are a PUT, half a PATCH of tus, each over its own connection. Each begins with more than a few bytes, but
less than is kept at once. Says so when all are under way, sends a few bytes of each once a second until its input ends,
and then ends them: each has to be answered 201, or 204.
"""

import select
import socket
import sys
import time

from benchmarks.load import begin_tus, connected, going_on, head, request

EVERY = 1.0  # seconds
BYTES = b"8\r\nfew more\r\n"
FIRST = b"96000\r\n" + bytes(0x96000) + b"\r\n"  # 600 KiB
LENGTH = 2 * 1024**2  # bytes of an upload of tus, of which few come
CHUNKED = "transfer-encoding: chunked\r\n"


def main() -> None:
    url, senders = sys.argv[1], int(sys.argv[2])
    opened = [begun(url, number) for number in range(senders)]
    print("under way", flush=True)
    trickle([connection for connection, _ in opened])
    for connection, _ in opened:
        connection.sendall(b"0\r\n\r\n")
    for connection, status in opened:
        if (answer := head(connection)[0].split()[1]) != status:
            sys.exit(f"An upload was answered {answer!r}.")


def begun(url: str, number: int) -> tuple[socket.socket, bytes]:
    """A connection on which an upload is under way, and what shall be answered in the end."""
    connection = connected(url)
    if number % 2:
        connection.sendall(request("PUT", f"{url}/upload/{number}", CHUNKED) + FIRST)
        return connection, b"201"
    at = begin_tus(connection, f"{url}/tus", LENGTH)
    connection.sendall(request("PATCH", at, going_on(0) + CHUNKED) + FIRST)
    return connection, b"204"


def trickle(connections: list[socket.socket]) -> None:
    """Send a few bytes on each once in EVERY seconds, one after the other, until the input ends."""
    number, began = 0, time.monotonic()
    while True:
        due = began + number * EVERY / len(connections)
        readable, _, _ = select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))
        if readable:
            return
        connections[number % len(connections)].sendall(BYTES)
        number += 1


if __name__ == "__main__":
    main()
