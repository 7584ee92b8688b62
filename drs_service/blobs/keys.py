"""Every key ever written to a place.

    sha256/ab/cd/abcd…            the bytes whose SHA-256 is abcd… (64 hexadecimal digits)

Two levels of fan-out keep a directory of ten million blobs at about 150 entries. What is staged has no key: where a
driver puts it is the driver's business.
"""

from drs_service.domain.digest import Digest

BLOBS = "sha256/"


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
