"""A server that other people wrote, as a process of its own on a free port of the loopback."""

import contextlib
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

PATIENCE = 60.0
NEVER_GIVEN = range(10_000, 32_768)  # Linux gives those above, unless it is told otherwise


class Program:
    """May be ended and run again: it keeps what it has in files."""

    def __init__(self, *command: str, port: int, output: Path, environment: Mapping[str, str] | None = None) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._output = output
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=self._environment
            )
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            assert time.monotonic() < deadline, f"no answer: see {self._output}"
            assert self._process.poll() is None, f"it died: {self._output.read_text()}"
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/", timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except (urllib.error.URLError, OSError):
            return False

    @property
    def pid(self) -> int:
        """KeyError unless it runs."""
        if self._process is None:
            raise KeyError
        return self._process.pid

    def end(self) -> None:
        """Let it write down what it has."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    """One that nobody is given who asks the system for any, as those do who connect and all other servers here."""
    while True:
        port = secrets.choice(NEVER_GIVEN)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
