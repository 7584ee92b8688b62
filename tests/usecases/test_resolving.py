"""DRS URIs are resolved as clients must, against a real server that plays identifiers.org and n2t.net."""

import asyncio
import gc
import gzip
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from drs_service.domain.drs_uri import Prefix, UrlTemplate
from drs_service.errors import DrsUriMalformed, IdentifierUnknown, ResolverUnavailable
from drs_service.outgoing.http import MIB, Http, open_http
from drs_service.usecases.resolving import MAX_KEPT, IdentifiersOrg, N2t, Resolver
from tests.support.registries import Handler, Registries, drip, flood, never, registries, resource

UUID = "d7428364-7bab-4126-8162-0b9b549b649e"
HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def served() -> AsyncIterator[Registries]:
    async with registries() as served:
        served.identifiers_org["dg.anv0"] = [resource("https://gen3.example/ga4gh/drs/v1/objects/{$id}", official=True)]
        served.n2t_json["drs.42:"] = "https://n2t.example/ga4gh/drs/v1/objects/${content}"
        yield served


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with open_http() as http:
        yield http


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resolver(served: Registries, http: Http, clock: Clock) -> Resolver:
    return Resolver([IdentifiersOrg(http, served.url), N2t(http, served.url)], clock=clock)


@pytest.fixture
def closed() -> str:
    """The URL of a server that is down."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_hostname_based_uri_asks_nobody(resolver: Resolver, served: Registries) -> None:
    assert await resolver.resolve("drs://drs.example.org/a%2Fb") == (
        "https://drs.example.org/ga4gh/drs/v1/objects/a%2Fb"
    )
    assert served.asked == []


async def test_what_is_no_drs_uri_is_refused(resolver: Resolver, served: Registries) -> None:
    with pytest.raises(DrsUriMalformed):
        await resolver.resolve("drs://a/b/c:d")
    assert served.asked == []


async def test_identifiers_org_is_asked_twice(resolver: Resolver, served: Registries) -> None:
    assert await resolver.resolve(f"drs://dg.ANV0:dg.ANV0/{UUID}") == (
        f"https://gen3.example/ga4gh/drs/v1/objects/dg.ANV0%2F{UUID}"
    )
    assert served.asked == [
        "/restApi/namespaces/search/findByPrefix?prefix=dg.anv0",
        "/restApi/resources/search/findAllByNamespaceId?id=1000",
    ]


async def test_n2t_is_asked_next(resolver: Resolver, served: Registries) -> None:
    assert await resolver.resolve("drs://drs.42:a/b:c%?#") == (
        "https://n2t.example/ga4gh/drs/v1/objects/a%2Fb%3Ac%25%3F%23"
    )
    assert served.asked[-2:] == ["/drs.42:", "/.info/drs.42:"]


@pytest.mark.parametrize(
    "text",
    [
        "redirect: https://n2t.example/objects/$id",
        "# a record\n  name: DRS 42\r\n  redirect:\thttps://n2t.example/objects/$id \r\n  more: http://x.example/$id\n",
    ],
)
async def test_n2t_may_answer_with_text_as_drs_describes_it(resolver: Resolver, served: Registries, text: str) -> None:
    served.n2t_text["drs.43:"] = text
    assert await resolver.resolve("drs://drs.43:1") == "https://n2t.example/objects/1"


async def test_the_first_registry_that_knows_is_believed(served: Registries, http: Http) -> None:
    served.n2t_json["dg.anv0:"] = "https://n2t.example/o/${content}"
    one, other = IdentifiersOrg(http, served.url), N2t(http, served.url)
    assert await Resolver([one, other]).resolve("drs://dg.anv0:1") == "https://gen3.example/ga4gh/drs/v1/objects/1"
    assert await Resolver([other, one]).resolve("drs://dg.anv0:1") == "https://n2t.example/o/1"


async def test_the_url_of_a_registry_may_have_a_path_and_a_slash_at_the_end(served: Registries, http: Http) -> None:
    url = f"{served.url}/elsewhere/"
    with pytest.raises(IdentifierUnknown):
        await Resolver([IdentifiersOrg(http, url), N2t(http, url)]).resolve("drs://nobody:1")
    assert served.asked == [
        "/elsewhere/restApi/namespaces/search/findByPrefix?prefix=nobody",
        "/elsewhere/nobody:",
    ]


@pytest.mark.parametrize(
    ("provider", "host"),
    [("", "official"), ("mirror/", "mirror"), ("MIRROR/", "mirror"), ("dg.7c5b/", "upper"), ("old/", "old")],
)
async def test_the_provider_is_the_official_one_or_the_one_wished_for(
    resolver: Resolver, served: Registries, provider: str, host: str
) -> None:
    served.identifiers_org["p"] = [
        resource("https://old.example/{$id}", "old", official=True, deprecated=True),
        resource("http://plain.example/{$id}", "plain", official=True),
        resource("https://mirror.example/{$id}", "mirror"),
        resource("https://official.example/{$id}", "main", official=True),
        resource("https://upper.example/{$id}", "dg.7C5B"),
    ]
    assert await resolver.resolve(f"drs://{provider}p:1") == f"https://{host}.example/1"


async def test_one_that_is_official_but_deprecated_comes_last(resolver: Resolver, served: Registries) -> None:
    served.identifiers_org["p"] = [
        resource("https://old.example/{$id}", official=True, deprecated=True),
        resource("https://new.example/{$id}"),
    ]
    assert await resolver.resolve("drs://p:1") == "https://new.example/1"
    served.identifiers_org["q"] = [resource("https://old.example/{$id}", deprecated=True)]
    assert await resolver.resolve("drs://q:1") == "https://old.example/1"


async def test_a_provider_that_no_registry_has_is_unknown(resolver: Resolver, served: Registries) -> None:
    with pytest.raises(IdentifierUnknown, match=r"`other/dg\.anv0`"):
        await resolver.resolve("drs://other/dg.anv0:1")
    assert served.asked[-1] == "/other/dg.anv0:"
    assert await resolver.resolve("drs://dg.anv0:1")


async def test_a_prefix_that_nobody_knows_is_unknown(resolver: Resolver) -> None:
    with pytest.raises(IdentifierUnknown, match=r"the prefix `nobody`\.$"):
        await resolver.resolve("drs://nobody:abc")


async def test_who_writes_a_port_is_told(resolver: Resolver) -> None:
    with pytest.raises(IdentifierUnknown, match="cannot have a port"):
        await resolver.resolve("drs://drs.example.org:8080/abc")


async def test_without_registries_no_prefix_is_known() -> None:
    with pytest.raises(IdentifierUnknown):
        await Resolver([]).resolve("drs://dg.anv0:1")


@pytest.mark.parametrize(
    "template",
    ["http://a.example/{$id}", "https://{$id}.example/", "https://a.example/", "javascript:alert('{$id}')", ""],
)
async def test_a_template_that_is_not_one_of_https_is_passed_over(
    resolver: Resolver, served: Registries, template: str
) -> None:
    served.identifiers_org["odd"] = [resource(template)]
    served.n2t_text["odd:"] = f"redirect: {template}"
    with pytest.raises(IdentifierUnknown):
        await resolver.resolve("drs://odd:1")


async def test_a_prefix_without_resources_is_unknown(resolver: Resolver, served: Registries) -> None:
    served.identifiers_org["empty"] = []
    with pytest.raises(IdentifierUnknown):
        await resolver.resolve("drs://empty:1")


# What was learned is kept.


async def test_a_prefix_is_known_for_a_day(resolver: Resolver, served: Registries, clock: Clock) -> None:
    await resolver.resolve("drs://dg.anv0:1")
    asked = len(served.asked)
    clock.now += 24 * HOUR - 1
    assert await resolver.resolve("drs://DG.ANV0:2") == "https://gen3.example/ga4gh/drs/v1/objects/2"
    assert len(served.asked) == asked

    served.identifiers_org["dg.anv0"] = [resource("https://moved.example/{$id}")]
    clock.now += 1
    assert await resolver.resolve("drs://dg.anv0:1") == "https://moved.example/1"
    assert len(served.asked) == 2 * asked


async def test_a_prefix_is_unknown_for_five_minutes(resolver: Resolver, served: Registries, clock: Clock) -> None:
    for _ in range(2):
        with pytest.raises(IdentifierUnknown):
            await resolver.resolve("drs://new:1")
    assert len(served.asked) == 2  # one question for each registry

    served.identifiers_org["new"] = [resource("https://new.example/{$id}")]
    clock.now += 299
    with pytest.raises(IdentifierUnknown):
        await resolver.resolve("drs://new:1")
    clock.now += 1
    assert await resolver.resolve("drs://new:1") == "https://new.example/1"


async def test_providers_of_one_namespace_are_kept_apart(resolver: Resolver, served: Registries) -> None:
    served.identifiers_org["p"] = [
        resource("https://a.example/{$id}", "a"),
        resource("https://b.example/{$id}", "b"),
    ]
    assert await resolver.resolve("drs://a/p:1") == "https://a.example/1"
    assert await resolver.resolve("drs://b/p:1") == "https://b.example/1"


async def test_no_more_than_so_many_prefixes_are_kept() -> None:
    class Counting:
        def __init__(self) -> None:
            self.asked: list[str] = []

        async def template(self, prefix: Prefix) -> UrlTemplate | None:
            self.asked.append(prefix.namespace)
            return UrlTemplate("https://a.example/", "")

    counting = Counting()
    resolver = Resolver([counting])
    for number in range(MAX_KEPT + 1):
        await resolver.resolve(f"drs://p{number}:1")
    counting.asked.clear()
    await resolver.resolve(f"drs://p{MAX_KEPT}:1")
    await resolver.resolve("drs://p0:1")
    assert counting.asked == ["p0"]


async def test_many_who_ask_for_a_prefix_at_once_ask_once(resolver: Resolver, served: Registries) -> None:
    urls = await asyncio.gather(*(resolver.resolve(f"drs://dg.anv0:{number}") for number in range(50)))
    assert urls == [f"https://gen3.example/ga4gh/drs/v1/objects/{number}" for number in range(50)]
    assert len(served.asked) == 2


async def test_who_leaves_does_not_take_the_answer_from_the_others(resolver: Resolver, served: Registries) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        served.instead = None
        return served.find_by_prefix("dg.anv0")

    served.instead = hold
    first = asyncio.create_task(resolver.resolve("drs://dg.anv0:1"))
    await asked.wait()
    second = asyncio.create_task(resolver.resolve("drs://dg.anv0:2"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    go_on.set()
    assert await second == "https://gen3.example/ga4gh/drs/v1/objects/2"
    assert first.cancelled()
    assert len(served.asked) == 2


async def test_a_failure_that_nobody_waits_for_any_more_is_not_reported(resolver: Resolver, served: Registries) -> None:
    asked, go_on, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def fail(_: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        if len(served.asked) == 2:
            answered.set()
        raise web.HTTPServiceUnavailable

    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    served.instead = fail
    only = asyncio.create_task(resolver.resolve("drs://dg.anv0:1"))
    await asked.wait()
    tasks = asyncio.all_tasks()
    only.cancel()
    go_on.set()
    await answered.wait()
    await asyncio.wait({task for task in tasks if "Resolver._ask" in repr(task)} | {only})
    del tasks, only
    gc.collect()
    assert reported == []


# Registries that are down, slow, or not themselves.


async def test_a_registry_that_is_down_is_made_up_for_by_the_other(served: Registries, http: Http, closed: str) -> None:
    resolver = Resolver([IdentifiersOrg(http, closed), N2t(http, served.url)])
    assert await resolver.resolve("drs://drs.42:1") == "https://n2t.example/ga4gh/drs/v1/objects/1"
    resolver = Resolver([IdentifiersOrg(http, served.url), N2t(http, closed)])
    assert await resolver.resolve("drs://dg.anv0:1") == "https://gen3.example/ga4gh/drs/v1/objects/1"


async def test_what_the_other_does_not_know_may_be_known_to_the_one_that_is_down(
    served: Registries, http: Http, closed: str
) -> None:
    for one, other in [(closed, served.url), (served.url, closed)]:
        with pytest.raises(ResolverUnavailable) as caught:
            await Resolver([IdentifiersOrg(http, one), N2t(http, other)]).resolve("drs://nobody:1")
        assert caught.value.facts["prefix"] == "nobody"


async def test_a_failure_is_not_kept(resolver: Resolver, served: Registries) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        raise web.HTTPServiceUnavailable

    served.instead = busy
    answers = await asyncio.gather(*(resolver.resolve("drs://dg.anv0:1") for _ in range(5)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {ResolverUnavailable}
    assert len(served.asked) == 2
    served.instead = None
    assert await resolver.resolve("drs://dg.anv0:1")


@pytest.mark.parametrize("slow", [never, drip])
async def test_a_registry_that_takes_too_long_is_given_up(served: Registries, slow: Handler) -> None:
    served.instead = slow
    async with open_http(timeout_seconds=0.3) as http:
        with pytest.raises(ResolverUnavailable) as caught:
            async with asyncio.timeout(10):
                await Resolver([N2t(http, served.url)]).resolve("drs://dg.anv0:1")
    assert "takes too long" in str(caught.value.facts["cause"])


async def huge(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b'{"x": "' + b"x" * MIB + b'"}')


async def bomb(_: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(bytes(32 * MIB)), headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize("much", [huge, flood, bomb])
async def test_a_huge_answer_is_refused(resolver: Resolver, served: Registries, much: Handler) -> None:
    served.instead = much
    with pytest.raises(ResolverUnavailable) as caught:
        await resolver.resolve("drs://dg.anv0:1")
    assert f"larger than {MIB} bytes" in str(caught.value.facts["cause"])


async def test_an_answer_of_the_largest_size_is_read(resolver: Resolver, served: Registries) -> None:
    line = "redirect: https://n2t.example/$id\n"
    served.n2t_text["big:"] = line + "#" * (MIB - len(line))
    assert await resolver.resolve("drs://big:1") == "https://n2t.example/1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"[]",
        b"{}",
        b"null",
        b'{"_links": {}}',
        b'{"_links": {"namespace": {"href": 7}}}',
        b'{"_links": {"namespace": {"href": "https://registry.example/restApi/namespaces/"}}}',
        b'{"_embedded": {"resources": [{}]}, "_links": {"namespace": {"href": "/namespaces/1"}}}',
        b'{"_embedded": 7, "_links": {"namespace": {"href": "/namespaces/1"}}}',
        b"\xff\xfe",
        b'{"x": ' + b"[" * 100_000,
    ],
)
async def test_an_answer_that_is_not_understood_is_no_answer(served: Registries, http: Http, body: bytes) -> None:
    async def odd(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    served.instead = odd
    with pytest.raises(ResolverUnavailable):
        await Resolver([IdentifiersOrg(http, served.url)]).resolve("drs://dg.anv0:1")


@pytest.mark.parametrize("body", [b"\xff", b"{", b"{}", b'{"definition": {"target": 1}}', b"{" * 100_000])
async def test_nor_is_one_of_n2t(served: Registries, http: Http, body: bytes) -> None:
    async def odd(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    served.instead = odd
    with pytest.raises(ResolverUnavailable):
        await Resolver([N2t(http, served.url)]).resolve("drs://dg.anv0:1")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(resolver: Resolver, served: Registries, status: int) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        served.instead = None
        return web.Response(status=status, headers={"Location": f"{served.url}{request.path_qs}"})

    served.instead = redirect
    assert await resolver.resolve("drs://dg.anv0:1") == "https://gen3.example/ga4gh/drs/v1/objects/1"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a", "ws://127.0.0.1/", "http://", "//:x/"])
async def test_a_redirect_to_something_else_is_not(resolver: Resolver, served: Registries, location: str) -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": location})

    served.instead = redirect
    with pytest.raises(ResolverUnavailable):
        await resolver.resolve("drs://dg.anv0:1")
    assert len(served.asked) == 2


async def test_redirects_in_a_circle_end(served: Registries, http: Http) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.path_qs})

    served.instead = redirect
    with pytest.raises(ResolverUnavailable):
        await Resolver([N2t(http, served.url)]).resolve("drs://dg.anv0:1")
    assert len(served.asked) < 10


@pytest.mark.parametrize("status", [203, 206, 400, 401, 403, 429, 500, 502])
async def test_other_answers_say_nothing_of_the_prefix(served: Registries, http: Http, status: int) -> None:
    async def other(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="redirect: https://n2t.example/$id")

    served.instead = other
    with pytest.raises(ResolverUnavailable):
        await Resolver([N2t(http, served.url)]).resolve("drs://dg.anv0:1")


@pytest.mark.parametrize("start", ["ws://", "file://", "ftp://", ""])
async def test_only_http_goes_out(served: Registries, http: Http, start: str) -> None:
    url = start + served.url.removeprefix("http://")
    with pytest.raises(ResolverUnavailable):
        await Resolver([N2t(http, url)]).resolve("drs://drs.42:1")


async def test_a_namespace_that_went_away_between_the_questions_is_asked_again(
    resolver: Resolver, served: Registries
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        if "findByPrefix" in request.path:
            return served.find_by_prefix("dg.anv0")
        raise web.HTTPNotFound

    served.instead = half
    with pytest.raises(ResolverUnavailable):
        await resolver.resolve("drs://dg.anv0:1")


ASK = """
import asyncio, sys
from drs_service.errors import ResolverUnavailable
from drs_service.outgoing.http import open_http
from drs_service.usecases.resolving import N2t, Resolver

async def main():
    async with open_http() as http:
        try:
            print(await Resolver([N2t(http, sys.argv[1])]).resolve("drs://drs.42:1"))
        except ResolverUnavailable as error:
            print(error.facts["cause"])

asyncio.run(main())
"""


async def test_https_is_not_left_for_http(served: Registries, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with registries(tls) as safe:

        async def ask(**environment: str) -> str:
            # aiohttp reads the certificates that it trusts when it is imported.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", ASK, safe.url, stdout=subprocess.PIPE, env=environment
            )
            return (await process.communicate())[0].decode()

        safe.n2t_json["drs.42:"] = "https://n2t.example/o/${content}"
        assert await ask(SSL_CERT_FILE=str(certificate)) == "https://n2t.example/o/1\n"
        assert "CERTIFICATE_VERIFY_FAILED" in await ask()

        async def leave(request: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": f"{served.url}{request.path_qs}"})

        safe.instead = leave
        assert "redirects from https to http" in await ask(SSL_CERT_FILE=str(certificate))


async def test_the_command_line_resolves(served: Registries) -> None:
    """One line for each URI; one that nobody knows ends it with a message."""
    uris = [f"drs://drs.example.org/{UUID}", f"drs://drs.42:{UUID}"]
    done = await resolved(served, *uris)
    assert done.stdout.decode().splitlines() == [
        f"https://drs.example.org/ga4gh/drs/v1/objects/{UUID}",
        f"https://n2t.example/ga4gh/drs/v1/objects/{UUID}",
    ]
    for unknown in ("drs://nobody.knows:1", "drs://a b", "https://drs.example.org/1"):
        done = await resolved(served, unknown)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.startswith(b"Error: ")
        assert done.stderr.count(b"\n") == 1


async def resolved(served: Registries, *uris: str) -> "subprocess.CompletedProcess[bytes]":
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "drs_service", "resolve", *uris),
        env={"DRS_IDENTIFIERS_ORG_URL": served.url, "DRS_N2T_URL": served.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(uris, process.returncode, out, err)
