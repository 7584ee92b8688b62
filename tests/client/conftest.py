"""A service of its own process behind a passage, and the client as its users start it."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.passage import Passage, passage, serving_behind
from tests.support.serve import COMMAND, PATIENCE, Serve


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@dataclass(slots=True)
class Client:
    """`drs-service put` and `get`, in a directory and with a memory of their own."""

    directory: Path
    env: dict[str, str]
    begun: list["subprocess.Popen[str]"] = field(default_factory=list)

    def begin(self, *arguments: str | Path) -> "subprocess.Popen[str]":
        return self.begin_with([], *arguments)

    def begin_with(
        self, before: list[str], *arguments: str | Path, pass_fds: tuple[int, ...] = ()
    ) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*before, *COMMAND, *map(str, arguments)],
            pass_fds=pass_fds,
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.begun.append(process)
        return process

    def run(self, *arguments: str | Path) -> Ended:
        return ended(self.begin(*arguments))

    def well(self, *arguments: str | Path) -> Ended:
        done = self.run(*arguments)
        assert done.code == 0, done
        return done

    @property
    def remembered(self) -> list[Path]:
        return list((self.directory / "state").rglob("*.json"))

    def file(self, name: str, size: int) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(secrets.token_bytes(size))
        return path


def ended(process: "subprocess.Popen[str]") -> Ended:
    out, err = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, out, err)


@pytest.fixture(scope="session")
def env() -> dict[str, str]:
    ours = ("DRS_", "DATABASE_URL", "PUBLIC_URL", "XDG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture(scope="session")
def way() -> Iterator[Passage]:
    with passage() as one:
        yield one


@pytest.fixture(scope="session")
def serve(roomy: Path, env: dict[str, str], way: Passage) -> Iterator[Serve]:
    """A service that is reached through `way`, and that the tests share."""
    with serving_behind(way, roomy / f"client-{secrets.token_hex(4)}", env) as service:
        yield service


@pytest.fixture
def client(tmp_path: Path, env: dict[str, str], way: Passage) -> Iterator[Client]:
    one = Client(tmp_path, {**env, "DRS_URL": way.url, "XDG_STATE_HOME": str(tmp_path / "state")})
    yield one
    way.up.free()
    way.down.free()
    for process in one.begun:
        if process.returncode is None:
            process.kill()
            process.communicate()
