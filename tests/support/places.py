"""Places that keep bytes, each with a way past its driver."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from drs_service.blobs.access import Access
from drs_service.blobs.arriving import Sizes
from drs_service.blobs.cloud import CROWD, SIZES, CloudDriver
from drs_service.blobs.cloud_direct import DirectCloudDriver
from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.local import LocalDriver
from drs_service.blobs.memory import MemoryDriver
from drs_service.blobs.opening import open_driver
from drs_service.blobs.owners import OWNERS
from drs_service.blobs.s3 import LEAST_PART
from drs_service.errors import StorageFull
from tests.support.faults import NEVER, FailAfter, Slow

DELAY = 0.001
# The least that S3 takes, so that what is not very long is more than one part, and more than one object.
SMALL_PARTS = Sizes(part=LEAST_PART, largest=2 * LEAST_PART, waiting=1024**2)


class Place(Protocol):
    """A driver, and what can be seen and done behind its back."""

    @property
    def driver(self) -> BlobDriver: ...

    @property
    def tries(self) -> int:
        """How often to try what depends on the moment."""

    def raw_get(self, key: str) -> bytes | None: ...
    def raw_keys(self) -> list[str]: ...
    def truncate(self, key: str, size: int) -> None: ...
    def leftovers(self) -> list[str]:
        """What is staged and was not discarded."""


@dataclass(slots=True)
class MemoryPlace:
    tries: ClassVar[int] = 40
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
    tries: ClassVar[int] = 40
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


class CloudServer(Protocol):
    """A running server with one bucket that all tests share, and a way past our drivers."""

    scheme: str
    bucket: str
    url: str
    no_such_bucket: str
    """What it says where there is none."""
    wrong_secret: str | None
    """What it says to one, if it looks."""
    tries: int

    def access(self, *, url: str | None = None, secret: str | None = None) -> Access: ...
    def settings(self) -> dict[str, str]: ...
    def get(self, name: str) -> bytes | None: ...
    def put(self, name: str, content: bytes) -> None: ...
    def names(self, prefix: str) -> list[str]: ...
    def begun(self, prefix: str) -> list[str]:
        """Objects that were begun by parts, and are not there."""

    def go_away(self) -> None: ...
    def come_back(self) -> None: ...


@dataclass(slots=True)
class CloudPlace:
    """A part of a bucket that nobody else uses."""

    server: CloudServer
    wrap: Callable[[BlobDriver], BlobDriver] = lambda driver: driver
    sizes: Sizes = SIZES
    prefix: str = field(init=False)
    driver: BlobDriver = field(init=False)

    def __post_init__(self) -> None:
        self.prefix = f"{secrets.token_hex(8)}/"
        self.driver = self.wrap(self.another())

    def another(self, *, url: str | None = None, secret: str | None = None, crowd: int = CROWD) -> CloudDriver:
        """As another process would have it."""
        driver = open_driver(self.url, self.server.access(url=url, secret=secret))
        assert isinstance(driver, CloudDriver)
        driver.sizes, driver.crowd = self.sizes, crowd
        return driver

    @property
    def tries(self) -> int:
        return self.server.tries

    @property
    def url(self) -> str:
        return f"{self.server.scheme}://{self.server.bucket}/{self.prefix}"

    def raw_get(self, key: str) -> bytes | None:
        return self.server.get(self.prefix + key)

    def all_keys(self) -> list[str]:
        return [name.removeprefix(self.prefix) for name in self.server.names(self.prefix)]

    def raw_keys(self) -> list[str]:
        return sorted(key for key in self.all_keys() if not key.startswith("staging/"))

    def truncate(self, key: str, size: int) -> None:
        content = self.raw_get(key)
        assert content is not None
        self.server.put(self.prefix + key, content[:size])

    def leftovers(self) -> list[str]:
        staged = [key for key in self.all_keys() if key.startswith("staging/") and not key.startswith(OWNERS)]
        return [*self.server.begun(self.prefix), *staged]


class S3Place(CloudPlace):
    """One to which parts can be brought past us."""

    def another(self, *, url: str | None = None, secret: str | None = None, crowd: int = CROWD) -> DirectCloudDriver:
        driver = CloudPlace.another(self, url=url, secret=secret, crowd=crowd)
        assert isinstance(driver, DirectCloudDriver)
        return driver


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
CLOUDS = ("s3", "azure", "gcs")
"""Fixtures, each a server."""
FILES = "files"
"""A fixture too: fsspec's own file system of this machine."""


CLOCK = "/var/lib/libuuid/"  # of the system's own library, opened when Azure's client first counts a request


def descriptors() -> list[str]:
    """The files this process has open, where the system tells."""
    listing = Path("/proc/self/fd")
    names = list(listing.iterdir()) if listing.exists() else []
    found = sorted(target for name in names if (target := readlink(name)).startswith("/"))
    return [target for target in found if not target.startswith(CLOCK)]


def readlink(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:  # the descriptor of the listing itself
        return ""
