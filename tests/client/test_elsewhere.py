"""`drs-service get` from servers that are not ours: as DRS has it, and as some do it."""

import asyncio
import hashlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.client.conftest import Client, Ended
from tests.support.elsewhere import Elsewhere, cut, elsewhere
from tests.support.registries import registries

OBJECTS = "/ga4gh/drs/v1/objects/"
CONTENT = b"some content of a file"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
async def there() -> AsyncIterator[Elsewhere]:
    async with elsewhere() as one:
        one.kept["/bytes"] = CONTENT
        yield one


@pytest.fixture
def client(tmp_path: Path, env: dict[str, str]) -> Client:
    return Client(tmp_path, {**env, "XDG_STATE_HOME": str(tmp_path / "state")})


async def got(client: Client, *arguments: str) -> Ended:
    return await asyncio.to_thread(client.run, "get", *arguments)


def drs_object(there: Elsewhere, name: str = "a", **more: object) -> dict[str, object]:
    return {
        "id": name,
        "self_uri": f"drs://drs.example.org/{name}",
        "name": name,
        "size": len(CONTENT),
        "created_time": "2026-01-01T00:00:00Z",
        "checksums": [{"type": "SHA256", "checksum": SHA256}, {"type": "md5", "checksum": MD5}],
        "access_methods": [{"type": "https", "access_url": {"url": there.at("/bytes")}}],
        **more,
    }


def keep(there: Elsewhere, described: dict[str, object]) -> str:
    """The URL of an object that is there now."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(described)

    path = OBJECTS + str(described["id"])
    there.kept[path] = answer
    return there.at(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"checksums": [{"type": "sha-256", "checksum": SHA256}, {"type": "md5", "checksum": "0" * 32}]},
        {"checksums": [{"type": "crc32c", "checksum": "0" * 8}]},
        {"size": len(CONTENT) - 1},
        {"size": len(CONTENT) + 1},
    ],
)
async def test_bytes_that_are_not_what_they_should_be_are_refused(
    client: Client, there: Elsewhere, wrong: dict[str, object]
) -> None:
    refused = await got(client, keep(there, drs_object(there, "a", **wrong)), "--patience", "0")
    assert refused.code == 1
    assert not (client.directory / "a").exists()


async def test_every_way_to_the_bytes_is_gone_as_drs_has_it(client: Client, there: Elsewhere) -> None:
    left = 1

    async def access(_: web.Request) -> web.StreamResponse:
        nonlocal left
        left -= 1
        if left >= 0:  # DRS: the operation is delayed; Retry-After and no body
            return web.Response(status=202, headers={"Retry-After": "1"})
        return web.json_response({"url": there.at("/secret"), "headers": ["Authorization: Basic Og=="]})

    async def secret(request: web.Request) -> web.StreamResponse:
        right = request.headers.get("Authorization") == "Basic Og=="
        return web.Response(body=CONTENT) if right else web.Response(status=401)

    there.kept |= {f"{OBJECTS}a/access/x": access, "/secret": secret}
    methods = [
        {"type": "s3", "access_url": {"url": "s3://bucket/a"}},
        {"type": "https", "access_id": "x"},
    ]
    done = await got(client, keep(there, drs_object(there, access_methods=methods)))
    assert (done.code, (client.directory / "a").read_bytes()) == (0, CONTENT)
    assert "again in" in done.err


async def test_what_is_still_prepared_is_waited_for_while_others_have_their_turns(
    client: Client, there: Elsewhere
) -> None:
    asked = 0

    async def access(_: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked <= 2:
            return web.Response(status=202, headers={"Retry-After": "1"})
        return web.json_response({"url": there.at("/thawed")})

    there.kept |= {f"{OBJECTS}cold/access/x": access, "/thawed": CONTENT}
    methods = [{"type": "https", "access_id": "x", "available": False}]
    cold = keep(there, drs_object(there, "cold", access_methods=methods))
    refused = await got(client, cold, "--patience", "9", "--wait", "0.5")
    assert (refused.code, there.paths.count(f"{OBJECTS}cold/access/x")) == (1, 1)
    assert "answers 202: the bytes are still being prepared; ask again in 1 s" in refused.err
    done = await got(client, cold, keep(there, drs_object(there, "warm")), "--parallel", "1", "--patience", "0")
    assert (done.code, {Path(one).name for one in done.lines}) == (0, {"cold", "warm"})
    assert there.paths.index("/bytes") < there.paths.index("/thawed")
    assert "again in 1.0 s" in done.err


async def test_headers_of_an_access_url_go_to_no_other_origin(client: Client, there: Elsewhere) -> None:
    async with elsewhere() as other:
        other.kept["/bytes"] = CONTENT

        async def away(_: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": other.at("/bytes")})

        there.kept["/away"] = away
        url = {"url": there.at("/away"), "headers": ["X-Secret: s"]}
        methods = [{"type": "https", "access_url": url}]
        assert (await got(client, keep(there, drs_object(there, access_methods=methods)))).code == 0
        assert [one.headers.get("X-Secret") for one in there.asked if one.path == "/away"] == ["s"]
        assert [one.headers.get("X-Secret") for one in other.asked] == [None]


async def test_a_way_that_does_not_work_is_followed_by_the_next(client: Client, there: Elsewhere) -> None:
    methods = [
        {"type": "https", "access_url": {"url": there.at("/bytes")}, "available": False},
        {"type": "https", "access_url": {"url": there.at("/missing")}},
    ]
    assert (await got(client, keep(there, drs_object(there, access_methods=methods)))).code == 0
    assert there.paths[-2:] == ["/missing", "/bytes"]


async def test_no_bundle_writes_outside_of_its_directory(client: Client, there: Elsewhere) -> None:
    keep(there, drs_object(there))
    names = ["../../out", "/etc/out", "..", "sub/../../out", "\x1b[2J", ""]
    bundles = [
        drs_object(there, f"bundle{number}", contents=contents)
        for number, name in enumerate(names)
        for contents in [[{"name": name, "id": "a"}, {"name": "fine", "contents": [{"name": name, "id": "a"}]}]]
    ]
    below = client.directory / "x" / "y" / "z"
    done = await got(client, *(keep(there, one) for one in bundles), "-o", f"{below}/")
    assert done.code == 1
    state = client.directory / "state"
    written = [one for one in client.directory.rglob("*") if one.is_file() and not one.is_relative_to(state)]
    assert {one.name for one in written} == {"out"}
    assert {one.parent.parent for one in written} <= {below, *(below / f"bundle{number}" for number in range(6))}


async def test_no_bundle_writes_through_a_link(client: Client, there: Elsewhere) -> None:
    keep(there, drs_object(there))
    bundle = drs_object(there, "bundle", contents=[{"name": "sub", "contents": [{"name": "a", "id": "a"}]}])
    (client.directory / "secret").mkdir()
    (client.directory / "bundle").mkdir()
    (client.directory / "bundle" / "sub").symlink_to(client.directory / "secret")
    assert (await got(client, keep(there, bundle), "--force")).code == 1
    assert list((client.directory / "secret").iterdir()) == []


async def test_a_member_may_be_called_as_the_part_of_another(client: Client, there: Elsewhere) -> None:
    keep(there, drs_object(there))
    names = ["x", "x.part", "x.part.part"]
    bundle = drs_object(there, "bundle", contents=[{"name": name, "id": "a"} for name in names])
    assert (await got(client, keep(there, bundle))).code == 0
    assert {one.name: one.read_bytes() for one in (client.directory / "bundle").iterdir()} == dict.fromkeys(
        names, CONTENT
    )


async def test_a_bundle_in_itself_is_refused(client: Client, there: Elsewhere) -> None:
    bundle = drs_object(there, "bundle", contents=[{"name": "again", "id": "bundle"}])
    assert (await got(client, keep(there, bundle))).code == 1


async def test_plain_bytes_that_broke_off_are_not_mixed_with_others(client: Client, there: Elsewhere) -> None:
    """Without an ETag nobody knows whether they are still the same."""
    size = 8 * 1024**2
    whole = [b"a" * size, b"b" * (size // 2), b"c" * size]  # the first time, only the head is looked at

    async def changing(request: web.Request) -> web.StreamResponse:
        return await cut(whole.pop(0), said=size)(request)

    there.kept["/changing"] = changing
    done = await got(client, there.at("/changing"), "-o", "a")
    assert (done.code, (client.directory / "a").read_bytes()) == (0, b"c" * size)
    assert whole == []
    assert all("Range" not in one.headers for one in there.asked)


async def test_a_drs_uri_leads_to_the_bytes(client: Client, there: Elsewhere, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with elsewhere(tls) as safe, registries() as known:
        keep(safe, drs_object(there))
        known.n2t_json["pre:"] = f"{safe.url}{OBJECTS}${{content}}"
        client.env |= {
            "DRS_IDENTIFIERS_ORG_URL": known.url,
            "DRS_N2T_URL": known.url,
            "SSL_CERT_FILE": str(certificate),
        }
        done = await got(client, "drs://pre:a", "drs://other:a", "--json")
    assert (done.code, sorted(one.get("code", "fine") for one in done.objects)) == (1, ["fine", "identifier_unknown"])
    assert (client.directory / "a").read_bytes() == CONTENT


async def test_the_secret_of_a_session_is_shown_below_it_alone(client: Client, there: Elsewhere) -> None:
    """The bytes are on the same server, but not in the session."""
    (secret := client.directory / "secret").write_text("s3cret\n")
    inside = "/socket/0123abcd"

    async def described(_: web.Request) -> web.StreamResponse:
        return web.json_response(drs_object(there))

    there.kept[f"{inside}{OBJECTS}a"] = described
    url = there.at(f"{inside}{OBJECTS}a")
    done = await got(client, url, "--secret-file", str(secret))
    assert done.code == 0, done
    assert [(one.path, one.headers.get("Authorization")) for one in there.asked] == [
        (f"{inside}{OBJECTS}a", "Bearer s3cret"),
        ("/bytes", None),
    ]
    for others in ([there.at("/bytes")], [url, there.at("/socket/another/a")]):
        refused = await got(client, *others, "--secret-file", str(secret))
        assert refused.code == 2 and "URLs of one session" in refused.err
    assert len(there.asked) == 2
