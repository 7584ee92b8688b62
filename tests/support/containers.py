"""The services of docker-compose.yaml as plain processes, started and stopped in Compose's order.

Two stand in for images that are not here: PostgreSQL comes from the wheel, made as its image makes it, and Ceph is the
S3 store. The rest runs what the files say: nginx is Debian's, dbmate and `drs-service` are in our environment.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from drs_service.db.pool import wait_for
from drs_service.db.postgres_binaries import programs_for
from drs_service.db.postgres_process import Account
from tests.support.compose import ROOT, Host, Service, in_order, services
from tests.support.postgres import execute
from tests.support.program import free_port
from tests.support.s3 import S3Server
from tests.support.serve import alive, family, kill, wait_until

PATIENCE = 30.0
PATH = os.pathsep.join([str(Path(sys.executable).parent), "/usr/sbin", os.defpath])
PROGRAMS = ("nginx", "wget")


def missing() -> str:
    """Which programs of images are not here, or nothing."""
    absent = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    return f"{', '.join(absent)} not installed: on Debian `make servers` does it" if absent else ""


@dataclass(slots=True)
class Container:
    """A process that stands for one, and what it has for itself."""

    service: Service
    directory: Path
    env: dict[str, str]
    health: list[str] | None
    process: "subprocess.Popen[bytes]"

    def is_healthy(self) -> bool:
        assert self.runs, self.told
        assert self.health is not None
        asked = subprocess.run(self.health, env=self.env, cwd=self.directory, capture_output=True, check=False)
        return asked.returncode == 0

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    @property
    def family(self) -> list[int]:
        return [self.process.pid, *family(self.process.pid)]

    @property
    def told(self) -> str:
        return (self.directory / "output").read_text()

    def kill(self) -> None:
        """As `docker kill` does: nothing of it is left."""
        pids = self.family
        for pid in pids:
            kill(pid)
        self.process.wait(PATIENCE)
        wait_until(lambda: not any(alive(pid) for pid in pids))


@dataclass(slots=True)
class Composition:
    """All of them. A port of a container, and the published one, is a free one of this machine."""

    directory: Path
    s3: S3Server
    dotenv: dict[str, str]
    ports: dict[int, int] = field(default_factory=lambda: {port: free_port() for port in (5432, 8001, 8002, 8080)})
    containers: dict[str, list[Container]] = field(default_factory=dict)
    ended: dict[str, list[int]] = field(default_factory=dict)
    services: dict[str, Service] = field(init=False)
    host: Host = field(init=False)

    def __post_init__(self) -> None:
        self.services = services({}, self.dotenv)
        self.host = Host(
            {
                r"\bpostgres:5432\b": f"127.0.0.1:{self.ports[5432]}",
                r"\bstore:3900\b": urlsplit(self.s3.url).netloc,
                r"\b127\.0\.0\.1:8000\b": f"127.0.0.1:{self.ports[8080]}",  # what is published
                r"\blisten 8080\b": f"listen 127.0.0.1:{self.ports[8080]}",
                **{rf"\b{port}\b": str(here) for port, here in self.ports.items()},
                r"/run/secrets\b": str(self.directory / "secrets"),
                r"/opt/drs/bin\b": str(Path(sys.executable).parent),
            }
        )
        secrets = self.directory / "secrets"
        subprocess.run([ROOT / "deploy" / "secrets", secrets], check=True)
        (url := secrets / "database_url").chmod(0o600)
        url.write_text(self.host.translated(url.read_text(), {}))

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def up(self) -> None:
        """Start all, each once what it depends on is as it says; return when they are healthy."""
        for service in in_order(self.services):
            for name, condition in service.needs.items():
                self.wait_for(name, condition)
            self.start(service.name)
        for service in self.services.values():
            if service.health is not None and service.name != "store":
                self.wait_for(service.name, "service_healthy")

    def wait_for(self, name: str, condition: str) -> None:
        for one in self.containers[name]:
            if condition == "service_completed_successfully":
                assert one.process.wait(PATIENCE) == 0, one.told
            elif condition == "service_healthy":
                if name != "store":
                    wait_until(one.is_healthy, within=PATIENCE, every=0.3)  # each look is a process
            else:
                assert condition == "service_started"

    def start(self, name: str) -> None:
        """As many as there are to be."""
        self.containers[name] = [self.started(self.services[name], number) for number in self.numbers(name)]

    def numbers(self, name: str) -> range:
        # Ceph runs already: what the store is to be is held against it by who asks for this.
        return range(0 if name == "store" else self.services[name].replicas)

    def started(self, service: Service, number: int) -> Container:
        directory = self.directory / f"{service.name}-{number}"
        (directory / "tmp").mkdir(parents=True, exist_ok=True)
        mounts = {path: self.put(directory, path, what) for path, what in service.mounts.items()}
        mounts |= {f"{path}/": f"{directory}{path}/" for path in service.said.get("tmpfs", [])}
        for here in mounts.values():
            if (file := Path(here)).is_file():
                file.write_text(self.host.translated(file.read_text(), mounts))
        path = f"{self.postgres_programs()}{os.pathsep}{PATH}"
        env = {"PATH": path, **service.environment}
        env = {key: self.host.translated(value, mounts) for key, value in env.items()}
        if "PYTHONPATH" in os.environ:
            env["PYTHONPATH"] = os.environ["PYTHONPATH"]
        argv = [self.host.translated(word, mounts) for word in service.argv]
        health = [self.host.translated(word, mounts) for word in service.health] if service.health else None
        if service.name == "postgres":
            process = self.postgres(env, directory)
        else:
            with (directory / "output").open("ab") as output:
                process = subprocess.Popen(
                    argv, env=env, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
        return Container(service, directory, env, health, process)

    def put(self, directory: Path, path: str, what: str) -> str:
        """Where that is which is mounted at path."""
        if not what.startswith("./"):
            (volume := self.directory / f"volume-{what}").mkdir(exist_ok=True)
            return str(volume)
        source = ROOT / what
        if source.is_dir():
            return str(source)
        return str(shutil.copy(source, directory / Path(path).name))

    def postgres_programs(self) -> Path:
        return programs_for(Account.for_postgres("nobody"), self.directory)

    def postgres(self, env: dict[str, str], directory: Path) -> "subprocess.Popen[bytes]":
        """What the image does with its environment."""
        account, programs = Account.for_postgres("nobody"), self.postgres_programs()
        user, database = env["POSTGRES_USER"], env["POSTGRES_DB"]
        password = Path(env["POSTGRES_PASSWORD_FILE"]).read_text().strip()
        (pwfile := directory / "password").write_text(password)
        for path in (directory, pwfile):
            os.chown(path, account.uid, account.gid)
        made = account.run(
            [
                *(programs / "initdb", "-D", directory / "data", "--no-sync", "--username", user),
                *("--pwfile", pwfile, "--auth-local=trust", "--auth-host=scram-sha-256"),
            ]
        )
        assert made.returncode == 0, made.stderr
        settings = ["listen_addresses=127.0.0.1", f"port={self.ports[5432]}", "unix_socket_directories=", "fsync=off"]
        with (directory / "output").open("ab") as output, Path(os.devnull).open("rb") as nothing:
            process = account.spawn(
                [programs / "postgres", "-D", directory / "data", *(word for one in settings for word in ("-c", one))],
                directory=directory,
                output=output,
                inherit=nothing.fileno(),
            )
        url = f"postgresql://{user}:{password}@127.0.0.1:{self.ports[5432]}/postgres"
        asyncio.run(wait_for(url, patience=PATIENCE))
        asyncio.run(execute(url, f"CREATE DATABASE {database}"))
        return process

    def stop(self) -> None:
        """As `docker compose stop` does: those first on which nothing depends. Their exit codes are in `ended`."""
        running = {name: some for name, some in self.containers.items() if any(one.runs for one in some)}
        while running:
            needed = {need for name in running for need in self.services[name].needs}
            now = {name: running.pop(name) for name in running.keys() - needed}
            for name, some in now.items():
                for one in some:
                    one.process.send_signal(signal.Signals[self.services[name].stop_signal])
            for name, some in now.items():
                self.ended[name] = [one.process.wait(PATIENCE) for one in some]

    def kill(self) -> None:
        for containers in self.containers.values():
            for one in containers:
                if one.runs:
                    one.kill()
