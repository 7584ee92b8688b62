"""What becomes of fields between a caller and the app of a session, and how an answer is put on a connection."""

import httptools
import pytest

from drs_service.gateway.answering import Answer, AnswerBroken
from drs_service.tunnel.frames import Headers
from drs_service.tunnel.heads import (
    COOKIE,
    Caller,
    bearer,
    confined,
    cookie_of,
    of_answer,
    of_request,
    of_trailers,
    origin_of,
    relocated,
)

PREFIX = b"/socket/abc"
CALLER = Caller(address="203.0.113.9", scheme="https", host="drs.example.org")
ORIGINS = frozenset((b"https://drs.example.org", b"http://127.0.0.1:8888"))
HOP_BY_HOP = [
    (b"Connection", b"close, X-Hop"),
    (b"connection", b"Upgrade"),
    (b"X-Hop", b"1"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Proxy-Authenticate", b"Basic"),
    (b"Proxy-Authorization", b"Basic eA=="),
    (b"Proxy-Connection", b"close"),
    (b"TE", b"trailers, deflate"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Upgrade", b"h2c"),
]
TOLD: Headers = [
    (b"X-Forwarded-For", b"203.0.113.9"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"drs.example.org"),
    (b"X-Forwarded-Prefix", PREFIX),
]


def asked(*headers: tuple[bytes, bytes], secret: bytes | None = None) -> Headers:
    return of_request(list(headers), CALLER, PREFIX, secret=secret)


def answered(*headers: tuple[bytes, bytes]) -> Headers:
    return of_answer(list(headers), PREFIX, ORIGINS)


# Requests.


def test_what_is_between_two_neighbours_goes_no_further_either_way() -> None:
    end_to_end = [(b"Host", b"drs.example.org"), (b"accept", b"a"), (b"Accept", b"b"), (b"X", b"\xe9")]
    mixed = [*end_to_end[:2], *HOP_BY_HOP, *end_to_end[2:]]
    assert asked(*mixed) == [*end_to_end, *TOLD]
    assert answered(*mixed) == end_to_end


def test_a_caller_who_takes_trailers_may_say_so() -> None:
    assert (b"TE", b"trailers") in asked((b"Connection", b"TE"), (b"TE", b"trailers"))


@pytest.mark.parametrize(
    "name",
    [
        b"Forwarded",
        b"X-Forwarded-Host",
        b"x-forwarded-proto",
        b"X-FORWARDED-PREFIX",
        b"X_Forwarded_Prefix",
        b"X-Forwarded-User",
    ],
)
def test_only_we_say_where_a_request_came_through(name: bytes) -> None:
    assert asked((name, b"evil")) == TOLD


def test_addresses_that_a_request_came_through_are_kept_before_the_last() -> None:
    told = asked((b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2"), (b"x-forwarded-for", b"3.3.3.3"))
    assert told == [(b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2, 3.3.3.3, 203.0.113.9"), *TOLD[1:]]


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER\t", b"Bearer   "])
def test_the_driving_secret_is_not_the_apps_but_every_other_token_is(scheme: bytes) -> None:
    assert asked((b"Authorization", scheme + b"S3cret"), secret=b"S3cret") == TOLD
    for value in (scheme + b"other", b"Basic S3cret", b"S3cret", b"token S3cret"):
        assert (b"Authorization", value) in asked((b"Authorization", value), secret=b"S3cret")
    assert (b"Authorization", scheme + b"S3cret") in asked((b"Authorization", scheme + b"S3cret"))


def test_a_token_is_what_follows_the_scheme() -> None:
    assert bearer(b"Bearer a.b-c ") == b"a.b-c"
    assert [bearer(one) for one in (b"", b"Bearer", b"Bearer ", b"Basic a", b"Bearera b")] == [None] * 5


def test_our_cookies_are_for_us_alone() -> None:
    ours = COOKIE + b"abc=secret"
    assert asked((b"Cookie", ours)) == TOLD
    assert asked((b"Cookie", b"a=1;" + ours + b" ;b=2")) == [(b"Cookie", b"a=1; b=2"), *TOLD]
    assert asked((b"Cookie", b"a=1"), (b"cookie", b"\t" + ours), (b"Cookie", COOKIE + b"=x; b=2")) == [
        (b"Cookie", b"a=1"),
        (b"Cookie", b"b=2"),
        *TOLD,
    ]
    assert asked((b"Cookie", b"my_" + COOKIE + b"x=1")) == [(b"Cookie", b"my_" + COOKIE + b"x=1"), *TOLD]


def test_a_cookie_is_found_wherever_it_is_and_as_often() -> None:
    headers = [(b"Cookie", b"a=1; k=x"), (b"COOKIE", b"k=y=z;kk=2; k ; K=3")]
    assert cookie_of([value for _, value in headers], b"k") == [b"x", b"y=z", b""]
    assert cookie_of([b"k=" + b"x" * 257, b"k=" + b"x" * 256], b"k") == [b"x" * 256]


# Answers.


@pytest.mark.parametrize(
    ("said", "leads"),
    [
        (b"/", b"/socket/abc/"),
        (b"/a/b?c#d", b"/socket/abc/a/b?c#d"),
        (b"/socket/abc", b"/socket/abc"),
        (b"/socket/abc/a", b"/socket/abc/a"),
        (b"/socket/abcd", b"/socket/abc/socket/abcd"),
        (b"a", b"a"),
        (b"../a", b"../a"),
        (b"?q", b"?q"),
        (b"#f", b"#f"),
        (b"", b""),
        (b"http://127.0.0.1:8888/a?b", b"/socket/abc/a?b"),
        (b"HTTP://127.0.0.1:8888/a", b"/socket/abc/a"),
        (b"http://127.0.0.1:8888", b"/socket/abc/"),
        (b"http://127.0.0.1:8888?q", b"/socket/abc/?q"),
        (b"http://127.0.0.1:8888//evil.org/", b"/socket/abc//evil.org/"),
        (b"http://127.0.0.1:8888\\@evil.org/", b"/socket/abc/\\@evil.org/"),
        (b"http://127.0.0.1:8888.evil.org/", b"http://127.0.0.1:8888.evil.org/"),
        (b"http://127.0.0.1:8888@evil.org/", b"http://127.0.0.1:8888@evil.org/"),
        (b"https://DRS.example.org/socket/abc/a", b"/socket/abc/a"),
        (b"https://drs.example.org/a", b"/socket/abc/a"),
        (b"//drs.example.org/a", b"/socket/abc/a"),
        (b"//127.0.0.1:8888/a", b"/socket/abc/a"),
        (b"http://drs.example.org/a", b"http://drs.example.org/a"),
        (b"https://elsewhere.org/a", b"https://elsewhere.org/a"),
        (b"//elsewhere.org/a", b"//elsewhere.org/a"),
        (b"/\\evil.org", b"/socket/abc/\\evil.org"),
        (b"mailto:a@b", b"mailto:a@b"),
    ],
)
def test_a_redirect_within_the_app_stays_within_its_prefix(said: bytes, leads: bytes) -> None:
    assert relocated(said, PREFIX, ORIGINS) == leads
    assert answered((b"location", said), (b"Content-Location", said)) == [
        (b"location", leads),
        (b"Content-Location", leads),
    ]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"a=b", b"a=b; Path=/socket/abc/"),
        (b"a=b; Path=/", b"a=b; Path=/socket/abc/"),
        (b'a=b;path="/x" ; Secure', b"a=b; Path=/socket/abc/x; Secure"),
        (b"a=b; PATH=/socket/abc/x; HttpOnly", b"a=b; Path=/socket/abc/x; HttpOnly"),
        (b"a=b; Path=/socket/abcd", b"a=b; Path=/socket/abc/socket/abcd"),
        (b"a=b; Path=", b"a=b; Path=/socket/abc/"),
        (b"a=b; Path", b"a=b; Path=/socket/abc/"),
        (b"a=b; Path=/x; Path=/", b"a=b; Path=/socket/abc/x; Path=/socket/abc/"),
        (b"a=b; Domain=example.org; domain=.org;DOMAIN", b"a=b; Path=/socket/abc/"),
        (b"a=b; Max-Age=0; SameSite=Lax", b"a=b; Max-Age=0; SameSite=Lax; Path=/socket/abc/"),
        (COOKIE + b"abc=x", None),
        (b" " + COOKIE + b"other=x; Path=/", None),
        (COOKIE, None),
        (b"=" + COOKIE + b"abc=x", None),
        (b" = " + COOKIE + b"abc=x", None),
        (b"\t" + COOKIE + b"abc=x", None),
        (b"my" + COOKIE + b"=x; Path=/", b"my" + COOKIE + b"=x; Path=/socket/abc/"),
    ],
)
def test_a_cookie_of_the_app_goes_to_the_app_alone_and_is_never_called_like_ours(
    said: bytes, kept: bytes | None
) -> None:
    assert confined(said, PREFIX) == kept
    assert answered((b"Set-Cookie", said)) == ([(b"Set-Cookie", kept)] if kept else [])


@pytest.mark.parametrize(
    "said",
    [b"/", b"/x/", b"", b"/../..", b"/socket/abc/../../", b"/%2e%2e/%2E./", b"/.\t./", b"https://drs.example.org/"],
)
def test_a_service_worker_never_gets_more_than_the_prefix(said: bytes) -> None:
    assert answered((b"Service-Worker-Allowed", said)) == [(b"Service-Worker-Allowed", b"/socket/abc/")]


@pytest.mark.parametrize(
    "name",
    [
        b"Clear-Site-Data",
        b"Strict-Transport-Security",
        b"Alt-Svc",
        b"NEL",
        b"Report-To",
        b"Public-Key-Pins",
        b"Accept-CH",
        b"Set-Login",
        b"X-Accel-Redirect",
        b"X-Sendfile",
        b"X-Sendfile-Temporary",
        b"X-Reproxy-File",
        b"X-LiteSpeed-Location",
    ],
)
def test_the_app_speaks_neither_for_the_origin_nor_to_the_proxy_in_front_of_us(name: bytes) -> None:
    assert answered((name, b"/x"), (b"X-Accel-Buffering", b"no")) == [(b"X-Accel-Buffering", b"no")]
    assert of_trailers([(name, b"/x")]) == []


def test_trailers_say_nothing_that_belongs_into_a_head() -> None:
    fit = [(b"Repr-Digest", b"sha-256=:AA==:"), (b"Server-Timing", b"a")]
    unfit = [
        *[one for one in HOP_BY_HOP if one[0] != b"X-Hop"],
        (b"Set-Cookie", COOKIE + b"abc=x"),
        (b"cookie", b"a=b"),
        (b"Authorization", b"Bearer x"),
        (b"Content-Length", b"5"),
        (b"Host", b"x"),
        (b"X-Forwarded-Prefix", b"/"),
        (b"Location", b"/"),
    ]
    assert of_trailers([fit[0], *unfit, fit[1]]) == fit


def test_an_origin_is_scheme_and_authority() -> None:
    assert origin_of("HTTPS://Drs.Example.org:8443/x?y") == b"https://drs.example.org:8443"
    assert origin_of("http://[") == b""


# How an answer ends.


class Reader:
    """What a client of HTTP/1 makes of an answer."""

    def __init__(self, data: bytes) -> None:
        self.headers: Headers = []
        self.body = b""
        self.is_whole = False
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(data)
        self.status = parser.get_status_code()
        self.keeps = parser.should_keep_alive()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True


def put(
    status: int,
    headers: Headers,
    *pieces: bytes,
    method: bytes = b"GET",
    http_1_1: bool = True,
    keep_alive: bool = True,
    trailers: Headers | None = None,
    ended: bool = False,
) -> tuple[bytes, bool]:
    """The bytes of an answer, and whether another one may follow."""
    answer = Answer(method=method, http_1_1=http_1_1, keep_alive=keep_alive)
    data = [answer.head(status, headers, ended=ended)]
    for piece in pieces:
        data += [bytes(one) for one in answer.data(piece)]
    data.append(answer.end(trailers or []))
    return b"".join(data), answer.keep_alive


LENGTH_5 = [(b"Content-Length", b"5")]


def test_an_answer_of_a_length_is_whole_with_its_last_byte() -> None:
    data, keeps = put(200, LENGTH_5, b"he", memoryview(b"llo").tobytes())
    assert data == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" and keeps


def test_an_answer_of_no_length_is_chunked_with_its_trailers() -> None:
    data, keeps = put(200, [], b"hello", b"", b"w" * 16, trailers=[(b"T", b"1")])
    assert keeps and data == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10\r\n"
        + b"w" * 16
        + b"\r\n0\r\nT: 1\r\n\r\n"
    )
    assert Reader(data).body == b"hello" + b"w" * 16


def test_an_answer_that_is_only_a_head_says_so() -> None:
    assert put(200, [], ended=True)[0] == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_to_a_client_of_http_1_0_the_end_is_that_of_the_connection_unless_the_length_is_known() -> None:
    assert put(200, [], b"hello", http_1_1=False, trailers=[(b"T", b"1")]) == (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        False,
    )
    data, keeps = put(200, LENGTH_5, b"hello", http_1_1=False)
    assert keeps and b"\r\nConnection: keep-alive\r\n" in data
    assert Answer(method=b"GET", http_1_1=False, keep_alive=False).interim(103, []) == b""


def test_who_ends_the_connection_is_told_so() -> None:
    data, keeps = put(200, LENGTH_5, b"hello", keep_alive=False)
    assert b"\r\nConnection: close\r\n" in data and not keeps and not Reader(data).keeps


@pytest.mark.parametrize("headers", [[], LENGTH_5])
def test_an_answer_to_head_has_no_body_whatever_comes(headers: Headers) -> None:
    data, keeps = put(200, headers, b"stray", b"bytes", method=b"HEAD")
    assert keeps and data.endswith(b"\r\n\r\n")
    assert (b"Content-Length: 5" in data) == bool(headers) and b"chunked" not in data


def test_204_and_304_have_no_body_and_204_no_length() -> None:
    assert put(204, LENGTH_5)[0] == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert put(304, LENGTH_5)[0] == b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    for status in (204, 304):
        with pytest.raises(AnswerBroken):
            put(status, [], b"body")


def test_a_length_that_is_there_twice_is_told_once() -> None:
    data, _ = put(200, [*LENGTH_5, (b"content-length", b" 5 ")], b"hello")
    reader = Reader(data)
    assert reader.body == b"hello" and reader.is_whole and data.lower().count(b"content-length") == 1


@pytest.mark.parametrize("before", [[], [b"hell"], [b"hello"]])
def test_not_a_byte_goes_out_beyond_the_length(before: list[bytes]) -> None:
    answer = Answer(method=b"GET", http_1_1=True, keep_alive=True)
    answer.head(200, LENGTH_5, ended=False)
    for one in before:
        assert answer.data(one) == [one]
    with pytest.raises(AnswerBroken):
        answer.data(b"hello!"[len(b"".join(before)) :])


@pytest.mark.parametrize("pieces", [[b"hell"], [b"h", b""], []])
def test_an_answer_that_is_shorter_than_it_says_is_broken_off(pieces: list[bytes]) -> None:
    with pytest.raises(AnswerBroken):
        put(200, LENGTH_5, *pieces)


@pytest.mark.parametrize("value", [b"", b"-1", b"+5", b"5.0", b"0x5", b"5, 5", b"5 5", b"\xb2", b"1" * 19])
def test_a_length_that_is_none_is_broken_off(value: bytes) -> None:
    with pytest.raises(AnswerBroken):
        put(200, [(b"Content-Length", value)], b"hello")


def test_lengths_that_differ_are_broken_off() -> None:
    with pytest.raises(AnswerBroken):
        put(200, [*LENGTH_5, (b"Content-Length", b"6")], b"hello")


def test_an_interim_answer_and_a_switch_have_no_body_to_speak_of() -> None:
    answer = Answer(method=b"GET", http_1_1=True, keep_alive=True)
    link = (b"Link", b"</x>; rel=preload")
    assert answer.interim(103, [link, *LENGTH_5]) == b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    switched = answer.switched([(b"Sec-WebSocket-Accept", b"x"), *LENGTH_5])
    assert switched == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Sec-WebSocket-Accept: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert not answer.keep_alive
    assert answer.data(b"\x81\x00") == [b"\x81\x00"] and answer.end([]) == b""


def test_a_status_that_nobody_knows_is_passed_on() -> None:
    assert put(599, [], ended=True)[0].startswith(b"HTTP/1.1 599 \r\n")
