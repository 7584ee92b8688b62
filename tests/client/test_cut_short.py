"""Whatever is killed or cut off in the midst of a transfer: it goes on where it was, and what comes out is right."""

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.client.conftest import Client, ended
from tests.support.passage import Passage, serving_behind
from tests.support.serve import PATIENCE, wait_until

MB = 1_000_000


def killed(process: "subprocess.Popen[str]") -> None:
    process.kill()
    ended(process)
    assert process.returncode == -signal.SIGKILL


def bytes_of(url: str) -> bytes:
    return httpx.get(url.replace("/ga4gh/drs/v1/objects/", "/data/"), timeout=PATIENCE).raise_for_status().content


def cut_put(client: Client, way: Passage, *arguments: str | Path, after: int) -> int:
    """Kill a put after so many bytes; how many had gone up before it began."""
    before = way.up.bytes
    way.up.block_after(after)
    process = client.begin("put", *arguments)
    assert way.up.blocked.wait(PATIENCE), ended(process)
    killed(process)
    way.up.free()
    return before


@pytest.mark.usefixtures("serve")
@pytest.mark.parametrize("streams", ["1", "2"])
def test_a_killed_put_goes_on_where_it_was(client: Client, way: Passage, streams: str) -> None:
    path = client.file("a", 30 * MB)
    before = cut_put(client, way, path, "--streams", streams, after=20 * MB)
    assert len(client.remembered) == 1
    made = client.well("put", "--json", path, "--streams", streams).objects[0]
    assert bytes_of(made["url"]) == path.read_bytes()
    assert way.up.bytes - before < 33 * MB  # one window of it was on its way when the client died
    assert client.remembered == []


@pytest.mark.usefixtures("serve")
@pytest.mark.parametrize("streams", ["1", "2"])
def test_a_put_that_is_given_up_goes_on_later(
    client: Client, way: Passage, streams: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = client.file("a", 10 * MB)
    cut_put(client, way, path, "--streams", streams, after=8 * MB)
    with monkeypatch.context() as gone:
        gone.setattr(way, "port", 9)
        given_up = client.run("put", path, "--streams", streams, "--patience", "0", "--json")
    assert (given_up.code, given_up.objects[0]["code"]) == (1, "unavailable"), given_up
    before = way.up.bytes
    client.well("put", path, "--streams", streams)
    assert way.up.bytes - before < 6 * MB


@pytest.mark.usefixtures("serve")
def test_a_killed_put_of_a_directory_sends_no_file_twice(client: Client, way: Passage) -> None:
    for number in range(4):
        client.file(f"in/{number}", 5 * MB)
    before = cut_put(client, way, "in", "--parallel", "1", after=13 * MB)
    made = client.well("put", "in", "--json").objects
    assert [bytes_of(one["url"]) for one in sorted(made[:-1], key=lambda one: str(one["path"]))] == [
        (client.directory / "in" / str(number)).read_bytes() for number in range(4)
    ]
    assert way.up.bytes - before < 23 * MB
    assert client.remembered == []


@pytest.mark.usefixtures("serve")
def test_a_file_that_changed_is_sent_anew(client: Client, way: Passage) -> None:
    path = client.file("a", 10 * MB)
    cut_put(client, way, path, after=8 * MB)
    stamp = path.stat().st_mtime_ns
    client.file("a", 10 * MB)
    os.utime(path, ns=(stamp, stamp + 1))
    before = way.up.bytes
    made = client.well("put", "--json", path).objects[0]
    assert bytes_of(made["url"]) == path.read_bytes()
    assert way.up.bytes - before > 10 * MB


@pytest.mark.usefixtures("serve")
def test_a_file_that_changed_unseen_is_found_out(client: Client, way: Passage) -> None:
    """The size and the time are those of before, the bytes are not: the object is not what the file is."""
    path = client.file("a", 10 * MB)
    cut_put(client, way, path, after=8 * MB)
    stamp = path.stat()
    client.file("a", 10 * MB)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    refused = client.run("put", path)
    assert (refused.code, refused.out) == (1, "")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in refused.err
    made = client.well("put", "--json", path).objects[0]
    assert bytes_of(made["url"]) == path.read_bytes()


@pytest.mark.usefixtures("serve")
def test_an_upload_that_is_no_more_is_begun_anew(client: Client, way: Passage) -> None:
    path = client.file("a", 10 * MB)
    cut_put(client, way, path, after=8 * MB)
    [state] = client.remembered
    url = httpx.Response(200, content=state.read_bytes()).json()["url"]
    assert httpx.delete(url, headers={"Tus-Resumable": "1.0.0"}, timeout=PATIENCE).status_code == 204
    made = client.well("put", "--json", path).objects[0]
    assert bytes_of(made["url"]) == path.read_bytes()


def test_a_client_goes_on_by_itself_when_the_service_was_killed(
    client: Client, way: Passage, roomy: Path, env: dict[str, str]
) -> None:
    path = client.file("a", 30 * MB)
    data_dir = roomy / f"killed-{path.stat().st_mtime_ns}"
    with serving_behind(way, data_dir, env) as service:
        before = way.up.bytes
        way.up.block_after(20 * MB)
        process = client.begin("put", "--json", "--chunk-size", "5", path)
        assert way.up.blocked.wait(PATIENCE)
        service.kill()
        way.up.free()
    with serving_behind(way, data_dir, env):
        done = ended(process)
        assert done.code == 0, done
        assert bytes_of(done.objects[0]["url"]) == path.read_bytes()
        assert way.up.bytes - before < 40 * MB  # what was acknowledged is not sent again
    assert "again in" in done.err


def cut_get(client: Client, way: Passage, url: str, *, after: int) -> None:
    """Kill a get after so many bytes have come, some of which are in its part."""
    way.down.block_after(after)
    process = client.begin("get", url, "-o", "b")
    assert way.down.blocked.wait(PATIENCE), ended(process)
    part = client.directory / "b.part"
    wait_until(lambda: part.exists() and part.stat().st_size > after // 3)
    killed(process)
    way.down.free()


@pytest.mark.usefixtures("serve")
def test_a_killed_get_goes_on_where_it_was(client: Client, way: Passage) -> None:
    path = client.file("a", 30 * MB)
    url = client.well("put", "--json", path).objects[0]["url"]
    cut_get(client, way, url, after=20 * MB)
    assert not (client.directory / "b").exists()
    kept, before = (client.directory / "b.part").stat().st_size, way.down.bytes
    client.well("get", url, "-o", "b")
    assert (client.directory / "b").read_bytes() == path.read_bytes()
    assert way.down.bytes - before < 30 * MB - kept + 100_000
    assert not (client.directory / "b.part").exists()
    assert client.remembered == []


@pytest.mark.usefixtures("serve")
def test_a_part_that_was_tampered_with_is_refused(client: Client, way: Passage) -> None:
    path = client.file("a", 15 * MB)
    url = client.well("put", "--json", path).objects[0]["url"]
    cut_get(client, way, url, after=12 * MB)
    with (client.directory / "b.part").open("r+b") as part:
        first = part.read(1)
        part.seek(0)
        part.write(bytes([first[0] ^ 1]))
    refused = client.run("get", "--json", url, "-o", "b")
    assert (refused.code, refused.objects[0]["code"]) == (1, "checksum_mismatch")
    assert not (client.directory / "b").exists()
    assert not (client.directory / "b.part").exists()
    client.well("get", url, "-o", "b")
    assert (client.directory / "b").read_bytes() == path.read_bytes()
