"""Digest and checksums of bytes as they pass by."""

import asyncio
import base64
import hashlib
from collections.abc import Iterable

from drs_service.blobs.driver import Buffer
from drs_service.domain.blob import Blob
from drs_service.domain.checksums import Checksum, hasher
from drs_service.domain.digest import Digest

INLINE_SIZE = 64 * 1024  # below this, hashing is cheaper than a hop to a thread


class Hashing:
    """SHA-256 of bytes as they pass by, and what else was asked for."""

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        self._sha256 = hashlib.sha256()
        self._others = {name: hasher(name) for name in sorted(algorithms) if name != "sha-256"}
        self.size = 0
        """Bytes that have passed by."""

    @property
    def algorithms(self) -> frozenset[str]:
        return frozenset({"sha-256", *self._others})

    def update(self, block: list[Buffer]) -> None:
        hashers = (self._sha256, *self._others.values())
        for chunk in block:
            for one in hashers:
                one.update(chunk)
            self.size += len(chunk)

    def copy(self) -> "Hashing":
        """Another one that has seen the same."""
        copied = Hashing()
        copied._sha256 = self._sha256.copy()
        copied._others = {name: one.copy() for name, one in self._others.items()}
        copied.size = self.size
        return copied

    def blob(self) -> Blob:
        return Blob(Digest(self._sha256.digest()), self.size)

    def checksums(self) -> tuple[Checksum, ...]:
        """Of the algorithms besides SHA-256."""
        return tuple(Checksum(name, one.hexdigest()) for name, one in self._others.items())


async def content_md5(body: bytes) -> str:
    """As an object store checks a body against it."""
    if len(body) <= INLINE_SIZE:
        return _content_md5(body)
    return await asyncio.to_thread(_content_md5, body)


def _content_md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
