"""The directory of the embedded PostgreSQL: who owns it, what lies in it, and where its socket is.

    <directory>/             0700, belongs to the account PostgreSQL runs as: who cannot enter it cannot connect
        owner.lock           held by the one process that may run PostgreSQL here; goes with it, however it ends
        children.lock        held by everything that process started, initdb too, until the last of it is gone
        18/                  the cluster; it gets this name when initdb has finished, and not before
        18.unfinished-*      an initdb at work, or one that was killed
        binaries-*/          a copy of the programs, if the account cannot reach the installed ones
        postgres.log[.1]     what initdb and PostgreSQL say
        .s.PGSQL.5432        the socket ...
        socket ->            ... or a link to the private directory that holds it, if this path does not suit

It may belong to an account that other services use too while we are root, so no symbolic link in it is followed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

from drs_service.db.postgres_binaries import MAJOR
from drs_service.db.postgres_process import Account
from drs_service.errors import DataDirectoryInUse, DirectoryUnreachable, PostgresFailed

PORT = 5432  # only a part of the socket's name
SOCKET = f".s.PGSQL.{PORT}"
LONGEST_SOCKET_PATH = 103  # bytes; macOS has 104 with the final NUL, Linux 108

LOG_LIMIT = 10 * 2**20  # bytes; looked at when PostgreSQL starts

OWNER_PATIENCE = 1.0  # seconds: a process that was just killed holds its lock until the kernel has torn it down
POLL = 0.01


class PostgresDirectory:
    """One directory. What it does needs take_over() first."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.cluster = self.path / MAJOR
        self.log = self.path / "postgres.log"
        self.socket_directory = self.path
        self._owner_lock: int | None = None

    @property
    def is_ours(self) -> bool:
        return self._owner_lock is not None

    def take_over(self, account: Account) -> None:
        """Make the directory exist, be ours alone until release(), and belong to the account.

        Raises DataDirectoryInUse, DirectoryUnreachable. Nothing outside the directory is changed, and nothing inside
        if it is in use.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._check_that_it_can_be_reached(account)
            self._check_that_it_is_not_for_others()
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._take_owner_lock()
            self._give_to(account)
            self._choose_socket_directory(account)
        except OSError as error:
            message = f"The user {account.name!r} cannot use {self.path}: {error.strerror}"
            raise DirectoryUnreachable(message) from error

    def release(self) -> None:
        """Let others have it. May be called twice."""
        if self._owner_lock is not None:
            self._discard_socket_directory()
            os.close(self._owner_lock)
            self._owner_lock = None

    def open_children_lock(self) -> int:
        """A descriptor for the children to inherit, once try_lock() got it: then it is free when they are gone."""
        return self._open_lock("children.lock")

    def open_log(self) -> BinaryIO:
        """The log, at its end. A long one is put aside first."""
        with contextlib.suppress(FileNotFoundError):
            if self.log.lstat().st_size > LOG_LIMIT:
                self.log.replace(self.log.with_name("postgres.log.1"))
        return os.fdopen(os.open(self.log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600), "ab")

    def begin_cluster(self, account: Account) -> Path:
        """A directory for initdb to work in. PostgresFailed if another release's cluster has the data."""
        others = [path.parent for path in self.path.glob("*/PG_VERSION") if path.parent.name.isdecimal()]
        if others:
            raise PostgresFailed(
                f"{others[0]} is the database of another release of PostgreSQL; this one is {MAJOR}, and would begin "
                "an empty database beside it. Go back to the drs-service that wrote it, dump the database there, and "
                "restore the dump here."
            )
        unfinished = Path(tempfile.mkdtemp(prefix=f"{MAJOR}.unfinished-", dir=self.path))
        os.chown(unfinished, account.uid, account.gid)
        return unfinished

    def finish_cluster(self, unfinished: Path) -> None:
        """From now on this is the cluster, also after a power cut."""
        unfinished.rename(self.cluster)
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def forget_dead_processes(self) -> None:
        """Remove what processes of an earlier life left lying about. Nothing of them may be running any more."""
        # PostgreSQL refuses to start while the process ids in these files are alive. Those are strangers, or zombies.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_directory / f"{SOCKET}.lock").unlink(missing_ok=True)
        for unfinished in self.path.glob(f"{MAJOR}.unfinished-*"):
            shutil.rmtree(unfinished)

    def _check_that_it_can_be_reached(self, account: Account) -> None:
        closed = account.first_unreachable(reversed(self.path.parents)) if account.differs else None
        if closed is not None:
            raise DirectoryUnreachable(
                f"PostgreSQL does not run as root, and the user {account.name!r}, as which it would run, cannot enter "
                f"{closed}. Choose a data directory that this user can reach, such as /var/lib/drs-service, or run as "
                "an ordinary user."
            )

    def _check_that_it_is_not_for_others(self) -> None:
        """We are about to close the directory to everybody else: not /var/lib by mistake."""
        names = {path.name for path in self.path.iterdir()} if self.path.exists() else set()
        if names - {"lost+found"} and not names & {MAJOR, "owner.lock"}:
            raise DirectoryUnreachable(f"{self.path} holds files of somebody else. Choose an empty directory.")

    def _take_owner_lock(self) -> None:
        handle = self._open_lock("owner.lock")
        deadline = time.monotonic() + OWNER_PATIENCE
        while not try_lock(handle):
            if time.monotonic() > deadline:
                holder = os.pread(handle, 20, 0).decode().strip()
                os.close(handle)
                who = f"Another service (process {holder})" if holder else "Another service"
                raise DataDirectoryInUse(f"{who} is running on {self.path}.", directory=str(self.path))
            time.sleep(POLL)
        os.truncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        self._owner_lock = handle

    def _open_lock(self, name: str) -> int:
        return os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def _give_to(self, account: Account) -> None:
        if self.path.stat().st_uid != account.uid:
            os.chown(self.path, account.uid, account.gid)
        if self.path.stat().st_mode & 0o777 != 0o700:
            self.path.chmod(0o700)
        if self.cluster.exists() and self.cluster.stat().st_uid != account.uid:
            # The top comes last: if it has the right owner, so has all below.
            for _, folders, files, handle in os.fwalk(self.cluster, topdown=False):
                for name in (*folders, *files, "."):
                    os.chown(name, account.uid, account.gid, dir_fd=handle, follow_symlinks=False)

    def _choose_socket_directory(self, account: Account) -> None:
        """Our own directory; one among the temporary files if its path is too long or would need escaping in a URL."""
        self._discard_socket_directory()  # of a process that was killed
        if _suits_a_socket(self.path):
            return
        for place in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 mkdtemp makes it private
            if _suits_a_socket(place / "drs-postgres-12345678") and account.first_unreachable([place]) is None:
                made = Path(tempfile.mkdtemp(prefix="drs-postgres-", dir=place))
                (self.path / "socket").symlink_to(made)
                os.chown(made, account.uid, account.gid)
                self.socket_directory = made
                return
        raise DirectoryUnreachable(f"The path {self.path} does not suit a unix socket. Choose a shorter one.")

    def _discard_socket_directory(self) -> None:
        self.socket_directory = self.path
        link = self.path / "socket"
        if not link.is_symlink():
            return
        made = link.readlink()
        if made.name.startswith("drs-postgres-"):
            with contextlib.suppress(OSError):  # gone already, or not what we made
                (made / SOCKET).unlink(missing_ok=True)
                (made / f"{SOCKET}.lock").unlink(missing_ok=True)
                made.rmdir()
        link.unlink()


def try_lock(handle: int) -> bool:
    """Take the lock on an open file if nobody else holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _suits_a_socket(directory: Path) -> bool:
    path = directory / SOCKET
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH and re.fullmatch(r"[A-Za-z0-9/._~-]+", str(path)) is not None
