"""DRS URIs of both forms, and the URLs that they stand for.

    drs://<hostname>/<id>                         the server is named
    drs://[<provider>/]<namespace>:<accession>    registries of prefixes know where the server is

A colon makes the difference, and the first one divides (DRS 1.5.0, "DRS URIs"). So drs://host:8080/id is a compact
identifier of the namespace `host`: it looks no different from the ARK drs://ark:47881/m6g15z54. Nothing is refused
for looking like a port; who finds that nobody knows the namespace can ask `perhaps_a_port`, to say so.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote, unquote

from drs_service.errors import DrsUriMalformed

MAX_CHARACTERS = 2048

_SCHEME = "drs://"
_HOSTNAME = re.compile(r"(?!.{254})(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
# RFC 3986 §3.3: pchar without the colon. DRS wants a slash encoded too, but the self_uri of Gen3 servers has it as it
# is: https://github.com/ga4gh/data-repository-service-schemas/issues/340
_ENCODED_ID = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=@/-]|%[0-9A-Fa-f]{2})+")
# DRS: lower-case letters, digits, `_` and `.`. Those in use have upper case too, such as dg.ANV0.
_CODE = re.compile(r"[A-Za-z0-9._]+")
_PORT = re.compile(r"[0-9]{1,5}(?:/.*)?")

# `{$id}` is how identifiers.org writes it, `$id` how DRS says that n2t.net does, `${content}` how n2t.net does. What
# comes before ends the host with a slash: no accession may have a say in who is asked.
_TEMPLATE = re.compile(
    r"(https://[A-Za-z0-9._-]+(?::[0-9]+)?/(?:(?![#${}])[!-~])*)"
    r"(?:\{\$id\}|\$\{content\}|\$id(?![A-Za-z0-9_]))"
    r"((?:(?![#${}])[!-~])*)"
)


@dataclass(frozen=True, slots=True)
class HostnameUri:
    """An object by its server and its id. DrsUriMalformed if there can be no such."""

    hostname: str
    object_id: str
    """Not percent-encoded."""

    def __post_init__(self) -> None:
        if not _HOSTNAME.fullmatch(self.hostname):
            raise DrsUriMalformed("What follows drs:// is not a hostname.")
        check_name(self.object_id)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.hostname}/{quote(self.object_id, safe='')}"

    def objects_url(self) -> str:
        """Where the object is. DRS: always https, always port 443."""
        return f"https://{self.hostname}/ga4gh/drs/v1/objects/{quote(self.object_id, safe='')}"


@dataclass(frozen=True, slots=True)
class CompactUri:
    """An object by its compact identifier. DrsUriMalformed if there can be no such."""

    provider: str | None
    namespace: str
    accession: str
    """Not percent-encoded, and not in the URI either. It may repeat the namespace: that is part of it."""

    def __post_init__(self) -> None:
        codes = [self.namespace] if self.provider is None else [self.provider, self.namespace]
        if not all(_CODE.fullmatch(code) for code in codes):
            raise DrsUriMalformed(
                "A DRS URI with a colon is drs://[<provider>/]<namespace>:<accession>, and only letters, digits, `_` "
                "and `.` make a namespace or a provider. A hostname has no port, and a colon in an id is written %3A."
            )
        check_name(self.accession)
        if " " in self.accession:
            raise DrsUriMalformed("There is a space in the DRS URI.")

    def __str__(self) -> str:
        provider = "" if self.provider is None else f"{self.provider}/"
        return f"{_SCHEME}{provider}{self.namespace}:{self.accession}"

    @property
    def prefix(self) -> "Prefix":
        return Prefix(self.provider and self.provider.lower(), self.namespace.lower())

    @property
    def perhaps_a_port(self) -> bool:
        """Whether somebody may have meant <hostname>:<port>/<id>, which is not a DRS URI."""
        return self.provider is None and _PORT.fullmatch(self.accession) is not None


DrsUri: TypeAlias = HostnameUri | CompactUri


@dataclass(frozen=True, slots=True)
class Prefix:
    """What a registry is asked for: a namespace, and the provider if one is wished for.

    In lower case: identifiers.org keeps its namespaces so, and lowers what it is asked for, as n2t.net does.
    """

    provider: str | None
    namespace: str

    def __str__(self) -> str:
        return self.namespace if self.provider is None else f"{self.provider}/{self.namespace}"


@dataclass(frozen=True, slots=True)
class UrlTemplate:
    """Where the objects of a prefix are: the URL before and after the accession."""

    before: str
    after: str

    def url(self, accession: str) -> str:
        # DRS: "you must percent encode the accessions".
        return f"{self.before}{quote(accession, safe='')}{self.after}"


def parse_drs_uri(text: str) -> DrsUri:
    """Read a DRS URI; DrsUriMalformed says what is wrong with it."""
    if len(text) > MAX_CHARACTERS:
        raise DrsUriMalformed(f"The DRS URI is longer than {MAX_CHARACTERS} characters.")
    if text[: len(_SCHEME)].lower() != _SCHEME:
        raise DrsUriMalformed("A DRS URI begins with drs://")
    rest = text[len(_SCHEME) :]
    return compact_uri(rest) if ":" in rest else hostname_uri(rest)


def compact_uri(rest: str) -> CompactUri:
    codes, _, accession = rest.partition(":")
    provider, slash, namespace = codes.rpartition("/")
    return CompactUri(provider if slash else None, namespace, accession)


def hostname_uri(rest: str) -> HostnameUri:
    hostname, _, encoded = rest.partition("/")
    if not _ENCODED_ID.fullmatch(encoded):
        raise DrsUriMalformed(
            "A DRS URI without a colon is drs://<hostname>/<id>, the id percent-encoded, and nothing after it."
        )
    try:
        object_id = unquote(encoded, errors="strict")
    except UnicodeDecodeError as error:
        raise DrsUriMalformed("The id in the DRS URI is not UTF-8.") from error
    return HostnameUri(hostname, object_id)


def url_template(text: str) -> UrlTemplate | None:
    """Read a template of a registry; None unless it leads to one place in one https URL, behind the host."""
    match = _TEMPLATE.fullmatch(text)
    return UrlTemplate(match[1], match[2]) if match else None


def check_name(name: str) -> None:
    """DrsUriMalformed unless name can be percent-encoded into one segment of a path and stay there."""
    if not name:
        raise DrsUriMalformed("The DRS URI names no object.")
    if not name.isprintable():
        raise DrsUriMalformed("There is a character in the DRS URI that does not print.")
    # RFC 3986 §5.2.4: such segments are removed, by some even if the slashes are encoded.
    if not {".", ".."}.isdisjoint(re.split(r"[/\\]", name)):
        raise DrsUriMalformed("The DRS URI names a directory: `.` or `..` stands between slashes.")
