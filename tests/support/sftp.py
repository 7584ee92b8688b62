"""One real SFTP server for the run: OpenSSH's, on a free port of the loopback, for whoever runs the tests."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from drs_service.blobs.access import Access, FsspecAccess
from tests.support.files import Files
from tests.support.program import Program, free_port

SSHD = "/usr/sbin/sshd"  # it wants to be called by its whole path
PRIVILEGES = Path("/run/sshd")  # an empty directory that it wants to have when it is root's

CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/client.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
Subsystem sftp internal-sftp
"""


def missing() -> str:
    """Why there can be no server here, or nothing."""
    return "" if shutil.which(SSHD) else "sshd not installed: on Debian `make servers` does it"


class SftpServer(Files):
    scheme = "sftp"
    wrong_secret: str | None = "Authentication failed"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "kept")
        self._port = free_port()
        self._keys = directory
        self._program = Sshd(
            SSHD, "-D", "-e", "-f", str(directory / "config"), port=self._port, output=directory / "output"
        )
        self.url = f"sftp://{user()}@127.0.0.1:{self._port}"
        self.bucket = f"{user()}@127.0.0.1:{self._port}{self.directory}"

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Iterator["SftpServer"]:
        (directory / "kept").mkdir(parents=True)
        server = cls(directory)
        server.prepare()
        try:
            server.come_back()
            yield server
        finally:
            server.go_away()

    def prepare(self) -> None:
        for name in ("host", "client", "wrong"):
            command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._keys / name))
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
        (self._keys / "config").write_text(CONFIGURATION.format(port=self._port, directory=self._keys))
        self.tell_of("host")
        if os.getuid() == 0:
            PRIVILEGES.mkdir(exist_ok=True)

    def tell_of(self, key: str | None) -> None:
        """To the client, as the server's; or of no server."""
        said = f"[127.0.0.1]:{self._port} {(self._keys / f'{key}.pub').read_text()}" if key else ""
        (self._keys / "known_hosts").write_text(said)

    def access(self, *, url: str | None = None, secret: str | None = None) -> Access:
        assert url is None
        key = {} if secret is None else {"key_filename": str(self._keys / secret)}
        return Access(fsspec=FsspecAccess(protocols=frozenset({"sftp"}), options={**self.options(), **key}))

    def options(self) -> Mapping[str, str]:
        return {
            "key_filename": str(self._keys / "client"),
            "known_hosts": str(self._keys / "known_hosts"),
            "allow_agent": "false",
            "look_for_keys": "false",
        }

    def go_away(self) -> None:
        """Stop answering, also those who are connected; what is kept stays."""
        self._program.end()

    def come_back(self) -> None:
        self._program.run()

    def stop(self) -> None:
        """Say nothing any more, and let go of nobody."""
        self._program.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._program.signal(signal.SIGCONT)


class Sshd(Program):
    """It has a process for each connection, in a group of its own."""

    def answers(self) -> bool:
        port = int(self.url.rpartition(":")[2])
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def end(self) -> None:
        with contextlib.suppress(KeyError):
            connected = descendants(self.pid)
            super().end()
            send(connected, signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        send([self.pid, *descendants(self.pid)], number)


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    below = [int(one) for one in children.read_text().split()] if children.exists() else []
    return [*below, *(further for one in below for further in descendants(one))]


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
