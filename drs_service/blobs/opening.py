"""From a storage URL to a store: the one place that knows which drivers there are and what is stacked on them."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from drs_service.blobs.access import S3Access
from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.local import LocalDriver
from drs_service.blobs.memory import MemoryDriver
from drs_service.blobs.store import BlobStore
from drs_service.domain.replication import Rule
from drs_service.errors import SettingsInvalid

PRIMARY = "primary"
NO_S3 = S3Access()


def open_store(
    url: str, *, max_bytes: int, s3: S3Access = NO_S3, place: str = PRIMARY, replicas: Sequence[Rule] = ()
) -> BlobStore:
    """The store at url: `file:///absolute/path`, `s3://bucket/prefix`, or `memory:` for one process and its lifetime.

    Nothing is asked of it yet.
    """
    return BlobStore(open_driver(url, s3=s3), place=place, max_bytes=max_bytes, replicas=replicas)


def open_driver(url: str, *, s3: S3Access = NO_S3) -> BlobDriver:
    parts = urlsplit(url)
    match parts.scheme:
        case "file" if parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
            return LocalDriver(Path(unquote(parts.path)))
        case "s3" if parts.netloc:
            return open_s3(parts.netloc, unquote(parts.path), s3)
        case "memory":
            return MemoryDriver()
        case _:
            raise SettingsInvalid(
                f"no driver for the storage URL {url!r}: use file:///absolute/path, s3://bucket/prefix or memory:"
            )


def open_s3(bucket: str, path: str, access: S3Access) -> BlobDriver:
    # Here, because they take a fifth of a second to import, and most services do without.
    from drs_service.blobs.cloud_direct import DirectCloudDriver
    from drs_service.blobs.s3 import S3Bucket

    prefix = path.strip("/")
    return DirectCloudDriver(S3Bucket(bucket, f"{prefix}/" if prefix else "", access))
