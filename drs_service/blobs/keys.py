"""Every key ever written to a place.

    sha256/ab/cd/abcd…            the bytes whose SHA-256 is abcd… (64 hexadecimal digits)
    identity/<uuid>               empty; the database that knows the blobs has this id. Exactly one in a place
    place/<name>                  empty; the settings call this place so. At most one in a place
    probe/<random>                a driver trying itself out; there for an instant
    probe/kept                    the same where nothing may be deleted: it stays, for all who try

Two levels of fan-out keep a directory of ten million blobs at about 150 entries. What is staged has no key: where a
driver puts it is the driver's business.
"""

import secrets
from uuid import UUID

from drs_service.domain.digest import Digest

BLOBS = "sha256/"
IDENTITIES = "identity/"
NAMES = "place/"
PROBES = "probe/"
KEPT_PROBE = f"{PROBES}kept"


def key_for(digest: Digest) -> str:
    text = digest.hex
    return f"{BLOBS}{text[:2]}/{text[2:4]}/{text}"


def digest_of(key: str) -> Digest | None:
    """The digest whose key this is; None for a key we never write."""
    try:
        digest = Digest.from_hex(key.rpartition("/")[2])
    except ValueError:
        return None
    return digest if key_for(digest) == key else None


def identity_key(identity: UUID) -> str:
    return f"{IDENTITIES}{identity}"


def name_key(place: str) -> str:
    return f"{NAMES}{place}"


def new_probe_key() -> str:
    """A key that nobody else uses."""
    return f"{PROBES}{secrets.token_hex(16)}"
