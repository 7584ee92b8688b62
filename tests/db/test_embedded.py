"""The embedded PostgreSQL, with real processes that are really killed.

Everything here holds for root, who runs PostgreSQL as somebody else, and for an ordinary user, who does not: where
that makes a difference a test looks at both sides of it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from drs_service.db import migrate
from drs_service.db.embedded import EmbeddedPostgres
from drs_service.db.postgres_binaries import INSTALLATION, PACKAGE, programs_for
from drs_service.db.postgres_process import Account, processes_on
from drs_service.errors import AccountUnusable, DataDirectoryInUse, DirectoryUnreachable, PostgresFailed

ROOT = os.geteuid() == 0
FAST = {"fsync": "off"}

# A service that owns a PostgreSQL. On Linux it can also be told to do as on macOS.
OWNER = """
import pathlib, signal, sys
from drs_service.db import postgres_process
from drs_service.db.embedded import EmbeddedPostgres

postgres_process.LINUX = postgres_process.LINUX and sys.argv[2] == "kernel"
postgres = EmbeddedPostgres(pathlib.Path(sys.argv[1]), settings={"fsync": "off"})
postgres.start()
print(postgres.pid, flush=True)
signal.pause()
"""

Make = Callable[..., EmbeddedPostgres]
Own = Callable[..., subprocess.Popen[str]]


@contextlib.contextmanager
def reachable() -> Iterator[Path]:
    """A directory that PostgreSQL can reach as any user: pytest's own are closed when root runs the tests."""
    path = Path(tempfile.mkdtemp(prefix="drs-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def place() -> Iterator[Path]:
    with reachable() as path:
        yield path


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory with a cluster, on which one test after the other may start a server."""
    with reachable() as path:
        postgres = EmbeddedPostgres(path / "postgres", settings=FAST)
        postgres.start()
        postgres.stop()
        yield path / "postgres"


@pytest.fixture
def own(directory: Path) -> Iterator[Own]:
    """Starts services of their own, which are killed when the test ends."""
    with contextlib.ExitStack() as stack:

        def own(path: Path = directory, tie: str = "kernel") -> subprocess.Popen[str]:
            owner = subprocess.Popen([sys.executable, "-c", OWNER, path, tie], stdout=subprocess.PIPE, text=True)
            stack.callback(kill, owner, path / "18")
            return owner

        yield own


@pytest.fixture
def make(directory: Path, own: Own) -> Iterator[Make]:
    """Makes servers that are stopped when the test ends, before `own` waits for all to be gone."""
    with contextlib.ExitStack() as stack:

        def make(path: Path = directory, **settings: str) -> EmbeddedPostgres:
            postgres = EmbeddedPostgres(path, settings=FAST | settings)
            stack.callback(postgres.stop)
            return postgres

        yield make


def kill(owner: subprocess.Popen[str], cluster: Path) -> None:
    owner.kill()
    owner.wait()
    assert owner.stdout is not None
    owner.stdout.close()
    eventually(lambda: not processes_on(cluster))


def postmaster_of(owner: subprocess.Popen[str]) -> int:
    assert owner.stdout is not None
    return int(owner.stdout.readline())


def eventually(fact: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """A zombie is not: who reaps it is the machine's business."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], stdout=subprocess.PIPE, text=True).stdout.strip()
    return state != "" and not state.startswith("Z")


async def ask(postgres: EmbeddedPostgres, sql: str, database: str = "postgres") -> object:
    connection = await asyncpg.connect(postgres.url(database))
    try:
        answer: object = await connection.fetchval(sql)
        return answer
    finally:
        await connection.close()


def as_account() -> dict[str, int]:
    account = Account.for_postgres("nobody")
    return {"user": account.uid, "group": account.gid} if ROOT else {}


async def test_what_is_committed_is_there_after_a_restart(make: Make) -> None:
    first = make()
    first.start()
    await ask(first, "CREATE TABLE t AS SELECT 42 AS n")
    first.stop()
    assert (first.running, first.returncode) == (False, 0)

    second = make()
    second.start()
    assert await ask(second, "SELECT n FROM t") == 42


async def test_the_settings_are_safe_and_can_be_changed(directory: Path) -> None:
    postgres = EmbeddedPostgres(directory, settings={"work_mem": "5MB"})
    postgres.start()
    try:
        for name, value in {
            "fsync": "on",
            "full_page_writes": "on",
            "data_checksums": "on",
            "server_encoding": "UTF8",
            "timezone": "UTC",
            "work_mem": "5MB",
        }.items():
            assert await ask(postgres, f"SHOW {name}") == value, name
        locale = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'postgres'"
        assert await ask(postgres, locale) == "bC.UTF-8"
    finally:
        postgres.stop()


async def test_a_database_is_made_once_and_from_a_template(make: Make) -> None:
    postgres = make()
    postgres.start()
    name = 'odd "name" with a \' and ü'
    postgres.create_database(name)
    await ask(postgres, "CREATE TABLE t AS SELECT 1 AS n", name)
    postgres.create_database(name)
    postgres.create_database("copy", template=name)
    assert await ask(postgres, "SELECT n FROM t", "copy") == 1
    with pytest.raises(PostgresFailed, match="no-such-template"):
        postgres.create_database("other", template="no-such-template")


async def test_only_its_own_user_and_root_can_connect(make: Make, directory: Path) -> None:
    directory.chmod(0o755)  # by somebody's chmod -R
    postgres = make()
    postgres.start()
    assert await ask(postgres, "SHOW listen_addresses") == ""
    for path, kind in ((directory, stat.S_IFDIR), (directory / ".s.PGSQL.5432", stat.S_IFSOCK)):
        seen = path.stat()
        assert (seen.st_mode, seen.st_uid) == (kind | 0o700, Account.for_postgres("nobody").uid)
    if ROOT:
        psql = programs_for(Account.for_postgres("nobody"), directory) / "psql"
        command = [str(psql), "-d", postgres.url("postgres"), "-c", "SELECT 1"]
        stranger = subprocess.run(command, user=1, group=1, capture_output=True, text=True)
        assert "Permission denied" in stranger.stderr


def test_a_second_start_is_refused_and_names_the_first(make: Make, own: Own, directory: Path) -> None:
    owner = own()
    postmaster = postmaster_of(owner)
    with pytest.raises(DataDirectoryInUse, match=f"process {owner.pid}\\) is running on {directory}"):
        make().start()
    assert is_alive(postmaster)


def test_no_database_is_begun_beside_that_of_another_release(place: Path) -> None:
    directory = place / "postgres"
    older = directory / "17"
    older.mkdir(parents=True)
    (older / "PG_VERSION").write_text("17\n")
    (directory / "owner.lock").touch()
    with pytest.raises(PostgresFailed, match=f"{older} is the database of another release"):
        EmbeddedPostgres(directory, settings=FAST).start()
    assert [path for path in directory.iterdir() if path.is_dir() and path != older] == []


def test_stopping_and_starting_twice_is_harmless(make: Make) -> None:
    postgres = make()
    postgres.stop()
    postgres.start()
    pid = postgres.pid
    postgres.start()
    assert postgres.pid == pid
    postgres.stop()
    postgres.stop()
    make().start()


@pytest.mark.parametrize("tie", ["kernel", "watchdog"])
async def test_a_service_killed_leaves_no_postgres_and_loses_nothing(
    make: Make, own: Own, directory: Path, tie: str
) -> None:
    owner = own(tie=tie)
    postmaster = postmaster_of(owner)
    postgres = EmbeddedPostgres(directory)  # only to know the way
    await ask(postgres, "CREATE TABLE IF NOT EXISTS killed AS SELECT 42 AS n")
    owner.kill()

    again = make()
    again.start()
    assert not is_alive(postmaster)
    assert await ask(again, "SELECT n FROM killed") == 42


@pytest.mark.parametrize("tie", ["kernel", "watchdog"])
def test_a_service_killed_takes_postgres_with_it(own: Own, directory: Path, tie: str) -> None:
    owner = own(tie=tie)
    postmaster = postmaster_of(owner)
    said_before = (directory / "postgres.log").read_text()
    owner.kill()
    eventually(lambda: not is_alive(postmaster) and not processes_on(directory / "18"))
    assert "received fast shutdown request" in (directory / "postgres.log").read_text().removeprefix(said_before)


@pytest.mark.parametrize("tie", ["kernel", "watchdog"])
async def test_a_start_waits_for_a_postgres_that_is_slow_to_go(own: Own, directory: Path, tie: str) -> None:
    first = own(tie=tie)
    slow = postmaster_of(first)
    os.kill(slow, signal.SIGSTOP)
    first.kill()
    first.wait()

    second = own(tie=tie)
    eventually(lambda: (directory / "owner.lock").read_text() == f"{second.pid}\n")
    assert is_alive(slow)
    os.kill(slow, signal.SIGCONT)
    assert is_alive(postmaster_of(second))
    assert not is_alive(slow)


async def test_an_initdb_killed_at_any_moment_is_done_again(make: Make, own: Own, place: Path) -> None:
    directory = place / "postgres"
    moments = (
        "owner.lock",
        "18.unfinished-*",
        "18.unfinished-*/PG_VERSION",
        "18.unfinished-*/global/pg_control",
        "18.unfinished-*/base/5",
        "18",
    )
    for moment in moments:
        owner = own(directory)
        eventually(lambda moment=moment: list(directory.glob(moment)))  # type: ignore[misc]
        owner.kill()
        owner.wait()
    postgres = make(directory)
    postgres.start()
    assert await ask(postgres, "SELECT 1") == 1
    assert list(directory.glob("18*")) == [directory / "18"]


def test_a_stranger_with_a_stale_process_id_is_left_alone(make: Make, directory: Path) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    stranger = subprocess.Popen(["sleep", "60"], **as_account())  # type: ignore[call-overload]
    zombie = subprocess.Popen(["true"], **as_account())  # type: ignore[call-overload]
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    try:
        postgres = EmbeddedPostgres(directory, settings=FAST)
        for pid in (stranger.pid, zombie.pid, thread.native_id, 2**22 - 1):
            for name in ("18/postmaster.pid", ".s.PGSQL.5432.lock"):
                (directory / name).write_text(f"{pid}\n{directory}/18\n1700000000\n5432\n{directory}\n\n0 0\nready\n")
            postgres.start()
            assert postgres.running
            postgres.stop()
        assert stranger.poll() is None
    finally:
        stop.set()
        thread.join()
        stranger.kill()
        stranger.wait()
        zombie.wait()


async def test_a_postgres_started_by_hand_is_stopped_in_good_order(make: Make, directory: Path) -> None:
    binary = programs_for(Account.for_postgres("nobody"), directory) / "postgres"
    command = [binary, "-D", directory / "18", "-k", directory, "-h", ""]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **as_account()) as by_hand:  # type: ignore[call-overload]
        eventually((directory / ".s.PGSQL.5432").exists)
        postgres = make()
        postgres.start()
        assert by_hand.wait() == 0
    assert await ask(postgres, "SELECT 1") == 1


async def test_a_postmaster_that_died_is_started_again_though_its_backends_are_busy(make: Make) -> None:
    postgres = make()
    postgres.start()
    url = postgres.url("postgres")
    connection = await asyncpg.connect(url)
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    await connection.execute("CREATE TABLE died AS SELECT 42 AS n; CHECKPOINT")
    endless = asyncio.create_task(connection.execute("DO $$ BEGIN LOOP END LOOP; END $$"))
    await asyncio.sleep(0)
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    eventually(lambda: not postgres.running)
    assert postgres.returncode == -signal.SIGKILL

    postgres.start()
    assert postgres.running
    assert postgres.url("postgres") == url
    assert not is_alive(backend)
    assert await ask(postgres, "SELECT n FROM died") == 42
    with pytest.raises(asyncpg.PostgresConnectionError):
        await endless


@pytest.mark.parametrize("name", ["with spaces", "mit Ümläuten ☃", "odd&+%23?=#,'\"name", "long-" + "x" * 120])
async def test_any_path_will_do(make: Make, own: Own, place: Path, name: str) -> None:
    path = place / name
    owner = own(path)
    postmaster_of(owner)
    killed_socket = (path / "socket").readlink()
    owner.kill()

    postgres = make(path)
    postgres.start()
    socket = (path / "socket").readlink()
    assert not killed_socket.exists()
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert await ask(postgres, "SELECT 1") == 1
    dbmate = [migrate.binary(), "--url", postgres.url("postgres"), "--wait-timeout", "1s", "wait"]
    subprocess.run(dbmate, check=True, stdout=subprocess.DEVNULL)
    postgres.stop()
    assert not socket.exists()


def test_a_directory_the_user_cannot_reach_is_refused_and_left_as_it_is(make: Make, place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    postgres = make(closed / "data" / "postgres")
    if ROOT:
        with pytest.raises(DirectoryUnreachable, match=f"'nobody'.* cannot enter {closed}\\..*/var/lib/drs-service"):
            postgres.start()
        assert not (closed / "data" / "postgres").exists()
    else:
        postgres.start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert closed.stat().st_uid == os.geteuid()


def test_a_directory_with_files_of_others_is_refused_and_left_as_it_is(make: Make, place: Path) -> None:
    (place / "somebody's").touch()
    with pytest.raises(DirectoryUnreachable, match="somebody else"):
        make(place).start()
    assert stat.S_IMODE(place.stat().st_mode) == 0o711


async def test_programs_that_the_user_cannot_reach_are_copied_once(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = place / "postgres"
    installed = programs_for(Account.for_postgres("nobody"), directory).parents[len(INSTALLATION.parts)]
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for part in installed.glob(f"{PACKAGE}*"):
        (closed / part.name).symlink_to(part)
    monkeypatch.syspath_prepend(closed)

    postgres = make(directory)
    postgres.start()
    (stale := directory / "binaries-unfinished-killed").mkdir()
    copies = [path.stat().st_ino for path in directory.glob("binaries-*") if path != stale]
    assert len(copies) == (1 if ROOT else 0)
    postgres.create_database("made-by-the-copied-psql")
    postgres.stop()
    postgres.start()
    assert await ask(postgres, "SELECT 1", "made-by-the-copied-psql") == 1
    if ROOT:
        assert [path.stat().st_ino for path in directory.glob("binaries-*")] == copies
    else:
        assert Account.for_postgres("nobody").first_unreachable([closed]) is None


def test_an_account_that_postgres_cannot_use_is_refused() -> None:
    with pytest.raises(AccountUnusable, match="54321"):
        Account.of_uid(54321)
    if ROOT:
        with pytest.raises(AccountUnusable, match="no user 'nosuchuser'"):
            Account.for_postgres("nosuchuser")
        with pytest.raises(AccountUnusable, match="is root"):
            Account.for_postgres("root")
    else:
        assert Account.for_postgres("nosuchuser").uid == os.geteuid()


def test_a_server_that_does_not_start_says_why_and_lets_go(make: Make) -> None:
    with pytest.raises(PostgresFailed, match='invalid value for parameter "shared_buffers": "plenty"'):
        make(shared_buffers="plenty").start()
    make().start()


def test_a_start_that_takes_too_long_leaves_nothing_running(make: Make, directory: Path) -> None:
    postgres = make()
    with pytest.raises(PostgresFailed, match="not ready in 0:00:00"):
        postgres.start(timeout=timedelta(0))
    assert not processes_on(directory / "18")
    postgres.start()


def test_a_long_log_is_put_aside_at_the_start(make: Make, directory: Path) -> None:
    os.truncate(directory / "postgres.log", 11 * 2**20)
    make().start()
    assert (directory / "postgres.log.1").stat().st_size == 11 * 2**20
    assert (directory / "postgres.log").stat().st_size < 2**16


def test_it_is_only_started_from_the_main_thread(make: Make) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            make().start()
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(failures) == 1
