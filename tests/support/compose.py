"""docker-compose.yaml, read as strictly as it is run without containers: what is not known here is refused.

Only what a container gives is translated, by the places in `Host`: names of hosts and ports, /run/secrets, files that
are mounted, /tmp. Commands, environment, health checks, order and signals are those of the files.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yaml"

# What a service may say. The first are acted on; the others are asserted to be as they must (tests/compose).
ACTED_ON = {"entrypoint", "command", "environment", "env_file", "secrets", "volumes", "tmpfs", "depends_on"}
ACTED_ON |= {
    "healthcheck",
    "stop_signal",
    "stop_grace_period",
    "deploy",
    "network_mode",
    "ports",
    "image",
    "build",
    "pull_policy",
}
CONTAINED = {"restart", "read_only", "cap_drop", "security_opt", "user", "init", "shm_size"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def only(given: Mapping[str, Any], known: set[str]) -> Mapping[str, Any]:
    assert given.keys() <= known, f"not known here: {sorted(given.keys() - known)}"
    return given


@dataclass(frozen=True, slots=True)
class Stage:
    """What an image of the Dockerfile says of how it is run."""

    env: dict[str, str]
    user: str
    entrypoint: list[str]
    command: list[str]
    stop_signal: str


def stage(name: str) -> Stage:
    """The stage of the Dockerfile with this name. AssertionError for what is not in exec form."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    begins = [at for at, (word, rest) in enumerate(lines) if word == "FROM" and rest.endswith(f" AS {name}")]
    [first] = begins
    env: dict[str, str] = {}
    said = {"USER": "", "ENTRYPOINT": "[]", "CMD": "[]", "STOPSIGNAL": "SIGTERM"}
    for word, rest in lines[first + 1 :]:
        if word == "FROM":
            break
        if word == "ENV":
            env |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word in said:
            said[word] = rest
        else:
            assert word in {"COPY", "RUN", "WORKDIR"}, f"not known here: {word}"
    return Stage(env, said["USER"], json.loads(said["ENTRYPOINT"]), json.loads(said["CMD"]), said["STOPSIGNAL"])


@dataclass(frozen=True, slots=True)
class Service:
    """One service, with what its image says. Nothing is translated yet."""

    name: str
    said: Mapping[str, Any]
    argv: list[str]
    environment: dict[str, str]
    needs: dict[str, str]
    """Service -> condition."""
    secrets: list[str]
    mounts: dict[str, str]
    """Path in the container -> what is there: a file of ours, or the name of a volume."""
    health: list[str] | None
    stop_signal: str
    replicas: int
    user: str


def services(variables: Mapping[str, str], dotenv: Mapping[str, str]) -> dict[str, Service]:
    """All of docker-compose.yaml and of what it includes.

    variables: of whoever runs Compose. dotenv: what is in `.env`, for the services that read it.
    """
    top = only(
        {key: value for key, value in read(COMPOSE).items() if not key.startswith("x-")},
        {"name", "include", "services", "volumes", "secrets"},
    )
    found, secrets = dict(top["services"]), dict(top["secrets"])
    for path in top["include"]:
        included = only(read(ROOT / path), {"services", "secrets"})
        assert not (found.keys() & included["services"].keys() or secrets.keys() & included["secrets"].keys())
        found |= included["services"]
        secrets |= included["secrets"]
    for name, secret in secrets.items():
        assert secret == {"file": f"./secrets/{name}"}
    volumes = top["volumes"]
    made = {name: service(name, said, variables, dotenv) for name, said in found.items()}
    for one in made.values():
        assert set(one.secrets) <= secrets.keys() and one.needs.keys() <= made.keys()
        assert all(what in volumes for what in one.mounts.values() if not what.startswith("./"))
    return made


def service(name: str, said: Mapping[str, Any], variables: Mapping[str, str], dotenv: Mapping[str, str]) -> Service:
    only(said, ACTED_ON | CONTAINED)
    image = Stage({}, "", [], [], "SIGTERM")
    if "build" in said:
        assert said["build"] == {"context": ".", "target": said["build"]["target"]}
        image = stage(said["build"]["target"])
    entrypoint = said.get("entrypoint", image.entrypoint)
    command = said.get("command", [] if "entrypoint" in said else image.command)
    assert isinstance(entrypoint, list) and isinstance(command, list), "a command is a list"
    environment = dict(image.env)
    if "env_file" in said:
        assert said["env_file"] == [{"path": ".env", "required": False}]
        environment |= dotenv
    environment |= said.get("environment", {})
    health = said.get("healthcheck")
    if health is not None:
        only(health, {"test", "interval", "timeout", "start_period", "start_interval"})
        assert health["test"][0] == "CMD"
    needs = said.get("depends_on", {})
    needs = {key: {"condition": "service_started"} for key in needs} if isinstance(needs, list) else needs
    if (shared := said.get("network_mode")) is not None:
        needs = needs | {shared.removeprefix("service:"): {"condition": "service_started"}}
    return Service(
        name,
        said,
        argv=[interpolated(word, variables) for word in [*entrypoint, *command]],
        environment={key: interpolated(value, variables) for key, value in environment.items()},
        needs={key: only(value, {"condition"})["condition"] for key, value in needs.items()},
        secrets=said.get("secrets", []),
        mounts=dict(mounted(text) for text in said.get("volumes", [])),
        health=[interpolated(word, variables) for word in health["test"][1:]] if health else None,
        stop_signal=said.get("stop_signal", image.stop_signal),
        replicas=only(said.get("deploy", {"replicas": 1}), {"replicas"})["replicas"],
        user=said.get("user", image.user),
    )


def mounted(text: str) -> tuple[str, str]:
    what, path, *read_only = text.split(":")
    assert read_only == (["ro"] if what.startswith("./") else []), text
    return path, what


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """As Compose does it, of which only `$$` and `${NAME:-default}` are used."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        assert match["name"], f"not known here: {text!r}"
        return variables.get(match["name"]) or match["default"]

    assert isinstance(text, str), f"{text!r} is not a string, and would be written by YAML's rules"
    return re.sub(r"\$(\$|\{(?P<name>[A-Z_]+):-(?P<default>[^}$]*)\}|)", one, text)


@dataclass(frozen=True, slots=True)
class Host:
    """Where on this machine that is which in a container is at a name, a port or a path."""

    places: dict[str, str]
    """By regular expression. Each is for something: `unused` names those that never were."""
    used: set[str] = field(default_factory=set)

    def translated(self, text: str, mounts: Mapping[str, str]) -> str:
        places = {re.escape(path): here for path, here in mounts.items()} | self.places
        known = list(places)

        def one(match: re.Match[str]) -> str:
            place = known[int(str(match.lastgroup)[1:])]
            self.used.add(place)
            return places[place]

        # All in one pass: what was translated may hold what is to be translated.
        return re.sub("|".join(f"(?P<_{at}>{place})" for at, place in enumerate(known)), one, text)

    @property
    def unused(self) -> set[str]:
        return self.places.keys() - self.used


def in_order(all_of_them: Mapping[str, Service]) -> Iterator[Service]:
    """Each after those that it needs. AssertionError if that cannot be."""
    started: set[str] = set()
    while len(started) < len(all_of_them):
        ready = [one for one in all_of_them.values() if one.name not in started and one.needs.keys() <= started]
        assert ready, "they wait for each other"
        for one in ready:
            started.add(one.name)
            yield one
