"""What becomes of the fields of a request and of an answer on their way through a tunnel. No I/O."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from drs_service.tunnel.frames import Headers

# RFC 9110 7.6.1: what is between two neighbours goes no further. What follows a body is told by its frames.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
# They speak for a whole origin, which is not the app's alone.
OF_THE_ORIGIN = frozenset(
    (
        b"accept-ch",
        b"alt-svc",
        b"clear-site-data",
        b"expect-ct",
        b"nel",
        b"origin-agent-cluster",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"report-to",
        b"set-login",
        b"strict-transport-security",
    )
)
# With them an app has the proxy in front of it serve a file of that machine. The one in front of us is not the app's.
FOR_A_PROXY = frozenset(
    (
        b"x-accel-redirect",
        b"x-lighttpd-send-file",
        b"x-litespeed-location",
        b"x-reproxy-file",
        b"x-reproxy-url",
        b"x-sendfile",
        b"x-sendfile-temporary",
        b"x-sendfile2",
    )
)
# RFC 9110 6.5.1: what says where a message ends, where it goes and who sends it is not said behind it.
NOT_IN_TRAILERS = frozenset(
    (
        b"authorization",
        b"content-length",
        b"cookie",
        b"host",
        b"location",
        b"set-cookie",
        b"trailer",
        b"www-authenticate",
    )
)
# All of a request that do not pass as they are.
OF_INTEREST = HOP_BY_HOP | {b"authorization", b"cookie", b"forwarded", b"x-forwarded-for"}
# All of an answer that do not.
OF_INTEREST_BACK = (
    HOP_BY_HOP
    | OF_THE_ORIGIN
    | FOR_A_PROXY
    | {b"content-location", b"location", b"service-worker-allowed", b"set-cookie"}
)
MAX_SECRET = 256  # bytes: what is longer is none of ours, and is neither hashed nor remembered
COOKIE = b"drs_session_"
"""What the names of our own cookies begin with: they are for us, and the app's are never called so."""


class Caller:
    """What the app is told of who asks."""

    def __init__(self, *, address: str, scheme: str, host: str) -> None:
        self.address = address.encode("latin-1", "replace")
        self.fields: Headers = [
            (b"X-Forwarded-Proto", scheme.encode("latin-1")),
            (b"X-Forwarded-Host", host.encode("latin-1")),
        ]


def of_request(headers: Headers, caller: Caller, prefix: bytes, *, secret: bytes | None) -> Headers:
    """The fields of a request as the app gets them.

    secret: the bearer token with which the caller may drive the session, if it came as one: that is not the app's.
    """
    kept: Headers = []
    came_through = []
    named: frozenset[bytes] = frozenset()
    for name, value in headers:
        lower = name.lower()
        if lower not in OF_INTEREST and not is_forwarded(lower):
            kept.append((name, value))
        elif lower == b"connection":
            named |= named_by(value)
        elif lower == b"te":
            if value.strip().lower() == b"trailers":
                kept.append((name, value))
        elif lower == b"x-forwarded-for":
            came_through.append(value)
        elif lower == b"cookie":
            if value := without_ours(value):
                kept.append((name, value))
        elif lower == b"authorization" and (secret is None or bearer(value) != secret):
            kept.append((name, value))
    if named:
        kept = [one for one in kept if one[0].lower() not in named]
    came_through.append(caller.address)
    kept += ((b"X-Forwarded-For", b", ".join(came_through)), *caller.fields, (b"X-Forwarded-Prefix", prefix))
    return kept


def of_answer(headers: Headers, prefix: bytes, origins: frozenset[bytes]) -> Headers:
    """The fields of an answer as the caller gets them. origins: those under which the app may know itself."""
    kept: Headers = []
    named: frozenset[bytes] = frozenset()
    for name, value in headers:
        lower = name.lower()
        if lower not in OF_INTEREST_BACK:
            kept.append((name, value))
        elif lower in {b"location", b"content-location"}:
            kept.append((name, relocated(value, prefix, origins)))
        elif lower == b"set-cookie":
            if (cookie := confined(value, prefix)) is not None:
                kept.append((name, cookie))
        elif lower == b"service-worker-allowed":
            # Not what it says: that is resolved as a URL, and can lead upwards in more ways than one.
            kept.append((name, prefix + b"/"))
        elif lower == b"connection":
            named |= named_by(value)
    return [one for one in kept if one[0].lower() not in named] if named else kept


def of_trailers(headers: Headers) -> Headers:
    """The fields behind a body, either way."""
    unwanted = HOP_BY_HOP | OF_THE_ORIGIN | FOR_A_PROXY | NOT_IN_TRAILERS
    return [one for one in headers if (lower := one[0].lower()) not in unwanted and not is_forwarded(lower)]


XF = frozenset((b"x", b"f"))


def is_forwarded(lower: bytes) -> bool:
    """Whether only we say this to the app. To many apps `_` in a name is the same as `-`."""
    return lower[:1] in XF and (lower == b"forwarded" or lower.replace(b"_", b"-").startswith(b"x-forwarded-"))


def named_by(connection: bytes) -> frozenset[bytes]:
    """Those of a Connection field that go no further either, besides the ones that never do."""
    return frozenset(option.strip().lower() for option in connection.split(b",")) - HOP_BY_HOP - {b"close"}


def bearer(authorization: bytes) -> bytes | None:
    """RFC 6750 2.1."""
    found = authorization.split(None, 1)
    return found[1].rstrip() if len(found) == 2 and found[0].lower() == b"bearer" else None


def cookie_of(cookies: Iterable[bytes], name: bytes) -> list[bytes]:
    """The values under which one of our cookies is there; a browser may have several of one name."""
    pairs = [pair.strip().partition(b"=") for one in cookies for pair in one.split(b";")]
    return [value for key, _, value in pairs if key == name and len(value) <= MAX_SECRET]


def without_ours(cookies: bytes) -> bytes:
    if COOKIE not in cookies:
        return cookies
    return b"; ".join(pair for one in cookies.split(b";") if (pair := one.strip()) and not pair.startswith(COOKIE))


def confined(cookie: bytes, prefix: bytes) -> bytes | None:
    """RFC 6265 4.1: a cookie of the app that goes to the app alone; None if its name is one of ours."""
    pair, *attributes = cookie.split(b";")
    # Without a name, what a browser sends back is the value alone.
    if pair.lstrip(b"= \t").startswith(COOKIE):
        return None
    kept = [pair]
    has_path = False
    for attribute in attributes:
        name, _, value = attribute.partition(b"=")
        match name.strip().lower():
            case b"domain":
                continue
            case b"path":
                has_path = True
                kept.append(b" Path=" + under(value.strip().strip(b'"'), prefix))
            case _:
                kept.append(attribute)
    if not has_path:  # a browser would take the path of the request, which need not end with a slash
        kept.append(b" Path=" + prefix + b"/")
    return b";".join(kept)


def under(path: bytes, prefix: bytes) -> bytes:
    """A path of the app as seen from outside; the app may have been told its prefix, and say it itself."""
    if path == prefix or path.startswith((prefix + b"/", prefix + b"?")):
        return path
    return prefix + (path if path.startswith(b"/") else b"/")


def relocated(location: bytes, prefix: bytes, origins: frozenset[bytes]) -> bytes:
    """Where a reference of the app leads from outside. What is relative, or elsewhere, stays."""
    if location.startswith(b"/") and not location.startswith(b"//"):
        return under(location, prefix)
    found = re.match(rb"(?i)(?:(https?):)?//([^/?#\\]*)", location)
    if found is None:
        return location
    schemes = [found[1].lower()] if found[1] else [b"http", b"https"]
    if not any(scheme + b"://" + found[2].lower() in origins for scheme in schemes):
        return location
    rest = location[found.end() :]
    return under(rest if rest.startswith(b"/") else b"/" + rest, prefix)


def moved(location: bytes, origin: bytes, to: bytes) -> bytes:
    """A reference to something at an origin, at another one. Origins are in lower case."""
    return to + location[len(origin) :] if re.match(re.escape(origin) + rb"(?=[/?#]|$)", location, re.I) else location


def origin_of(url: str) -> bytes:
    """Scheme and authority of a URL, in lower case; nothing of what is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return b""
    return f"{parts.scheme}://{parts.netloc}".lower().encode("latin-1", "replace")
