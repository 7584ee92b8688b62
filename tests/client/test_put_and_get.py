"""`drs-service put` and `get` against a real service: what goes in comes out, and nothing else is ever touched."""

import hashlib
import os
import pty
import re
from pathlib import Path

import httpx
import pytest

from tests.client.conftest import Client, ended
from tests.support.passage import Passage

MB = 1_000_000

pytestmark = pytest.mark.usefixtures("serve")


def tree(directory: Path) -> dict[str, bytes]:
    return {str(one.relative_to(directory)): one.read_bytes() for one in directory.rglob("*") if one.is_file()}


def url_of(client: Client, path: Path) -> str:
    return str(client.well("put", "--json", path).objects[-1]["url"])


def test_files_of_any_size_come_back_as_they_were(client: Client) -> None:
    files = [client.file(name, size) for name, size in (("empty", 0), ("one.txt", 1), ("big.bin", 30 * MB))]
    put = client.well("put", *files)
    assert all(re.fullmatch(r"drs://127\.0\.0\.1/[0-9a-z]{26}", line) for line in put.lines)
    assert len(put.lines) == 3
    made = client.well("put", "--json", *files).objects
    assert {one["path"]: one["sha256"] for one in made} == {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    got = client.well("get", *(one["url"] for one in made), "-o", "there/")
    assert sorted(got.lines) == sorted(str(client.directory / "there" / path.name) for path in files)
    assert tree(client.directory / "there") == {path.name: path.read_bytes() for path in files}
    assert client.remembered == []


def test_a_directory_becomes_a_bundle_and_a_directory_again(client: Client) -> None:
    for name, size in (("in/a", 1), ("in/sub/b.bam", 3 * MB), ("in/sub/deep/zwei drei.txt", 7), ("in/sub/deep/0", 0)):
        client.file(name, size)
    put = client.well("put", "in", "--json", "--description", "what", "--tag", "k=v=w", "--name", "results")
    bundle = put.objects[-1]
    assert [one.get("bundle", False) for one in put.objects] == [False] * 4 + [True]
    shown = httpx.get(bundle["url"], timeout=20).json()
    assert (shown["name"], shown["description"], shown["tags"]) == ("results", "what", {"k": "v=w"})
    client.well("get", bundle["url"], "-o", "out")
    expected = tree(client.directory / "in")
    expected["sub/deep/zwei_drei.txt"] = expected.pop("sub/deep/zwei drei.txt")
    assert tree(client.directory / "out") == expected
    flat = client.well("put", "in", "--no-bundle", "--tag", "k=v", "--json").objects
    assert len(flat) == 4
    assert all(httpx.get(one["url"], timeout=20).json()["tags"] == {"k": "v"} for one in flat)


def test_what_is_said_of_a_file_is_said_of_the_object(client: Client) -> None:
    path = client.file("a", 3)
    url = client.well(
        "put", path, "--json", "--name", "b.x", "--type", "text/x-y", "--description", "d", "--tag", "k=v"
    ).objects[0]["url"]
    shown = httpx.get(url, timeout=20).json()
    said = [shown[name] for name in ("name", "mime_type", "description", "tags")]
    assert said == ["b.x", "text/x-y", "d", {"k": "v"}]


def test_what_the_service_has_is_not_sent_if_it_is_checked_first(client: Client, way: Passage) -> None:
    path = client.file("a", 5 * MB)
    client.well("put", path)
    before = way.up.bytes
    again = client.well("put", "--check-first", "--json", path).objects[0]
    assert way.up.bytes - before < 10_000
    assert again["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_in_parts_is_one_object(client: Client) -> None:
    path = client.file("a", 10 * MB + 1)
    made = client.well("put", "--streams", "3", "--chunk-size", "1", "--json", path).objects[0]
    assert httpx.get(f"{made['url'].replace('/ga4gh/drs/v1/objects/', '/data/')}").content == path.read_bytes()


def test_nothing_different_is_overwritten_unless_forced(client: Client, way: Passage) -> None:
    url = url_of(client, client.file("a", MB))
    there = client.directory / "there"
    client.well("get", url, "-o", there)
    before, inode = way.down.bytes, there.stat().st_ino
    client.well("get", url, "-o", there)  # the same: nothing is fetched
    assert (there.stat().st_ino, way.down.bytes - before < 10_000) == (inode, True)
    there.write_bytes(b"mine")
    refused = client.run("get", url, "-o", there)
    assert (refused.code, there.read_bytes(), refused.out) == (1, b"mine", "")
    assert "is there already, and different" in refused.err
    client.well("get", "--force", url, "-o", there)
    assert there.read_bytes() == (client.directory / "a").read_bytes()
    (client.directory / "b.part").write_bytes(b"mine too")
    assert client.run("get", url, "-o", "b").code == 1
    assert (client.directory / "b.part").read_bytes() == b"mine too"


def test_plain_bytes_are_saved_under_their_name_and_verified(client: Client) -> None:
    path = client.file("zwei drei.txt", 10)
    url = url_of(client, path).replace("/ga4gh/drs/v1/objects/", "/data/")
    [one] = client.well("get", url, "-o", "out/", "--json").objects
    assert (client.directory / "out" / "zwei_drei.txt").read_bytes() == path.read_bytes()
    assert one["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_exit_code_says_what_happened(client: Client) -> None:
    path = client.file("a", 1)
    for wrong in (
        ["put"],
        ["put", "missing"],
        ["put", path, "--url", "ftp://x"],
        ["put", path, "--tag", "novalue"],
        ["put", path, "a", "--name", "b"],
        ["get", "not-a-uri"],
    ):
        assert client.run(*wrong).code == 2, wrong
    url = url_of(client, path)
    some = client.run("get", "--json", f"{url}x", url, "-o", "out/")
    assert some.code == 1
    assert sorted(one.get("code", "fine") for one in some.objects) == ["fine", "not_found"]
    assert (client.directory / "out" / "a").exists()
    del client.env["DRS_URL"]
    assert client.run("put", path).code == 2


def test_a_service_that_is_not_there_is_given_up(client: Client) -> None:
    path = client.file("a", 1)
    gone = client.run("put", "--url", "http://127.0.0.1:9", "--patience", "1", path)
    assert (gone.code, gone.out) == (1, "")
    assert "again in" in gone.err
    assert client.run("get", "http://127.0.0.1:9/x", "--patience", "0").code == 1


def test_two_files_of_one_name_are_refused_before_anything_is_sent(client: Client, way: Passage) -> None:
    client.file("in/a b", 1)
    client.file("in/a_b", 1)
    before = way.up.bytes
    refused = client.run("put", "in")
    assert (refused.code, way.up.bytes) == (1, before)
    assert "the same name" in refused.err
    (client.directory / "empty").mkdir()
    assert client.run("put", "empty").code == 1


def test_without_a_terminal_there_are_plain_lines_and_with_one_bars(client: Client) -> None:
    path = client.file("a", 1)
    assert client.well("put", path).err == f"{path}: done\n"
    assert client.well("put", "--quiet", path).err == ""
    ours, theirs = pty.openpty()
    try:
        os.set_inheritable(theirs, True)
        command = f'exec "$@" 2>/dev/fd/{theirs}'
        shown = client.begin_with(["sh", "-c", command, "sh"], "put", path, pass_fds=(theirs,))
        done = ended(shown)
        assert done.code == 0
        assert re.fullmatch(r"drs://\S+\n", done.out)
        assert b"\x1b[" in os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_name_that_is_no_text_is_told_of(client: Client) -> None:
    client.file("in/fine", 1)
    (client.directory / "in" / os.fsdecode(b"\xff\xfe")).write_bytes(b"x")
    alone = client.run("put", "--json", os.fsdecode(b"in/\xff\xfe"))
    within = client.run("put", "--json", "in")
    assert [done.objects[0]["code"] for done in (alone, within)] == ["name_invalid", "name_invalid"]
    assert (alone.code, within.code) == (1, 1)
