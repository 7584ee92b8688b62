"""`GET, HEAD /data/{id}` of a bundle: all of its files in one archive."""

import hashlib
import io
import json
import resource
import secrets
import tarfile
import zipfile
from typing import Any

import httpx
import pytest

from tests.api.schemas import assert_refused
from tests.api.test_objects import OBJECTS, put
from tests.api.traces import blob_file, open_descriptors, query
from tests.support.deadline import until
from tests.support.raw_http import Answer, asked, connected, request
from tests.support.server import Service

MIB = 1024**2
ZIP, TAR = "application/zip", "application/x-tar"
Contents = list[dict[str, Any]]

both_formats = pytest.mark.parametrize("form", ["zip", "tar"])


async def bundle(client: httpx.AsyncClient, contents: Contents, **more: object) -> str:
    """The path of the bytes of a new bundle."""
    candidate = {"contents": contents, **more}
    answer = await client.post(f"{OBJECTS}/register", json={"candidates": [candidate]})
    assert answer.status_code == 201, answer.text
    return f"/data/{answer.json()['objects'][0]['id']}"


async def bundle_of(client: httpx.AsyncClient, files: dict[str, bytes]) -> str:
    """The same, of new objects."""
    return await bundle(client, [{"name": name, "id": await put(client, files[name])} for name in files])


async def deleted(client: httpx.AsyncClient, object_id: str, **more: object) -> None:
    answer = await client.put(f"{OBJECTS}/{object_id}/delete", json=more)
    assert answer.status_code < 300, answer.text


def unpacked(form: str, archive: bytes) -> dict[str, bytes]:
    """The files of an archive, in their order."""
    found: dict[str, bytes] = {}
    if form == "zip":
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            assert opened.testzip() is None
            for name in opened.namelist():
                assert name not in found
                found[name] = opened.read(name)
    else:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
            for member in opened:
                file = opened.extractfile(member)
                assert file is not None and member.name not in found
                found[member.name] = file.read()
    return found


async def fetched(client: httpx.AsyncClient, path: str, form: str) -> dict[str, bytes]:
    answer = await client.get(path, params={"format": form})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-length"] == str(len(answer.content))
    return unpacked(form, answer.content)


@both_formats
async def test_an_archive_has_every_file_of_the_bundle(client: httpx.AsyncClient, some_bytes: bytes, form: str) -> None:
    files = {"z.bin": some_bytes, "empty": b"", "a.txt": b"a", "again.bin": some_bytes}
    got = await fetched(client, await bundle_of(client, files), form)
    assert got == files
    assert list(got) == list(files)


@both_formats
async def test_bundles_in_it_are_directories(client: httpx.AsyncClient, form: str) -> None:
    shared, other = await put(client, b"shared"), await put(client, b"other")
    inner = (await bundle(client, [{"name": "s", "id": shared}, {"name": "o", "id": other}])).rpartition("/")[2]
    path = await bundle(
        client,
        [
            {"name": "s", "id": shared},
            {"name": "one", "id": inner},
            {"name": "two", "contents": [{"name": "deep", "id": inner}, {"name": "x", "id": other}]},
            {"name": "last", "id": other},
        ],
    )
    assert await fetched(client, path, form) == {
        "s": b"shared",
        "one/s": b"shared",
        "one/o": b"other",
        "two/deep/s": b"shared",
        "two/deep/o": b"other",
        "two/x": b"other",
        "last": b"other",
    }


async def test_a_thousand_small_files(own_client: httpx.AsyncClient) -> None:
    contents = {f"{number:04}": b"%d" % number * (number % 50) for number in range(1000)}
    files = [("file", (name, content)) for name, content in contents.items()]
    made = (await own_client.post("/upload", files=files)).json()["objects"]
    path = await bundle(own_client, [{"name": one["name"], "id": one["id"]} for one in made])
    for form in ("zip", "tar"):
        assert await fetched(own_client, path, form) == contents


@both_formats
async def test_more_members_than_are_read_at_once(client: httpx.AsyncClient, form: str) -> None:
    one = await put(client, b"one")
    contents: Contents = [{"name": f"{number}", "id": one} for number in range(2500)]
    path = await bundle(client, [{"name": "d", "contents": contents}, *contents])
    got = await fetched(client, path, form)
    assert got == {f"{above}{number}": b"one" for above in ("d/", "") for number in range(2500)}


async def test_the_format_is_the_one_that_is_named_or_else_accepted(
    service: Service, client: httpx.AsyncClient
) -> None:
    path = await bundle_of(client, {"a": b"a"})
    for accept, kind in {
        "*/*": ZIP,
        ZIP: ZIP,
        TAR: TAR,
        f"{ZIP};q=0.5, {TAR}": TAR,
        "text/html, application/*;q=0.1": ZIP,
        f"{ZIP};q=0, */*;q=0.1": TAR,
    }.items():
        answer = await client.get(path, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"], answer.headers["vary"]) == (200, kind, "accept")
    lines = ("Accept: text/html", f"Accept: {TAR}")
    for raw, kind in ((request("GET", path), ZIP), (request("GET", path, *lines), TAR)):
        assert (await asked(service, raw)).headers["content-type"] == kind
    for accept in ("text/html", "nonsense", "*/*;q=0", f"{ZIP};q=0"):
        assert_refused(await client.get(path, headers={"Accept": accept}), 406, "not_acceptable")
        assert (await client.head(path, headers={"Accept": accept})).status_code == 406
    for form, kind in {"zip": ZIP, "tar": TAR, "ZIP": ZIP, "Tar": TAR}.items():
        for accept in (ZIP, TAR, "text/html"):
            answer = await client.get(path, params={"format": form}, headers={"Accept": accept})
            assert answer.headers["content-type"] == kind
    for form in ("", "tgz", "zip ", "application/zip", "\0", "x" * 10_000):
        assert_refused(await client.get(path, params={"format": form}), 400, "bad_request")


async def test_a_blob_is_sent_as_it_is_whatever_format_is_asked_for(client: httpx.AsyncClient) -> None:
    path = f"/data/{await put(client, b'hello')}"
    for form in ("zip", "tar", "nonsense", ""):
        answer = await client.get(path, params={"format": form}, headers={"Accept": "image/png"})
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"hello", "text/plain")


@both_formats
async def test_the_headers_of_an_archive(client: httpx.AsyncClient, form: str) -> None:
    object_id = await put(client, b"abc")
    path = await bundle(client, [{"name": "a", "id": object_id}], name="Äpfel & Birnen", mime_type="text/html")
    answer = await client.get(path, params={"format": form})
    headers = dict(answer.headers)
    assert headers.pop("date")
    assert headers.pop("etag").startswith('"')
    assert headers == {
        "accept-ranges": "none",
        "cache-control": "private, no-cache",
        "content-disposition": f'attachment; filename="Apfel_Birnen.{form}"; '
        f"filename*=UTF-8''%C3%84pfel%20&%20Birnen.{form}",
        "content-length": str(len(answer.content)),
        "content-security-policy": "default-src 'none'; sandbox",
        "content-type": {"zip": ZIP, "tar": TAR}[form],
        "vary": "accept",
        "x-content-type-options": "nosniff",
    }
    head = await client.head(path, params={"format": form})
    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) | {"date": ""} == dict(answer.headers) | {"date": ""}


async def test_a_bundle_without_a_name_and_one_with_a_long_one(client: httpx.AsyncClient) -> None:
    object_id = await put(client, b"abc")
    path = await bundle(client, [{"name": "a", "id": object_id}])
    assert (await client.head(path)).headers["content-disposition"].endswith(f'="{path.rpartition("/")[2]}.zip"')
    path = await bundle(client, [{"name": "a", "id": object_id}], name="x" * 255)
    assert (await client.head(path)).headers["content-disposition"].endswith(f'="{"x" * 251}.zip"')


async def test_a_range_is_not_looked_at(client: httpx.AsyncClient) -> None:
    path = await bundle_of(client, {"a": b"a"})
    for headers in ({"Range": "bytes=0-4"}, {"Range": "bytes=99999999-"}, {"Range": "bytes=0-4", "If-Range": '"x"'}):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, unpacked("zip", answer.content)) == (200, {"a": b"a"})


async def test_an_archive_that_the_client_has_is_not_sent_again(client: httpx.AsyncClient) -> None:
    path = await bundle_of(client, {"a": b"a", "b": b"b"})
    answers = [await client.get(path, params={"format": form}) for form in ("zip", "tar", "zip", "tar")]
    tags = [answer.headers["etag"] for answer in answers]
    assert tags[:2] == tags[2:] and tags[0] != tags[1]
    assert [answers[0].content, answers[1].content] == [answers[2].content, answers[3].content]
    for known in (tags[0], f'"x", W/{tags[0]}', "*"):
        for way in (client.get, client.head):
            answer = await way(path, headers={"If-None-Match": known, "Accept": ZIP})
            assert (answer.status_code, answer.content) == (304, b"")
            assert (answer.headers["etag"], answer.headers["vary"]) == (tags[0], "accept")
            assert not {"content-length", "content-type", "content-disposition"} & answer.headers.keys()
    assert (await client.get(path, headers={"If-None-Match": tags[0], "Accept": TAR})).status_code == 200
    assert (await client.get(path, headers={"If-Match": tags[0]})).status_code == 200
    assert_refused(await client.get(path, headers={"If-Match": tags[1]}), 412, "precondition_failed")


async def test_what_differs_has_another_tag(client: httpx.AsyncClient) -> None:
    # Of one form, and so of one time.
    form = [("file", ("1", b"1")), ("file", ("2", b"2"))]
    one, other = [made["id"] for made in (await client.post("/upload", files=form)).json()["objects"]]
    same = await put(client, b"1")
    contents: list[Contents] = [
        [{"name": "a", "id": one}],
        [{"name": "b", "id": one}],
        [{"name": "a", "id": other}],
        [{"name": "a", "id": same}],  # made at another time, which the archive tells
        [{"name": "a", "id": one}, {"name": "b", "id": other}],
        [{"name": "b", "id": other}, {"name": "a", "id": one}],
        [{"name": "a", "contents": [{"name": "a", "id": one}]}],
    ]
    tags = [(await client.head(await bundle(client, content))).headers["etag"] for content in contents]
    assert len(set(tags)) == len(tags)
    # Two bundles of the same files under the same names are the same archive.
    assert (await client.head(await bundle(client, contents[0]))).headers["etag"] == tags[0]


async def test_a_file_that_was_deleted_is_named(client: httpx.AsyncClient) -> None:
    ids = [await put(client, b"%d" % number) for number in range(4)]
    inner: Contents = [{"name": "x", "id": ids[2]}, {"name": "y", "id": ids[3]}]
    path = await bundle(
        client, [{"name": "a", "id": ids[0]}, {"name": "b", "id": ids[1]}, {"name": "in", "contents": inner}]
    )
    etag = (await client.head(path)).headers["etag"]
    await deleted(client, ids[3], delete_object_metadata=True)
    assert_impossible(await client.get(path), "in/y was deleted.")
    await deleted(client, ids[2], reason="a mistake")
    assert_impossible(await client.get(path), "in/x: The object was deleted on", "a mistake")
    await deleted(client, ids[0])
    assert_impossible(await client.get(path, headers={"If-None-Match": etag}), "a: The object was deleted on")
    assert (await client.head(path)).status_code == 409


def assert_impossible(answer: httpx.Response, *said: str) -> None:
    assert_refused(answer, 409, "archive_impossible")
    message = answer.json()["msg"]
    assert message.startswith(said[0]) and all(one in message for one in said)


@pytest.mark.parametrize("for_good", [False, True])
async def test_a_bundle_in_it_that_was_deleted_is_named(client: httpx.AsyncClient, for_good: bool) -> None:
    inner = (await bundle_of(client, {"a": b"a"})).rpartition("/")[2]
    path = await bundle(client, [{"name": "in", "id": inner}])
    await deleted(client, inner, delete_object_metadata=for_good)
    assert_impossible(await client.get(path), "in was deleted." if for_good else "in: The object was deleted on")


async def test_a_bundle_that_was_deleted_is_gone(client: httpx.AsyncClient) -> None:
    path = await bundle_of(client, {"a": b"a"})
    await deleted(client, path.rpartition("/")[2], reason="a mistake")
    assert_refused(await client.get(path), 410, "object_deleted")


async def test_a_file_that_may_not_be_read_is_as_one_that_is_not_there(
    service: Service, client: httpx.AsyncClient
) -> None:
    hidden = await put(client, b"hidden")
    path = await bundle(client, [{"name": "h", "id": hidden}])
    await query(service.settings, "INSERT INTO spaces (id) VALUES ('other') ON CONFLICT DO NOTHING")
    await query(service.settings, "UPDATE objects SET space_id = 'other' WHERE id = $1", hidden)
    assert_impossible(await client.get(path), "h: There is no object with this id.")


async def test_files_elsewhere_are_named(client: httpx.AsyncClient) -> None:
    sha256 = {"type": "sha-256", "checksum": "00" * 32}
    here, uri = await put(client, b"here"), "drs://drs.example.com/314159"
    away = {"name": "far", "drs_uri": [uri]}
    path = await bundle(client, [{"name": "a", "id": here}, away], size=9, checksums=[sha256])
    assert_impossible(await client.get(path), "far is not kept by this service.")

    method = {"type": "https", "access_url": {"url": "https://files.example.com/a"}}
    external = {"size": 5, "checksums": [sha256], "access_methods": [method]}
    answer = await client.post(f"{OBJECTS}/register", json={"candidates": [external]})
    object_id = answer.json()["objects"][0]["id"]
    assert_refused(await client.get(f"/data/{object_id}"), 404, "bytes_elsewhere")
    path = await bundle(client, [{"name": "e", "id": object_id}, away], size=9, checksums=[sha256])
    assert_impossible(await client.get(path), "The bytes of e are not kept by this service.")


async def test_a_path_that_could_not_be_unpacked_is_refused(client: httpx.AsyncClient) -> None:
    contents: Contents = [{"name": "a", "id": await put(client, b"a")}]
    for _ in range(16):
        contents = [{"name": "d" * 255, "contents": contents}]
    assert_impossible(await client.get(await bundle(client, contents)), "A path has more than 4095 characters")


@both_formats
async def test_bytes_that_end_early_never_look_whole(
    service: Service, client: httpx.AsyncClient, some_bytes: bytes, form: str
) -> None:
    cut = secrets.token_bytes(MIB)
    path = await bundle_of(client, {"a": some_bytes, "b": cut, "c": b"c"})
    blob = blob_file(service.settings, cut)
    blob.chmod(0o600)
    with blob.open("r+b") as opened:
        opened.truncate(MIB // 2)
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        await client.get(path, params={"format": form})
    blob.unlink()
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        await client.get(path, params={"format": form})
    await until(lambda: open_descriptors(blob_file(service.settings, some_bytes)) == 0)


async def test_bytes_that_are_gone_from_the_beginning_are_an_error(service: Service, client: httpx.AsyncClient) -> None:
    gone = secrets.token_bytes(100)
    path = await bundle_of(client, {"a": gone, "b": b"b"})
    blob_file(service.settings, gone).unlink()
    assert_refused(await client.get(path), 502, "blob_corrupt")
    assert (await client.head(path)).status_code == 200  # nothing was read for it


@both_formats
async def test_a_flipped_bit_is_seen_no_more_than_in_a_download(
    service: Service, client: httpx.AsyncClient, form: str
) -> None:
    """What reading promises is the length: who wants more compares the sha-256 that the object publishes."""
    content = secrets.token_bytes(1000)
    object_id = await put(client, content)
    path = await bundle(client, [{"name": "a", "id": object_id}])
    blob = blob_file(service.settings, content)
    blob.chmod(0o600)
    blob.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert await fetched(client, path, form) == {"a": (await client.get(f"/data/{object_id}")).content}


async def huge(service: Service, client: httpx.AsyncClient, size: int) -> tuple[str, bytes]:
    """A bundle of a file with a hole of that size, and what the file was: to read the hole costs no disk."""
    content = secrets.token_bytes(100)
    path = await bundle_of(client, {"first": b"1", "hole": content})
    blob = blob_file(service.settings, content)
    blob.chmod(0o600)
    with blob.open("r+b") as opened:
        opened.truncate(size)
    resize = "UPDATE objects SET size = $1 WHERE digest = $2"
    await query(service.settings, resize, size, hashlib.sha256(content).digest())
    return path, content


@both_formats
async def test_a_client_that_leaves_midway_does_not_keep_the_service_reading(
    service: Service, client: httpx.AsyncClient, form: str
) -> None:
    path, content = await huge(service, client, 1024**4)
    blob = blob_file(service.settings, content)
    async with connected(service) as connection:
        await connection.send(request("GET", f"{path}?format={form}"))
        await connection.read(MIB)
        assert open_descriptors(blob) == 1
        connection.hang_up()
        await until(lambda: open_descriptors(blob) == 0)


@both_formats
async def test_an_archive_is_held_nowhere(service: Service, client: httpx.AsyncClient, form: str) -> None:
    path, _ = await huge(service, client, 1024**4)
    async with connected(service) as connection:
        await connection.send(request("GET", f"{path}?format={form}"))
        assert int((await connection.head()).headers["content-length"]) > 1024**4
        await connection.read(MIB)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(256):
            await connection.read(MIB)
        # The service answers others meanwhile.
        assert (await asked(service, request("GET", "/livez"))).status == 200
    # Of the high-water mark, in KiB: this process is the client as well.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


async def test_an_archive_does_not_spoil_the_connection(service: Service, client: httpx.AsyncClient) -> None:
    path = await bundle_of(client, {"a": b"a"})
    async with connected(service) as connection:
        await connection.send(request("GET", path) + request("HEAD", path) + request("GET", "/livez"))
        first: Answer = await connection.answer()
        assert unpacked("zip", first.body) == {"a": b"a"}
        assert (await connection.head()).headers["content-length"] == str(len(first.body))
        assert json.loads((await connection.answer()).body) == {"status": "alive"}
