"""From a storage URL to a store: the one place that knows which drivers there are and what is stacked on them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.local import LocalDriver
from drs_service.blobs.memory import MemoryDriver
from drs_service.blobs.store import BlobStore
from drs_service.errors import SettingsInvalid

PRIMARY = "primary"


def open_store(url: str, *, max_bytes: int) -> BlobStore:
    """The store at url: `file:///absolute/path`, or `memory:` for one process and its lifetime."""
    return BlobStore(open_driver(url), place=PRIMARY, max_bytes=max_bytes)


def open_driver(url: str) -> BlobDriver:
    parts = urlsplit(url)
    match parts.scheme:
        case "file" if parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
            return LocalDriver(Path(unquote(parts.path)))
        case "memory":
            return MemoryDriver()
        case _:
            raise SettingsInvalid(f"no driver for the storage URL {url!r}: use file:///absolute/path or memory:")
