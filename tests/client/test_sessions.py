"""`drs-service sessions` against a real service."""

import json
import re
import shlex
import stat
from dataclasses import replace

import httpx
import pytest

from tests.client.conftest import Client, Ended
from tests.support.passage import Passage
from tests.support.serve import Serve

pytestmark = pytest.mark.usefixtures("serve")


def shows(client: Client, secret: str, *arguments: str) -> Ended:
    return replace(client, env={**client.env, "DRS_SESSION_SECRET": secret}).run("sessions", *arguments)


def test_a_session_is_created_shown_stopped_and_listed(client: Client, serve: Serve, way: Passage) -> None:
    said = ["--name", "analysis", "--target", "http://127.0.0.1:80/a b", "--max-life", "4h", "--idle", "90"]
    made = client.well("sessions", "create", *said)
    session_id = re.search(r"^Session ([0-9a-z]{16}), until ", made.out, re.M)
    assert session_id is not None
    agent = shlex.split(next(line for line in made.lines if "drs-service agent" in line))
    assert agent[:5] == ["drs-service", "agent", "--url", way.url, "--token"]
    assert agent[6:] == ["--target", "http://127.0.0.1:80/a b"]
    [link] = [line.strip() for line in made.lines if "/enter?code=" in line]
    secret = made.lines[-1].strip()
    assert len({agent[5], secret, link.rpartition("=")[2]}) == 3
    with httpx.Client(base_url=serve.url, timeout=20) as browser:
        assert browser.get(f"{httpx.URL(link).raw_path.decode()}").status_code == 303
    told = json.loads(shows(client, secret, "show", session_id[1], "--json").out)
    assert (told["id"], told["idle_seconds"], told["target"]) == (session_id[1], 90, "http://127.0.0.1:80/a b")
    assert session_id[1] in client.well("sessions", "list", "--data-dir", serve.data_dir).out
    assert (
        shows(client, secret, "stop", session_id[1]).lines[0] == f"Session {session_id[1]}, analysis: ended (stopped)"
    )
    listed = client.well("sessions", "list", "--json", "--all", "--data-dir", serve.data_dir)
    assert [one["reason"] for one in listed.objects if one["id"] == session_id[1]] == ["stopped"]
    assert not any(word in listed.out for word in (secret, agent[5]))


def test_a_secret_is_kept_in_a_file_of_its_own(client: Client, serve: Serve) -> None:
    path = client.directory / "secret"
    made = client.well("sessions", "create", "--name", "a name that leaves little room", "--secret-file", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() not in made.out
    session_id = made.lines[0].split()[1].rstrip(",")
    assert client.well("sessions", "show", session_id, "--secret-file", path).lines[0].endswith("room: created")
    assert session_id in client.well("sessions", "list", "--data-dir", serve.data_dir).out
    again = client.run("sessions", "create", "--secret-file", path)
    assert (again.code, again.out) == (1, "") and "is there already" in again.err
    another = client.directory / "another"
    told = client.well("sessions", "create", "--secret-file", another, "--json")
    assert another.read_text().strip() not in told.out
    assert json.loads(told.out).keys() == {"session", "join_token", "link"}
    left = client.directory / "left"
    refused = client.run("sessions", "create", "--max-life", "400d", "--secret-file", left)
    assert (refused.code, left.exists()) == (1, False)


def test_what_is_wrong_is_said(client: Client) -> None:
    assert "Say the secret" in client.run("sessions", "show", "0" * 16).err
    stranger = shows(client, "x" * 43, "show", "0" * 16)
    assert stranger.code == 1 and "404" in stranger.err
    assert "Traceback" not in stranger.err
    unheard = client.run("sessions", "create", "--url", "http://127.0.0.1:1")
    assert unheard.code == 1 and "does not answer" in unheard.err


def test_what_can_be_nothing_is_refused_in_words(client: Client) -> None:
    (binary := client.directory / "binary").write_bytes(b"\xff")
    (empty := client.directory / "empty").touch()
    for code, word, said in (
        (2, "is not UTF-8", ("create", "--name", "\udcff")),
        (1, "cannot be written", ("create", "--secret-file", client.directory / "nowhere" / "secret")),
        (2, "is not the id", ("show", "", "--secret-file", empty)),
        (2, "is not the id", ("stop", "\udcff", "--secret-file", empty)),
        (2, "cannot be read", ("show", "0" * 16, "--secret-file", binary)),
        (2, "is not the secret", ("show", "0" * 16, "--secret-file", empty)),
    ):
        refused = client.run("sessions", *said)
        assert (refused.code, refused.out) == (code, ""), said
        assert word in refused.err and "Traceback" not in refused.err
