"""What an operator says of further places, as text.

    mirror=s3://bucket/prefix?endpoint_url=https://s3.example.org&region=eu-1&access_key_id=AKIA
    cold=file:///mnt/cold
    archive=file:///mnt/archive?external=true
    attic=sftp://drs@attic.example.org/srv/drs?known_hosts=/etc/drs/known_hosts

A place has a name, which stays with every copy in it, and a URL, whose query says how the place is reached. What it
does not say is as it is for the primary. A secret does not belong into a URL: it is said elsewhere, under the name.
An external place has files that others have put there, under names of their own: nothing is ever written to it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

NAME = re.compile(r"[a-z0-9-]{1,64}")
URL = re.compile(r"file:///[!-~]*|(s3|gs|az|abfs)://[A-Za-z0-9][A-Za-z0-9._-]+(/[!-~]*)?|memory:", re.ASCII)
OPTIONS = {"endpoint_url", "region", "access_key_id"}
EXTERNAL = "external"

PROTOCOL = re.compile(r"[a-z][a-z0-9+-]*")
OWN = {"file", "s3", "gs", "az", "abfs", "memory"}
"""Protocols that have drivers of ours."""
FOREIGN_URL = re.compile(r"[a-z][a-z0-9+-]*://(?!.*::)[!-~]*", re.ASCII)
FOREIGN_OPTION = re.compile(r"[a-z][a-z0-9_]*")
SECRETS = {"password", "passphrase", "passwd", "secret", "token"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSaid:
    """A place, as it is said where it is."""

    name: str
    url: str
    """Without options."""
    options: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    """Whether its files are somebody else's, and only read."""
    foreign: bool = False
    """Of a protocol that we have no driver of our own for."""


def parse_place(text: str, protocols: Collection[str] = ()) -> PlaceSaid:
    """Protocols are those besides our own. ValueError."""
    name, _, said = text.partition("=")
    check_name(name)
    parts = urlsplit(said)
    url = parts._replace(query="").geturl() if parts.query else said
    foreign = parts.scheme in protocols and FOREIGN_URL.fullmatch(url) is not None
    if not (foreign or URL.fullmatch(url)) or parts.fragment:
        raise ValueError(f"{name}: must be file:///absolute/path, s3://bucket/prefix, gs://… or az://…")
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError as error:
        raise ValueError(f"{name}: {parts.query!r} is not name=value&name=value") from error
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ValueError(f"{name}: an option is said twice")
    external = options.pop(EXTERNAL, "false")
    if external not in {"true", "false"}:
        raise ValueError(f"{name}: {EXTERNAL} is neither true nor false")
    if external == "true" and parts.scheme == "memory":
        raise ValueError(f"{name}: nobody else puts files into memory:")
    if foreign:
        check_foreign(name, parts.netloc, options)
        if external == "true":
            raise ValueError(f"{name}: {EXTERNAL} is of directories and buckets alone")
    for option in () if foreign else options:
        if option not in OPTIONS:
            raise ValueError(f"{name}: {option!r} is not one of {', '.join(sorted({*OPTIONS, EXTERNAL}))}")
        if parts.scheme != "s3":
            raise ValueError(f"{name}: {option} is of s3:// alone")
    return PlaceSaid(name=name, url=url, options=options, external=external == "true", foreign=foreign)


def path_within(url: str, inner: str) -> str | None:
    """The path of inner below url, without slashes at its ends; None if it is not below it.

    A byte that is not UTF-8 is half a surrogate, as in names of files.
    """
    outer, below = urlsplit(url), urlsplit(inner)
    if (aliased(outer.scheme), outer.netloc) != (aliased(below.scheme), below.netloc):
        return None
    root, path = (unquote(one.path, errors="surrogateescape").strip("/") for one in (outer, below))
    if root and path != root and not path.startswith(f"{root}/"):
        return None
    return path[len(root) :].strip("/")


def overlap(one: str, other: str) -> bool:
    """Whether what is below one of two URLs can be below the other."""
    return path_within(one, other) is not None or path_within(other, one) is not None


def aliased(scheme: str) -> str:
    return "az" if scheme == "abfs" else scheme


def check_foreign(name: str, netloc: str, options: Mapping[str, str]) -> None:
    if ":" in netloc.rpartition("@")[0]:
        raise ValueError(f"{name}: a password does not belong into the URL")
    for option in options:
        if not FOREIGN_OPTION.fullmatch(option):
            raise ValueError(f"{name}: {option!r} is not the name of an option")
        if option in SECRETS:
            raise ValueError(f"{name}: {option} does not belong into the URL")


def check_protocol(protocol: str) -> None:
    """ValueError."""
    if not PROTOCOL.fullmatch(protocol):
        raise ValueError(f"{protocol!r} is not a protocol, such as sftp")
    if protocol in OWN:
        raise ValueError(f"{protocol} has a driver of its own")


def parse_places(texts: Sequence[str], *, primary: str, protocols: Collection[str] = ()) -> tuple[PlaceSaid, ...]:
    """All of them, in their order; primary is a name that is taken. ValueError."""
    places = tuple(parse_place(text, protocols) for text in texts)
    names = [primary, *(one.name for one in places)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name}: there are two places of this name")
    return places


def parse_secrets(text: str) -> dict[str, str]:
    """`mirror=SECRET cold=SECRET`, in one line or in several. ValueError, which tells none of them."""
    pairs = [one.partition("=") for one in text.split()]
    if not all(name and secret for name, _, secret in pairs):
        raise ValueError("must be name=secret for each place")
    return {name: secret for name, _, secret in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A place whose objects clients may read themselves."""

    place: str
    type: str
    """As DRS names it."""
    url: str
    """Of what is in it, up to the key."""
    cloud: str | None = None
    region: str | None = None


def parse_shown(texts: Sequence[str], urls: Mapping[str, str]) -> tuple[Bucket, ...]:
    """`mirror` or `mirror:aws:eu-central-1`, each of one of the places that have these URLs. ValueError."""
    return tuple(parse_bucket(text, urls) for text in texts)


def parse_bucket(text: str, urls: Mapping[str, str]) -> Bucket:
    name, _, where = text.partition(":")
    cloud, _, region = where.partition(":")
    check_bucket(name, urls)
    url = urls[name].rstrip("/") + "/"
    return Bucket(place=name, type=urlsplit(url).scheme, url=url, cloud=cloud or None, region=region or None)


def check_bucket(name: str, urls: Mapping[str, str]) -> None:
    """ValueError unless it is a place, and a bucket."""
    if name not in urls:
        raise ValueError(f"there is no place {name!r}")
    if urlsplit(urls[name]).scheme not in {"s3", "gs"}:
        raise ValueError(f"{name} is not a bucket")


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of a-z 0-9 -")
