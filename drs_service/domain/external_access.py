"""Ways to bytes that are not in our hands, as clients state them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from drs_service.domain.objects import ExternalAccess
from drs_service.domain.texts import text
from drs_service.errors import AccessMethodInvalid, TooMany

MAX_URL = 4096
MAX_HEADERS = 32
MAX_HEADER = 8192
MAX_METHODS = 32

# DRS 1.5.0, AccessMethod.type, and the schemes that its URLs have. `file` is left out: file:///x is another file on
# every machine.
SCHEMES = {
    "s3": {"s3"},
    "gs": {"gs"},
    "ftp": {"ftp", "ftps"},
    "gsiftp": {"gsiftp"},
    "globus": {"globus", "https"},
    "htsget": {"https", "http"},
    "https": {"https", "http"},
}
# RFC 9110 5.1 and 5.5; DRS joins the two with a colon and a space.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+: [!-~\x80-\uffff](?:[ \t]*[!-~\x80-\uffff])*")


def external_access(
    type: str,
    url: str,
    *,
    headers: Sequence[str] = (),
    region: str | None = None,
    cloud: str | None = None,
    available: bool | None = None,
) -> ExternalAccess:
    """Read an access method; it has no id yet. AccessMethodInvalid, TextInvalid."""
    if type not in SCHEMES:
        raise AccessMethodInvalid(f"The type of an access method is one of {', '.join(SCHEMES)}.")
    check_url(type, url)
    if len(headers) > MAX_HEADERS or any(len(one) > MAX_HEADER or not _HEADER.fullmatch(one) for one in headers):
        raise AccessMethodInvalid('The headers of an access method are at most 32 texts of the form "Name: value".')
    return ExternalAccess(
        id="",
        type=type,
        url=url,
        headers=tuple(headers),
        region=text(region, what="region", most=255) if region is not None else None,
        cloud=text(cloud, what="cloud", most=255) if cloud is not None else None,
        available=available,
    )


def identified(methods: Sequence[ExternalAccess]) -> tuple[ExternalAccess, ...]:
    """The same with ids, which the object's own way to its bytes has not. TooMany."""
    if len(methods) > MAX_METHODS:
        raise TooMany(f"An object has at most {MAX_METHODS} access methods.")
    return tuple(replace(one, id=f"{one.type}-{number}") for number, one in enumerate(methods, start=1))


def is_fetchable(way: ExternalAccess) -> bool:
    """Whether the bytes themselves are had by a GET of the URL, now and without credentials of ours."""
    return way.type == "https" and way.available is not False


def is_same(way: ExternalAccess, other: ExternalAccess) -> bool:
    """Whether two access methods lead to the same place, in the same way."""
    return (way.type, way.url, way.headers) == (other.type, other.url, other.headers)


def lasting(ways: Sequence[ExternalAccess], known: Sequence[ExternalAccess]) -> list[ExternalAccess]:
    """Those that can be fetched, and could when they were known."""
    known = [one for one in known if is_fetchable(one)]
    return [one for one in ways if is_fetchable(one) and any(is_same(one, other) for other in known)]


def fresh(ways: Sequence[ExternalAccess], known: Sequence[ExternalAccess] = ()) -> tuple[str, ...]:
    """The URLs of those that can be fetched, and were not known or could not."""
    old = lasting(ways, known)
    return tuple(one.url for one in ways if is_fetchable(one) and one not in old)


def check_url(type: str, url: str) -> None:
    if len(url) > MAX_URL or not re.fullmatch(r"[!-~]+", url):
        raise AccessMethodInvalid(f"The URL of an access method has at most {MAX_URL} characters, all of them ASCII.")
    try:
        parts = urlsplit(url)
        _ = parts.port  # ValueError for what is no port
    except ValueError as error:
        raise AccessMethodInvalid(f"{url} is not a URL.") from error
    if parts.scheme not in SCHEMES[type] or not parts.netloc:
        raise AccessMethodInvalid(
            f"The URL of an access method of type {type} begins with "
            f"{' or '.join(f'{scheme}://' for scheme in sorted(SCHEMES[type]))} and names a host or a bucket."
        )
    if "@" in parts.netloc:
        raise AccessMethodInvalid("A URL is published to every reader: it may not hold a password.")
