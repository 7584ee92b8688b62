"""Object ids, and the URIs made of them."""

import re
from urllib.parse import quote

RESERVED = frozenset({"register", "access", "delete", "checksum", "checksums", "access-methods", "tags"})
"""Words that stand where an id stands in the paths of the API. No id of ours is one of them."""

# DRS: ids are of RFC 3986's unreserved characters. `.` and `..` would be removed from a path (RFC 3986 §5.2.4).
_OBJECT_ID = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._~-]{1,128}")
# DRS: "drs://<hostname>/<id>", always https on 443. A colon would make it a compact identifier.
_HOSTNAME = re.compile(r"[A-Za-z0-9._-]+")

# Crockford's base32: no i, l, o, u. Its order is that of ASCII.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_CHARACTERS = 26
_TIME_BITS = 48
_RANDOM_BYTES = 10


def is_object_id(text: str) -> bool:
    """Whether an object can have this id."""
    return _OBJECT_ID.fullmatch(text) is not None and text not in RESERVED


def new_object_id(milliseconds: int, random: bytes) -> str:
    """The id of an object made at this Unix time, with 10 random bytes: a ULID in lower case.

    Ids sort by their time, so that new ones lie together in an index. ValueError for a time outside of 48 bits.
    """
    if not 0 <= milliseconds < 2**_TIME_BITS:
        raise ValueError(f"{milliseconds} is not a time of {_TIME_BITS} bits")
    if len(random) != _RANDOM_BYTES:
        raise ValueError(f"an id takes {_RANDOM_BYTES} random bytes, not {len(random)}")
    return crockford(milliseconds << 8 * _RANDOM_BYTES | int.from_bytes(random), _CHARACTERS)


def crockford(number: int, characters: int) -> str:
    """The last so many digits of a number in Crockford's base32, in lower case."""
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(characters)))


def self_uri(hostname: str, object_id: str) -> str:
    """The DRS URI of an object. ValueError for a hostname with a port or anything else beside the name."""
    if not _HOSTNAME.fullmatch(hostname):
        raise ValueError(f"{hostname!r} is not a plain hostname")
    return f"drs://{hostname}/{quote(object_id, safe='')}"
