"""How the processes of the embedded PostgreSQL are started, found and tied to our own life.

Everything that differs between Linux and macOS is in this file:

                                  Linux                           macOS
    our process is killed -9      PR_SET_PDEATHSIG: the kernel    a watchdog that reads a pipe only
                                  interrupts PostgreSQL           we write interrupts PostgreSQL
    is this process PostgreSQL,   /proc: its executable and its   ps: its command line or title
    on this cluster?              working directory
"""

import contextlib
import ctypes
import hashlib
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from drs_service.errors import AccountUnusable

LINUX = sys.platform == "linux"

# PostgreSQL gets none of our environment: it may hold secrets, and PGPORT and its like would change what runs.
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Account:
    """The user that PostgreSQL runs as: our own, or an unprivileged one when we are root."""

    uid: int
    gid: int
    name: str
    differs: bool
    """Whether it is another than our own."""

    @classmethod
    def for_postgres(cls, user: str) -> Self:
        """Our own account; `user` when we are root, which PostgreSQL refuses to run as. AccountUnusable."""
        if os.geteuid() != 0:
            return cls.of_uid(os.geteuid())
        try:
            entry = pwd.getpwnam(user)
        except KeyError as error:
            raise AccountUnusable(f"There is no user {user!r} for PostgreSQL to run as; name another.") from error
        if entry.pw_uid == 0:
            raise AccountUnusable(f"PostgreSQL does not run as root, and {user!r} is root; name another user.")
        return cls(entry.pw_uid, entry.pw_gid, user, differs=True)

    @classmethod
    def of_uid(cls, uid: int) -> Self:
        """The account we already run as. AccountUnusable if it has no name: initdb insists on one."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError as error:
            raise AccountUnusable(
                f"User id {uid} has no entry in /etc/passwd, and PostgreSQL needs one. "
                "Add an entry, or use a database of your own (DATABASE_URL)."
            ) from error
        return cls(uid, entry.pw_gid, entry.pw_name, differs=False)

    def _as_arguments(self) -> dict[str, Any]:
        """The arguments with which subprocess becomes this account."""
        if not self.differs:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": os.getgrouplist(self.name, self.gid)}

    def run(self, command: Sequence[str | Path], *, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a short command to its end as this account, with `text` as its input."""
        return subprocess.run(
            command, input=text, capture_output=True, text=True, cwd="/", env=ENVIRONMENT, **self._as_arguments()
        )

    def spawn(
        self, command: Sequence[str | Path], *, directory: Path, output: IO[bytes], inherit: int
    ) -> subprocess.Popen[bytes]:
        """Start a command as this account; it and its children keep the descriptor `inherit` open.

        On Linux it is interrupted when the calling *thread* ends, however that ends.
        """
        return subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            umask=0o077,
            pass_fds=(inherit,),
            start_new_session=True,  # Ctrl-C at the terminal is for us; we then stop PostgreSQL in good order
            preexec_fn=_interrupted_with_parent() if LINUX else None,
            **self._as_arguments(),
        )

    def first_unreachable(self, paths: Iterable[Path]) -> Path | None:
        """The first of these directories and programs that the account cannot search or execute.

        It is tried rather than computed: access lists and security modules have their say too.
        """
        script = 'for path; do [ -x "$path" ] || { printf %s "$path"; exit; }; done'
        answer = self.run(["/bin/sh", "-c", script, "sh", *paths])
        return Path(answer.stdout) if answer.stdout else None


def _interrupted_with_parent() -> Callable[[], None]:
    """What the child does between fork and exec: as little as possible, with all names looked up before."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        # subprocess calls this after it changed user, which would have cleared the request.
        if prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(1)  # the parent died before we asked: nobody would ever tell us

    return ask


class Watchdog:
    """A process that interrupts PostgreSQL when ours is gone, where the kernel cannot do it."""

    # It reads until our end of the pipe is closed, by us or by our death. The last number written is the process to
    # interrupt, 0 for none; that it is PostgreSQL is made sure of, for numbers are given out again.
    _SCRIPT = (
        "import os, subprocess, sys\n"
        "pid = (sys.stdin.read().split() or ['0'])[-1]\n"
        "if pid != '0':\n"
        "    ps = subprocess.run(['ps', '-o', 'command=', '-p', pid], stdout=subprocess.PIPE)\n"
        "    if sys.argv[1].encode() in ps.stdout: os.kill(int(pid), 2)\n"
    )

    def __init__(self, cluster: Path) -> None:
        command = [sys.executable, "-I", "-S", "-c", self._SCRIPT, cluster_name(cluster)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, cwd="/", env=ENVIRONMENT, start_new_session=True
        )

    def watch(self, pid: int) -> None:
        """Interrupt this process if we go."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % pid)
        self._process.stdin.flush()

    def dismiss(self) -> None:
        """Leave and interrupt nobody. May be called when the watchdog is gone."""
        with contextlib.suppress(BrokenPipeError):  # somebody killed it
            self.watch(0)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def cluster_name(cluster: Path) -> str:
    """A plain ASCII name for the cluster; every process of it shows it in its command line or title."""
    return f"drs-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]}"


def processes_on(cluster: Path) -> list[int]:
    """The living PostgreSQL processes on this cluster: a postmaster, its children, or children it left behind."""
    return _processes_by_proc(cluster) if LINUX else _processes_by_ps(cluster)


def _processes_by_proc(cluster: Path) -> list[int]:
    try:
        home = cluster.stat()
    except FileNotFoundError:
        return []
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _works_in(entry, home)]


def _works_in(process: Path, home: os.stat_result) -> bool:
    try:
        # Neither can be read of a zombie; another user's process cannot be on a directory that is only ours.
        # An upgraded executable reads "postgres (deleted)".
        return (process / "exe").readlink().name.split(" ")[0] == "postgres" and os.path.samestat(
            (process / "cwd").stat(), home
        )
    except OSError:
        return False


def _processes_by_ps(cluster: Path) -> list[int]:
    marks = (cluster_name(cluster).encode(), b"-D " + os.fsencode(cluster))
    listing = subprocess.run(
        ["ps", "-axww", "-o", "pid=,stat=,command="], stdout=subprocess.PIPE, env=ENVIRONMENT, check=True
    )
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    return [
        int(pid)
        for pid, state, command in (row for row in rows if len(row) == 3)
        if not state.startswith(b"Z") and b"postgres" in command and any(mark in command for mark in marks)
    ]
