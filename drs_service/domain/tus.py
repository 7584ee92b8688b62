"""The headers of tus 1.0.0: https://tus.io/protocols/resumable-upload"""

import base64
import re
from collections.abc import Mapping, Sequence

from drs_service.domain.checksums import Checksum
from drs_service.errors import TusInvalid

VERSION = "1.0.0"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
)
# tus spells them as browsers do not: without the hyphen of the registries.
CHECKSUMS = {"sha1": "sha1", "md5": "md5", "crc32": "crc32", "sha256": "sha-256", "sha-256": "sha-256"}

_LENGTH = re.compile(r"\d{1,18}")
_KEY = re.compile(r"[!-+\--~]{1,255}")  # ASCII without spaces and commas


def length(text: str, *, header: str) -> int:
    """A number of bytes. TusInvalid."""
    if not _LENGTH.fullmatch(text):
        raise TusInvalid(f"{header} is a whole number of bytes, at least 0.")
    return int(text)


def metadata(header: str) -> dict[str, bytes]:
    """Upload-Metadata: keys, and values that came in base64. TusInvalid."""
    found: dict[str, bytes] = {}
    for pair in filter(None, (one.strip() for one in header.split(","))):
        key, _, value = pair.partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise TusInvalid("Each key of Upload-Metadata is there once, in ASCII without spaces and commas.")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True)
        except ValueError as error:
            raise TusInvalid(f"The value of {key} in Upload-Metadata is not base64.") from error
    return found


def text(values: Mapping[str, bytes], key: str) -> str | None:
    """One of the values, if it is there. TusInvalid."""
    try:
        return values[key].decode() if key in values else None
    except UnicodeDecodeError as error:
        raise TusInvalid(f"The value of {key} in Upload-Metadata is not UTF-8.") from error


def written_metadata(values: Mapping[str, str]) -> str:
    """What `metadata` reads back."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}".rstrip() for key, value in values.items())


def checksum(text: str) -> Checksum:
    """Upload-Checksum: an algorithm and a value in base64. TusInvalid."""
    name, _, value = text.strip().partition(" ")
    algorithm = CHECKSUMS.get(name.lower())
    if algorithm is None:
        raise TusInvalid(f"The algorithm of Upload-Checksum is one of {', '.join(CHECKSUMS)}.")
    try:
        return Checksum(algorithm, base64.b64decode(value.strip(), validate=True).hex())
    except ValueError as error:
        raise TusInvalid("The value of Upload-Checksum is not base64.") from error


def concat(text: str) -> Sequence[str] | None:
    """Upload-Concat: the URLs of `final;…`; None for `partial`. TusInvalid."""
    kind, _, urls = text.strip().partition(";")
    if kind == "partial" and not urls:
        return None
    if kind == "final" and urls.split():
        return urls.split()
    raise TusInvalid("Upload-Concat is `partial`, or `final;` and the URLs of partial uploads.")
