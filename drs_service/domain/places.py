"""What an operator says of further places, as text.

    mirror=s3://bucket/prefix?endpoint_url=https://s3.example.org&region=eu-1&access_key_id=AKIA
    cold=file:///mnt/cold
    archive=file:///mnt/archive?external=true

A place has a name, which stays with every copy in it, and a URL, whose query says how the place is reached. What it
does not say is as it is for the primary. A secret does not belong into a URL: it is said elsewhere, under the name.
An external place has files that others have put there, under names of their own: nothing is ever written to it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

NAME = re.compile(r"[a-z0-9-]{1,64}")
URL = re.compile(r"file:///[!-~]*|(s3|gs|az|abfs)://[A-Za-z0-9][A-Za-z0-9._-]+(/[!-~]*)?|memory:", re.ASCII)
OPTIONS = {"endpoint_url", "region", "access_key_id"}
EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSaid:
    """A place, as it is said where it is."""

    name: str
    url: str
    """Without options."""
    options: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    """Whether its files are somebody else's, and only read."""


def parse_place(text: str) -> PlaceSaid:
    """ValueError."""
    name, _, said = text.partition("=")
    check_name(name)
    parts = urlsplit(said)
    url = parts._replace(query="").geturl() if parts.query else said
    if not URL.fullmatch(url) or parts.fragment:
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
    for option in options:
        if option not in OPTIONS:
            raise ValueError(f"{name}: {option!r} is not one of {', '.join(sorted({*OPTIONS, EXTERNAL}))}")
        if parts.scheme != "s3":
            raise ValueError(f"{name}: {option} is of s3:// alone")
    return PlaceSaid(name=name, url=url, options=options, external=external == "true")


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


def parse_places(texts: Sequence[str], *, primary: str) -> tuple[PlaceSaid, ...]:
    """All of them, in their order; primary is a name that is taken. ValueError."""
    places = tuple(parse_place(text) for text in texts)
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
