"""Repr-Digest and Want-Repr-Digest (RFC 9530): the digest a client states, or we do, and those that it wants."""

import re

from drs_service.domain.digest import Digest
from drs_service.errors import DigestMalformed

_ALGORITHM = "sha-256"
# IANA's Hash Algorithms for HTTP Digest Fields, and our names of them.
_ALGORITHMS = {"sha-256": "sha-256", "sha-512": "sha-512", "md5": "md5", "sha": "sha1", "crc32c": "crc32c"}

# RFC 8941, by section. A client may state algorithms we do not know, with values of any kind: each is read to its end.
_KEY = r"[a-z*][a-z0-9_.*-]*+"  # 3.1.2
_BYTES = r":[A-Za-z0-9+/=]*+:"  # 3.3.5
_BARE_ITEM = (
    r"(?:-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})"  # 3.3.1, 3.3.2
    r'|"(?:[ !#-\[\]-~]|\\["\\])*+"'  # 3.3.3
    r"|[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*+"  # 3.3.4
    rf"|{_BYTES}|\?[01])"  # 3.3.6
)
_PARAMETERS = rf"(?:; *+{_KEY}(?:={_BARE_ITEM})?+)*+"  # 3.1.2
_ITEM = rf"{_BARE_ITEM}{_PARAMETERS}"
_INNER_LIST = rf"\( *+(?:{_ITEM}(?: ++|(?=\))))*+\)"  # 3.1.1
_MEMBER = re.compile(rf"(?P<key>{_KEY})(?:=(?P<value>{_BARE_ITEM}|{_INNER_LIST}))?+{_PARAMETERS}")  # 3.2
_COMMA = re.compile(r"[ \t]*+,[ \t]*+")


def parse_repr_digest(header: str | None) -> Digest | None:
    """The SHA-256 digest stated, or None if none is. DigestMalformed if the header or the digest cannot be read."""
    if header is None:
        return None
    members = _members(header.strip(" "))
    return _digest(members[_ALGORITHM]) if _ALGORITHM in members else None


def parse_want_repr_digest(header: str | None) -> frozenset[str]:
    """The algorithms that are wanted and can be worked out. DigestMalformed if the header cannot be read."""
    wanted = set()
    for name, preference in _members((header or "").strip(" ")).items():
        # RFC 9530 4: "a value of 0 means not acceptable".
        if preference is None or not re.fullmatch(r"\d{1,2}", preference):
            raise DigestMalformed("The preferences in Want-Repr-Digest are whole numbers from 0 to 10.")
        if preference != "0" and name in _ALGORITHMS:
            wanted.add(_ALGORITHMS[name])
    return frozenset(wanted)


def repr_digest(digest: Digest) -> str:
    """The header that states digest."""
    return f"{_ALGORITHM}=:{digest.base64}:"


def _members(dictionary: str) -> dict[str, str | None]:
    """Each key with its value as written, or None where it stands alone."""
    members: dict[str, str | None] = {}
    position = 0
    # RFC 8941 §4.2: an empty header is an empty dictionary; §4.2.2: a comma at the end is an error.
    while dictionary:
        member = _MEMBER.match(dictionary, position)
        if member is None:
            raise DigestMalformed
        # RFC 8941 §4.2.2: of a key that comes again, "overwrite its value".
        members[member["key"]] = member["value"]
        if member.end() == len(dictionary):
            break
        comma = _COMMA.match(dictionary, member.end())
        if comma is None:
            raise DigestMalformed
        position = comma.end()
    return members


def _digest(value: str | None) -> Digest:
    if value is None or not re.fullmatch(_BYTES, value):
        raise DigestMalformed(f"The value of {_ALGORITHM} in Repr-Digest is not a byte sequence (:base64:).")
    text = value.strip(":")
    # RFC 8941 §4.2.7: "parsers SHOULD NOT fail when "=" padding is not present".
    padding = "=" * (-len(text) % 4)
    try:
        return Digest.from_base64(text + padding)
    except ValueError as error:
        raise DigestMalformed(f"The value of {_ALGORITHM} in Repr-Digest is not the base64 of 32 bytes.") from error
