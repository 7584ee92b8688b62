"""Places that keep bytes, each with a way past its driver."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.local import LocalDriver
from drs_service.blobs.memory import MemoryDriver
from drs_service.errors import StorageFull
from tests.support.faults import NEVER, FailAfter, Slow

DELAY = 0.001


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
