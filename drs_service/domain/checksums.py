"""Checksums: how their algorithms are spelt, what a value may look like, and what the checksum of a bundle is."""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import google_crc32c

from drs_service.errors import ChecksumInvalid, TooMany

MAX_CHARACTERS = 255
MAX_CHECKSUMS = 32
"""Of one object."""

# By algorithm: bytes of a value. The names are those of IANA's Named Information registry where it has one; DRS prefers
# these spellings of the others.
SIZES = {
    "md5": 16,
    "sha1": 20,
    "crc32": 4,
    "crc32c": 4,
    "sha-256": 32,
    "sha-384": 48,
    "sha-512": 64,
    "sha3-224": 28,
    "sha3-256": 32,
    "sha3-384": 48,
    "sha3-512": 64,
    "blake2s-256": 32,
    "blake2b-256": 32,
    "blake2b-512": 64,
    "trunc512": 24,
}
# What hashlib works out; by its own name for it.
_HASHLIB = {
    "md5": "md5",
    "sha1": "sha1",
    "sha-256": "sha256",
    "sha-384": "sha384",
    "sha-512": "sha512",
    "sha3-224": "sha3_224",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
    "blake2s-256": "blake2s",
    "blake2b-512": "blake2b",
}
COMPUTABLE = frozenset({*_HASHLIB, "crc32", "crc32c"})
# Ours, without anything that stands between letters and digits.
_BY_LETTERS = {re.sub(r"[^a-z0-9]", "", name): name for name in SIZES} | {
    "blake2b": "blake2b-512",
    "blake2s": "blake2s-256",
}
_ALGORITHM = re.compile(r"[a-z0-9][a-z0-9/_-]{0,63}")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_VALUE = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What is published about a run of bytes, or about a bundle."""

    algorithm: str
    """An IANA Named Information hash name where there is one, else md5, crc32c, etag, …; lower case."""
    value: str
    """Hexadecimal in lower case, of the algorithms whose values are so."""


def algorithm(text: str) -> str:
    """The one spelling of an algorithm: SHA256, sha_256 and sha-256 are sha-256. ChecksumInvalid."""
    lower = text.strip().lower()
    known = _BY_LETTERS.get(re.sub(r"[^a-z0-9]", "", lower))
    if known is None and not _ALGORITHM.fullmatch(lower):
        raise ChecksumInvalid("The type of a checksum is a short name such as sha-256, md5 or crc32c.")
    return known or lower


def computable(text: str) -> frozenset[str]:
    """The algorithms in a text such as "md5, crc32c". ChecksumInvalid for one that cannot be worked out here."""
    names = frozenset(map(algorithm, re.findall(r"[^,\s]+", text)))
    if unknown := sorted(names - COMPUTABLE):
        known = ", ".join(sorted(COMPUTABLE))
        raise ChecksumInvalid(f"No checksums of {', '.join(unknown)} are worked out; there are {known}.")
    return names


def checksum(kind: str, value: str) -> Checksum:
    """Read a checksum as a client states it. ChecksumInvalid."""
    name = algorithm(kind)
    if name in SIZES:
        lower = value.strip().lower()
        if not _HEX.fullmatch(lower) or len(lower) != 2 * SIZES[name]:
            raise ChecksumInvalid(f"A checksum of type {name} has {2 * SIZES[name]} hexadecimal digits.")
        return Checksum(name, lower)
    # An etag of a multipart upload is `<md5>-<parts>`, and others have values of their own.
    if not _VALUE.fullmatch(value):
        raise ChecksumInvalid(f"A checksum has 1 to {MAX_CHARACTERS} characters, without spaces.")
    return Checksum(name, value.lower() if _HEX.fullmatch(value.lower()) else value)


def checksums(stated: Iterable[tuple[str, str]]) -> tuple[Checksum, ...]:
    """Read (type, value) pairs; each algorithm may be there once, or twice with the same value. ChecksumInvalid."""
    found: dict[str, Checksum] = {}
    for kind, value in stated:
        one = checksum(kind, value)
        if found.setdefault(one.algorithm, one) != one:
            raise ChecksumInvalid(f"There are two different checksums of type {one.algorithm}.")
        if len(found) > MAX_CHECKSUMS:
            raise TooMany(f"An object has at most {MAX_CHECKSUMS} checksums.")
    return tuple(found.values())


def of_bundle(members: Sequence[Iterable[Checksum]]) -> tuple[Checksum, ...]:
    """The checksums of a bundle, from those of its direct members.

    DRS 1.5.0, DrsObject.checksums: over the values of the members, sorted alphabetically and put together without
    anything between, of the same algorithm. Names do not count, repeats do. A bundle has those algorithms that all of
    its members have; of those we cannot compute it has none.
    """
    values: dict[str, list[str]] = {name: [] for name in sorted(COMPUTABLE)}
    for member in members:
        for one in member:
            if one.algorithm in values:
                values[one.algorithm].append(one.value)
    return tuple(
        Checksum(name, hexdigest(name, "".join(sorted(found)).encode("ascii")))
        for name, found in values.items()
        if len(found) == len(members)
    )


def hexdigest(name: str, content: bytes) -> str:
    one = hasher(name)
    one.update(content)
    return one.hexdigest()


class Hasher(Protocol):
    """Works out a checksum of bytes as they pass by."""

    def update(self, chunk: bytes | bytearray | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...

    def copy(self) -> "Hasher": ...


def hasher(name: str) -> Hasher:
    """For a computable algorithm."""
    if name == "crc32":
        return Crc(zlib.crc32)
    if name == "crc32c":
        return Crc(lambda chunk, crc: google_crc32c.extend(crc, bytes(chunk)))  # it takes nothing but bytes
    return hashlib.new(_HASHLIB[name], usedforsecurity=False)


class Crc:
    """A cyclic redundancy check of 32 bits, big-endian as object stores publish it."""

    def __init__(self, extend: Callable[[bytes | bytearray | memoryview, int], int]) -> None:
        self._extend = extend
        self._crc = 0

    def update(self, chunk: bytes | bytearray | memoryview, /) -> None:
        self._crc = self._extend(chunk, self._crc)

    def hexdigest(self) -> str:
        return f"{self._crc:08x}"

    def copy(self) -> "Crc":
        copied = Crc(self._extend)
        copied._crc = self._crc
        return copied
