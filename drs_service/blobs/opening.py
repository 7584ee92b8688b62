"""From a storage URL to a store: the one place that knows which drivers there are and what is stacked on them."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from drs_service.blobs.access import Access, AzureAccess, GcsAccess, S3Access
from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.local import LocalDriver
from drs_service.blobs.memory import MemoryDriver
from drs_service.blobs.store import BlobStore
from drs_service.domain.replication import Rule
from drs_service.errors import SettingsInvalid

PRIMARY = "primary"
PLACES = "file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory:"
NOTHING_SAID = Access()


def open_store(
    url: str,
    *,
    max_bytes: int,
    access: Access = NOTHING_SAID,
    place: str = PRIMARY,
    replicas: Sequence[Rule] = (),
) -> BlobStore:
    """The store at url, which is one of PLACES; `memory:` is for one process and its lifetime.

    Nothing is asked of it yet. SettingsInvalid.
    """
    return BlobStore(open_driver(url, access), place=place, max_bytes=max_bytes, replicas=replicas)


def open_driver(url: str, access: Access = NOTHING_SAID) -> BlobDriver:
    parts = urlsplit(url)
    prefix = unquote(parts.path).strip("/")
    prefix = f"{prefix}/" if prefix else ""
    match parts.scheme:
        case "file" if parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
            return LocalDriver(Path(unquote(parts.path)))
        case "s3" if parts.netloc:
            return open_s3(parts.netloc, prefix, access.s3)
        case "gs" if parts.netloc:
            return open_gcs(parts.netloc, prefix, access.gcs)
        case "az" | "abfs" if parts.netloc:
            return open_azure(parts.netloc, prefix, access.azure)
        case "memory":
            return MemoryDriver()
        case _:
            raise SettingsInvalid(f"no driver for the storage URL {url!r}: use {PLACES}")


# They import where they are needed: that takes up to a fifth of a second, and most services do without.


def open_s3(bucket: str, prefix: str, access: S3Access) -> BlobDriver:
    from drs_service.blobs.cloud_direct import DirectCloudDriver
    from drs_service.blobs.s3 import S3Bucket

    return DirectCloudDriver(S3Bucket(bucket, prefix, access))


def open_gcs(bucket: str, prefix: str, access: GcsAccess) -> BlobDriver:
    from drs_service.blobs.cloud import CloudDriver
    from drs_service.blobs.gcs import GcsBucket

    return CloudDriver(GcsBucket(bucket, prefix, access))


def open_azure(container: str, prefix: str, access: AzureAccess) -> BlobDriver:
    from drs_service.blobs.azure import AzureBucket
    from drs_service.blobs.cloud_thawing import ThawingCloudDriver

    return ThawingCloudDriver(AzureBucket(container, prefix, access))
