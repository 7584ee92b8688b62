"""Places that keep bytes, each with a way past its driver."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from drs_service.blobs.arriving import Sizes
from drs_service.blobs.cloud import SIZES
from drs_service.blobs.cloud_direct import DirectCloudDriver
from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.local import LocalDriver
from drs_service.blobs.memory import MemoryDriver
from drs_service.blobs.owners import OWNERS
from drs_service.blobs.s3 import LEAST_PART, S3Bucket
from drs_service.errors import StorageFull
from tests.support.faults import NEVER, FailAfter, Slow
from tests.support.s3 import S3Server

DELAY = 0.001
# The least that S3 takes, so that what is not very long is more than one part, and more than one object.
SMALL_PARTS = Sizes(part=LEAST_PART, largest=2 * LEAST_PART)


class Place(Protocol):
    """A driver, and what can be seen and done behind its back."""

    @property
    def driver(self) -> BlobDriver: ...

    def raw_get(self, key: str) -> bytes | None: ...
    def raw_keys(self) -> list[str]: ...
    def truncate(self, key: str, size: int) -> None: ...
    def leftovers(self) -> list[str]:
        """What is staged and was not discarded."""


@dataclass(slots=True)
class MemoryPlace:
    kept: MemoryDriver = field(default_factory=MemoryDriver)
    wrap: Callable[[BlobDriver], BlobDriver] = lambda driver: driver
    driver: BlobDriver = field(init=False)

    def __post_init__(self) -> None:
        self.driver = self.wrap(self.kept)

    def raw_get(self, key: str) -> bytes | None:
        return self.kept._kept[key][0] if key in self.kept._kept else None

    def raw_keys(self) -> list[str]:
        return sorted(self.kept._kept)

    def truncate(self, key: str, size: int) -> None:
        content, published = self.kept._kept[key]
        self.kept._kept[key] = content[:size], published

    def leftovers(self) -> list[str]:
        return []


@dataclass(slots=True)
class LocalPlace:
    root: Path
    wrap: Callable[[BlobDriver], BlobDriver] = lambda driver: driver
    driver: BlobDriver = field(init=False)

    def __post_init__(self) -> None:
        self.driver = self.wrap(LocalDriver(self.root))

    def raw_get(self, key: str) -> bytes | None:
        path = self.root / key
        return path.read_bytes() if path.exists() else None

    def raw_keys(self) -> list[str]:
        files = [path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()]
        return sorted(str(path) for path in files if path.parts[0] != "staging")

    def truncate(self, key: str, size: int) -> None:
        (self.root / key).chmod(0o600)
        os.truncate(self.root / key, size)

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.root.glob("staging/*/*")]


@dataclass(slots=True)
class S3Place:
    """A part of a bucket that nobody else uses."""

    server: S3Server
    wrap: Callable[[BlobDriver], BlobDriver] = lambda driver: driver
    sizes: Sizes = SIZES
    bucket: str = field(init=False)
    prefix: str = field(init=False)
    driver: BlobDriver = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = self.server.shared_bucket()
        self.prefix = f"{secrets.token_hex(8)}/"
        self.driver = self.wrap(self.another())

    def another(self) -> DirectCloudDriver:
        """As another process would have it."""
        return DirectCloudDriver(S3Bucket(self.bucket, self.prefix, self.server.access), sizes=self.sizes)

    def raw_get(self, key: str) -> bytes | None:
        try:
            content: bytes = self.server.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()
        except self.server.client.exceptions.NoSuchKey:
            return None
        return content

    def all_keys(self) -> list[str]:
        pages = self.server.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return [one["Key"].removeprefix(self.prefix) for page in pages for one in page.get("Contents", ())]

    def raw_keys(self) -> list[str]:
        return sorted(key for key in self.all_keys() if not key.startswith("staging/"))

    def truncate(self, key: str, size: int) -> None:
        content = self.raw_get(key)
        assert content is not None
        self.server.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=content[:size])

    def leftovers(self) -> list[str]:
        begun = self.server.client.list_multipart_uploads(Bucket=self.bucket, Prefix=self.prefix).get("Uploads", ())
        staged = [key for key in self.all_keys() if key.startswith("staging/")]
        return [*(one["Key"] for one in begun), *(key for key in staged if not key.startswith(OWNERS))]


def never_failing(driver: BlobDriver) -> BlobDriver:
    return FailAfter(driver, NEVER, StorageFull())


def slow(driver: BlobDriver) -> BlobDriver:
    return Slow(driver, DELAY)


PLACES: dict[str, Callable[[Path], Place]] = {
    "memory": lambda _: MemoryPlace(),
    "local": lambda root: LocalPlace(root),
    "slow memory": lambda _: MemoryPlace(wrap=slow),
    "never failing local": lambda root: LocalPlace(root, wrap=never_failing),
}
S3_PLACES: dict[str, Callable[[S3Server], Place]] = {
    "s3": lambda server: S3Place(server, sizes=SMALL_PARTS),
}


def descriptors() -> list[str]:
    """The files this process has open, where the system tells."""
    listing = Path("/proc/self/fd")
    names = list(listing.iterdir()) if listing.exists() else []
    return sorted(target for name in names if (target := readlink(name)).startswith("/"))


def readlink(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:  # the descriptor of the listing itself
        return ""
