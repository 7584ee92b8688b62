"""Repr-Digest, Content-Digest, Want-Repr-Digest (RFC 9530): the digest a client states, or we do; those it wants."""

import re

from drs_service.domain.digest import Digest
from drs_service.domain.structured_fields import BYTES, dictionary
from drs_service.errors import DigestMalformed

_ALGORITHM = "sha-256"
# IANA's Hash Algorithms for HTTP Digest Fields, and our names of them.
_ALGORITHMS = {"sha-256": "sha-256", "sha-512": "sha-512", "md5": "md5", "sha": "sha1", "crc32c": "crc32c"}


def parse_repr_digest(header: str | None) -> Digest | None:
    """The SHA-256 digest stated, or None if none is. DigestMalformed if the header or the digest cannot be read."""
    if header is None:
        return None
    members = _members(header)
    return _digest(members[_ALGORITHM]) if _ALGORITHM in members else None


def parse_want_repr_digest(header: str | None) -> frozenset[str]:
    """The algorithms that are wanted and can be worked out. DigestMalformed if the header cannot be read."""
    wanted = set()
    for name, preference in _members(header or "").items():
        # RFC 9530 4: "a value of 0 means not acceptable".
        if preference is None or not re.fullmatch(r"\d{1,2}", preference):
            raise DigestMalformed("The preferences in Want-Repr-Digest are whole numbers from 0 to 10.")
        if preference != "0" and name in _ALGORITHMS:
            wanted.add(_ALGORITHMS[name])
    return frozenset(wanted)


def repr_digest(digest: Digest) -> str:
    """The header that states digest."""
    return f"{_ALGORITHM}=:{digest.base64}:"


def _members(field: str) -> dict[str, str | None]:
    members = dictionary(field)
    if members is None:
        raise DigestMalformed
    return members


def _digest(value: str | None) -> Digest:
    if value is None or not re.fullmatch(BYTES, value):
        raise DigestMalformed(f"The value of {_ALGORITHM} in Repr-Digest is not a byte sequence (:base64:).")
    text = value.strip(":")
    # RFC 9651 §4.2.7: "parsers SHOULD NOT fail when "=" padding is not present".
    padding = "=" * (-len(text) % 4)
    try:
        return Digest.from_base64(text + padding)
    except ValueError as error:
        raise DigestMalformed(f"The value of {_ALGORITHM} in Repr-Digest is not the base64 of 32 bytes.") from error
