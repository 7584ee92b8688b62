"""An app behind an agent against the same app behind `ssh -R`: OpenSSH, default ciphers, on loopback."""

import os
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import msgspec

from benchmarks.load import random_file
from benchmarks.measuring import AtLeast, AtMost, Row, compared, limited, taking_turns
from benchmarks.memory import Peak, ours_of, resident
from benchmarks.programs import program, run
from benchmarks.scale import KIB, MIB, Scale
from benchmarks.servers import Nginx, Server, free_port, nginx, nodes, running, until_open, workplace

CONNECTIONS = 16
SMALL = 1000  # bytes
SLOW_READ = 256 * KIB  # bytes that the slow reader takes at once
SLOW_PAUSE = 0.005  # seconds between
LOOKS = 100  # small requests whose first byte is waited for

SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/key.pub
PidFile {directory}/pid
UsePAM no
PermitRootLogin yes
StrictModes no
"""


@dataclass(frozen=True, slots=True)
class Way:
    """To the app."""

    url: str
    authorization: str = ""

    @property
    def options(self) -> list[str]:
        return ["-H", f"Authorization: {self.authorization}"] if self.authorization else []


def tunnel(scale: Scale) -> list[Row]:
    """An app that is reached through a session: requests, bytes both ways, memory, and what another node costs."""
    with (
        workplace() as place,
        nginx(place / "nginx") as app,
        ssh(place / "ssh", app) as baseline,
        nodes(place / "nodes", 2) as (holder, other),
        session(place, holder, app) as (ours, agent),
    ):
        (app.files / "small").write_bytes(os.urandom(SMALL))
        large = random_file(app.files / "large", scale.file_size)
        through_other = Way(ours.url.replace(holder.url, other.url), ours.authorization)
        wait_for(through_other)
        rows = []
        for what, measure, unit, target in (
            (f"small GETs, {CONNECTIONS} connections", partial(requests, scale.seconds), "/s", 0.5),
            (f"download of {scale.file_size // MIB} MiB", partial(download, large), "MB/s", 1.2),
            (f"upload of {scale.file_size // MIB} MiB", partial(upload, large), "MB/s", 1.2),
        ):
            ways = {"ssh": baseline, "ours": ours, "hop": through_other}
            taken = taking_turns(
                scale.rounds, {name: partial(measure, way) for name, way in ways.items()}, warm_up=True
            )
            rows += [
                compared(f"{what}, against ssh -R", ours=taken["ours"], baseline=taken["ssh"], unit=unit,
                         target=AtLeast(bound=target)),
                compared(f"{what}, one node more", ours=taken["hop"], baseline=taken["ours"], unit=unit,
                         target=AtLeast(bound=0.6)),
            ]  # fmt: skip
        rows.append(beside_a_body(ours, scale.rounds))
        rows += memory(scale, place, app, ours, [*ours_of(holder.pid), agent])
        return rows


@contextmanager
def ssh(directory: Path, app: Nginx) -> Iterator[Way]:
    """The app on a port that sshd listens on, and hands to the ssh that stands before the app."""
    directory.mkdir()
    for name in ("key", "host"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name)
    port, forwarded = free_port(), free_port()
    (directory / "config").write_text(SSHD.format(port=port, directory=directory))
    Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation wants it
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ExitOnForwardFailure=yes"]
    here = f"127.0.0.1:{forwarded}:{urlsplit(app.url).netloc}"
    # With a terminal: only for that OpenSSH sets TCP_NODELAY, without which small answers wait for each other's ACKs.
    client = [program("ssh"), "-tt", "-p", str(port), "-i", str(directory / "key"), "-R", here]
    with running([program("sshd"), "-D", "-f", str(directory / "config")], log=directory / "sshd.log"):
        until_open(port)
        command = [*client, *(f"-o{option}" for option in options), "127.0.0.1", "sleep 3600"]
        with running(command, log=directory / "ssh.log"):
            until_open(forwarded)
            yield Way(f"http://127.0.0.1:{forwarded}")


class Created(msgspec.Struct):
    session: "Session"
    secret: str
    join_token: str


class Session(msgspec.Struct):
    id: str


@contextmanager
def session(place: Path, node: Server, app: Nginx) -> Iterator[tuple[Way, int]]:
    """The way through a session whose agent stands before the app, and the agent's process id."""
    request = urllib.request.Request(f"{node.url}/sessions", b"{}", {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        created = msgspec.json.decode(answer.read(), type=Created)
    command = [sys.executable, "-P", "-m", "drs_service", "agent", "--url", node.url, "--target", app.url]
    env = {"DRS_JOIN_TOKEN": created.join_token, "XDG_STATE_HOME": str(place / "state")}
    with running(command, log=place / "agent.log", env=env) as process:
        way = Way(f"{node.url}/socket/{created.session.id}", f"Bearer {created.secret}")
        wait_for(way)
        yield way, process.pid


def wait_for(way: Way) -> None:
    """Return when the app is reached."""
    deadline = time.monotonic() + 30
    while True:
        connection, answer = asked(way, "/")
        connection.close()
        if answer.status < 500:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"The app is not reached: {answer.status}")
        time.sleep(0.1)


def requests(seconds: int, way: Way) -> float:
    said = run("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", *way.options, f"{way.url}/small")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None or "Non-2xx" in said:
        raise RuntimeError(said)
    return float(found[1])


def download(file: Path, way: Way) -> float:
    said = run(
        "curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{time_total}", *way.options, f"{way.url}/{file.name}"
    )
    return file.stat().st_size / float(said) / 1e6


def upload(file: Path, way: Way) -> float:
    said = run("curl", "-sS", "--fail", "-T", file, "-w", "%{time_total}", *way.options, f"{way.url}/sent")
    return file.stat().st_size / float(said.split("\n")[-1]) / 1e6


def beside_a_body(way: Way, rounds: int) -> Row:
    """How much longer the first byte of a small answer takes while a large one is in the same tunnel."""
    later = []
    for _ in range(rounds):
        alone = first_byte(way)
        over = threading.Event()
        reading = threading.Thread(target=read_until, args=(way, over))
        reading.start()
        try:
            time.sleep(0.2)  # until it is in full flow
            later.append((first_byte(way) - alone) * 1000)
        finally:
            over.set()
            reading.join()
    return limited("first byte beside a large answer, later by", later, unit="ms", target=AtMost(bound=10))


def first_byte(way: Way) -> float:
    """Seconds, the median of many."""
    taken = []
    connection, answer = asked(way, "/small")
    answer.read()
    for _ in range(LOOKS):
        began = time.perf_counter()
        connection.request("GET", f"{urlsplit(way.url).path}/small", headers={"Authorization": way.authorization})
        answer = connection.getresponse()
        taken.append(time.perf_counter() - began)
        answer.read()
    connection.close()
    return median(taken)


def read_until(way: Way, over: threading.Event) -> None:
    while not over.is_set():
        connection, answer = asked(way, "/large")
        while not over.is_set() and answer.read(MIB):
            pass
        connection.close()


def memory(scale: Scale, place: Path, app: Nginx, way: Way, pids: list[int]) -> list[Row]:
    """How far both ends grow while somebody reads a long answer slowly."""
    with (app.files / "long").open("wb") as file:
        file.truncate(4 * scale.file_size)
    idle = resident(pids)
    with Peak(lambda: resident(pids)) as peak:
        connection, answer = asked(way, "/long")
        until = time.monotonic() + 3 * scale.seconds
        while time.monotonic() < until and answer.read(SLOW_READ):
            time.sleep(SLOW_PAUSE)
        while answer.read(MIB):
            pass
        connection.close()
    what = f"memory of both ends, {4 * scale.file_size // MIB} MiB to a slow reader"
    return [limited(what, [peak.highest - idle], unit="MiB more", target=AtMost(bound=100))]


def asked(way: Way, path: str) -> tuple[HTTPConnection, HTTPResponse]:
    parts = urlsplit(way.url)
    connection = HTTPConnection(parts.netloc, timeout=60)
    connection.request("GET", parts.path + path, headers={"Authorization": way.authorization})
    return connection, connection.getresponse()
