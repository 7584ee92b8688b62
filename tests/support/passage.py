"""A way to a service that counts the bytes, and can be blocked in their midst; what is behind it may change."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.serve import Serve, serving

READ_SIZE = 64 * 1024
PATIENCE = 30.0


class Way:
    """One direction: bytes that have gone it, and how many may."""

    def __init__(self) -> None:
        self.bytes = 0
        self.blocked = threading.Event()
        self._most: float = float("inf")
        self._free = threading.Event()
        self._lock = threading.Lock()

    def block_after(self, more: int) -> None:
        """Let so many more through, and then none; `blocked` says when that is so."""
        self.blocked.clear()
        self._free.clear()
        self._most = self.bytes + more

    def free(self) -> None:
        self._most = float("inf")
        self._free.set()

    def pass_on(self, size: int) -> None:
        with self._lock:
            self.bytes += size
        if self.bytes > self._most:
            self.blocked.set()
            self._free.wait(PATIENCE)


class Passage:
    def __init__(self, listener: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.up, self.down = Way(), Way()
        self.port = 0
        """Of the service behind it."""
        self._listener = listener
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                service = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                client.close()
                continue
            self._open |= {client, service}
            for source, target, way in ((client, service, self.up), (service, client, self.down)):
                thread = threading.Thread(target=pump, args=(source, target, way))
                thread.start()
                self._threads.append(thread)

    def cut(self) -> None:
        """End every connection there is."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.up.free()
        self.down.free()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.up.free()
        self.down.free()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._open:
            one.close()


def pump(source: socket.socket, target: socket.socket, way: Way) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(READ_SIZE):
            way.pass_on(len(piece))
            target.sendall(piece)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving_behind(way: Passage, data_dir: Path, env: dict[str, str]) -> Iterator[Serve]:
    """A service that believes to be where the passage is."""
    before = way.port
    with socket.create_server(("127.0.0.1", 0)) as free:  # it prints its public URL, not where it listens
        way.port = free.getsockname()[1]
    try:
        with serving(data_dir, {**env, "PUBLIC_URL": way.url}, "--port", str(way.port)) as service:
            yield service
    finally:
        way.port = before


@contextmanager
def passage() -> Iterator[Passage]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Passage(listener)
        serving = threading.Thread(target=made.serve)
        serving.start()
        try:
            yield made
        finally:
            made.close()
            serving.join()
