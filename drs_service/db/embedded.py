"""A PostgreSQL of our own: the binaries of a wheel, run as our direct child for as long as we live.

A process that is killed at any moment, PostgreSQL's or ours, leaves a directory from which the next start recovers by
itself, and no PostgreSQL behind. `postgres_directory` draws the directory, `postgres_process` says how the two
processes are tied together.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from drs_service.db import postgres_process
from drs_service.db.postgres_binaries import programs_for
from drs_service.db.postgres_directory import POLL, PORT, SOCKET, PostgresDirectory, try_lock
from drs_service.db.postgres_process import Account, Watchdog, cluster_name, processes_on
from drs_service.errors import PostgresFailed

SUPERUSER = "postgres"
DATABASE = "drs"  # of a service
STOP_PATIENCE = 30.0  # seconds for a fast shutdown, which writes a checkpoint; after that the next start recovers
STOP_REMINDER = 1.0  # seconds


class EmbeddedPostgres:
    """Runs one PostgreSQL server on a directory, reachable through a unix socket only.

    As root it runs as `user`; nothing outside the directory is changed for that. Otherwise it runs as we do and
    `user` is ignored. `settings` are PostgreSQL's own and win over postgresql.conf in the cluster.
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None, user: str = "nobody") -> None:
        self._directory = PostgresDirectory(directory)
        self._settings = dict(settings or {})
        self._user = user
        self._account: Account | None = None
        self._programs: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; that of the last one when it has ended."""
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """How the postmaster ended (negative: by that signal); None while it runs and before it was started."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def url(self, database: str) -> str:
        """Where clients connect. It stays the same until stop(), also when a postmaster that died is started again.

        The socket's path never needs escaping: clients disagree on how that is done.
        """
        return url_at(self._directory.socket_directory, database)

    def start(self, *, timeout: timedelta = timedelta(minutes=10)) -> None:
        """Start PostgreSQL and return when it accepts connections. Nothing happens if it is running.

        May be called again when the postmaster has died. The timeout is generous because recovery may be long; a
        server that ends is noticed at once. Call it from the main thread: Linux ties the server to the calling thread.

        Raises DataDirectoryInUse, DirectoryUnreachable, AccountUnusable, PostgresFailed. Nothing runs then.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("PostgreSQL would be stopped when this thread ends: start it from the main thread")
        if self.running:
            return
        first = not self._directory.is_ours
        try:
            if first:
                self._account = Account.for_postgres(self._user)
                self._directory.take_over(self._account)
                self._programs = programs_for(self._account, self._directory.path)
            self._end()
            self._launch(timeout)
        except BaseException as error:
            self._end()
            if first:
                self._directory.release()
            if isinstance(error, OSError):
                raise PostgresFailed(f"PostgreSQL could not be started in {self._directory.path}: {error}") from error
            raise

    def stop(self) -> None:
        """Shut PostgreSQL down, breaking its connections, and let go of the directory. May be called twice."""
        self._end()
        self._directory.release()

    def create_database(self, name: str, *, template: str = "template1") -> None:
        """Make a database, unless there is one of that name."""
        assert self._account is not None and self._programs is not None, "not started"
        # \gexec runs what the query returns: there is no CREATE DATABASE IF NOT EXISTS.
        script = (
            "SELECT format('CREATE DATABASE %I TEMPLATE %I', :'name', :'template')"
            " WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec\n"
        )
        psql: list[str | Path] = [self._programs / "psql", "-X", "-q", "-d", self.url("postgres")]
        psql += ["-v", "ON_ERROR_STOP=1", "-v", f"name={name}", "-v", f"template={template}"]
        done = self._account.run(psql, text=script)
        if done.returncode != 0:
            raise PostgresFailed(f"The database {name!r} could not be created: {done.stderr.strip()}")

    def _launch(self, timeout: timedelta) -> None:
        children_lock = self._directory.open_children_lock()
        try:
            self._outlive_predecessor(children_lock)
            with self._directory.open_log() as log:
                beginning = log.tell()
                if not self._directory.cluster.exists():
                    self._create_cluster(log, children_lock)
                self._spawn_postmaster(log, children_lock)
        finally:
            os.close(children_lock)
        self._wait_until_ready(timeout, beginning)

    def _outlive_predecessor(self, children_lock: int) -> None:
        """Return when nothing is left of an earlier life, stopping what is. PostgresFailed if that takes too long."""
        started = time.monotonic()
        # The lock knows of all that we ever started; a PostgreSQL that somebody started by hand has written its file.
        while not try_lock(children_lock) or (self._read_pid_file() and processes_on(self._directory.cluster)):
            waited = time.monotonic() - started
            if waited > 2 * STOP_PATIENCE:
                raise PostgresFailed(f"Processes of an earlier PostgreSQL are still at work on {self._directory.path}.")
            self._stop_predecessor(urgently=waited > STOP_PATIENCE)
            time.sleep(POLL)
        self._directory.forget_dead_processes()

    def _stop_predecessor(self, *, urgently: bool) -> None:
        left = processes_on(self._directory.cluster)
        recorded = self._read_pid_file()[:1]
        postmaster = next((pid for pid in left if [str(pid)] == recorded), None)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                if postmaster is None or urgently:
                    os.kill(pid, signal.SIGQUIT)  # a backend whose postmaster is gone may be busy for hours
                elif pid == postmaster:
                    os.kill(pid, signal.SIGINT)

    def _create_cluster(self, log: BinaryIO, children_lock: int) -> None:
        assert self._account is not None and self._programs is not None
        unfinished = self._directory.begin_cluster(self._account)
        command: list[str | Path] = [self._programs / "initdb", "-D", unfinished, "-U", SUPERUSER, "--no-instructions"]
        # Only the account itself and root can enter the socket's directory: a password would add nothing.
        command += ["--auth-local=trust", "--auth-host=reject"]
        # The locale is PostgreSQL's own, so that an upgrade of the system never reorders an index.
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        beginning = log.tell()
        initdb = self._account.spawn(command, directory=self._directory.path, output=log, inherit=children_lock)
        try:
            if initdb.wait() != 0:
                raise PostgresFailed(f"initdb failed:\n{self._said_since(beginning)}")
        finally:
            initdb.kill()
            initdb.wait()
        self._directory.finish_cluster(unfinished)

    def _spawn_postmaster(self, log: BinaryIO, children_lock: int) -> None:
        assert self._account is not None and self._programs is not None
        cluster = self._directory.cluster
        settings = self._settings | {
            "cluster_name": cluster_name(cluster),
            "listen_addresses": "",
            "logging_collector": "off",
            "port": str(PORT),
            "unix_socket_directories": str(self._directory.socket_directory),
            "unix_socket_permissions": "0700",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self._programs / "postgres", "-D", cluster, *options]
        if not postgres_process.LINUX:
            self._watchdog = Watchdog(cluster)
        self._process = self._account.spawn(command, directory=cluster, output=log, inherit=children_lock)
        if self._watchdog is not None:
            self._watchdog.watch(self._process.pid)

    def _wait_until_ready(self, timeout: timedelta, beginning: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout.total_seconds()
        while not self._is_ready():
            if (code := self._process.poll()) is not None:
                raise PostgresFailed(f"PostgreSQL ended with {code} as it started:\n{self._said_since(beginning)}")
            if time.monotonic() > deadline:
                raise PostgresFailed(f"PostgreSQL was not ready in {timeout}:\n{self._said_since(beginning)}")
            time.sleep(POLL)

    def _is_ready(self) -> bool:
        # Line 1 is the process id, line 8 the state (src/include/utils/pidfile.h).
        lines = self._read_pid_file()
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7] == "ready"

    def _read_pid_file(self) -> list[str]:
        try:
            text = os.fsdecode((self._directory.cluster / "postmaster.pid").read_bytes())
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.split("\n")]

    def _said_since(self, beginning: int) -> str:
        with self._directory.log.open("rb") as log:
            log.seek(beginning)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-20:])

    def _end(self) -> None:
        """See to it that no postmaster of ours is running."""
        if self._process is not None:
            for wish in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if self._ends_when_told(wish):
                    break
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None

    def _ends_when_told(self, wish: signal.Signals) -> bool:
        """Told again and again: a postmaster that is about to wait for its first client may miss one signal."""
        assert self._process is not None
        deadline = time.monotonic() + STOP_PATIENCE
        while time.monotonic() < deadline:
            self._process.send_signal(wish)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_REMINDER)
                return True
        return False


def url_at(socket_directory: Path, database: str) -> str:
    return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={socket_directory}&port={PORT}"


def url_beside(directory: Path) -> str | None:
    """Where the database of a service is reached that runs on this directory; None if none does."""
    link = directory.resolve() / "socket"
    try:
        place = link.readlink() if link.is_symlink() else link.parent
        return url_at(place, DATABASE) if (place / SOCKET).is_socket() else None
    except PermissionError:  # it is somebody else's
        return None
