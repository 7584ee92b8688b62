"""From a storage URL to a store: the one place that knows which drivers there are and what is stacked on them."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from drs_service.blobs.access import Access, FsspecAccess, S3Access
from drs_service.blobs.bucket import Bucket
from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.external import ExternalFiles, SignsExternal
from drs_service.blobs.external_bucket import ExternalBucket
from drs_service.blobs.external_directory import ExternalDirectory
from drs_service.blobs.external_driver import ExternalDriver, Locate, SigningExternalDriver
from drs_service.blobs.local import LocalDriver
from drs_service.blobs.memory import MemoryDriver
from drs_service.blobs.store import BlobStore
from drs_service.domain.replication import Rule
from drs_service.errors import SettingsInvalid

PRIMARY = "primary"
PLACES = "file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, memory:"
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


def open_external(url: str, locate: Locate, *, place: str, access: Access = NOTHING_SAID) -> BlobStore:
    """The same of files that others have put below url, and that are only read. locate says where a digest's are."""
    files = open_files(url, access)
    driver = SigningExternalDriver(files, locate) if isinstance(files, SignsExternal) else ExternalDriver(files, locate)
    return BlobStore(driver, place=place, max_bytes=0)


def open_files(url: str, access: Access = NOTHING_SAID) -> ExternalFiles:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return ExternalDirectory(Path(unquote(parts.path, errors="surrogateescape")))
    bucket = open_bucket(url, access)
    if bucket is None:
        raise SettingsInvalid(f"nobody else can put files into {url!r}")
    return ExternalBucket(bucket)


def open_driver(url: str, access: Access = NOTHING_SAID) -> BlobDriver:
    parts = urlsplit(url)
    match parts.scheme:
        case "file" if parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
            return LocalDriver(Path(unquote(parts.path)))
        case "s3" if parts.netloc:
            return open_direct(parts.netloc, prefix_of(parts.path), access.s3)
        case "memory":
            return MemoryDriver()
        case _ if (bucket := open_bucket(url, access)) is not None:
            return open_cloud(bucket)
        case protocol if protocol in access.fsspec.protocols:
            return open_fsspec(url, access.fsspec)
        case _:
            raise SettingsInvalid(f"no driver for the storage URL {url!r}: use {PLACES}")


# They import where they are needed: that takes up to a fifth of a second, and most services do without.


def open_bucket(url: str, access: Access) -> Bucket | None:
    """None if the URL is of no bucket."""
    parts = urlsplit(url)
    prefix = prefix_of(parts.path)
    match parts.scheme:
        case "s3" if parts.netloc:
            from drs_service.blobs.s3 import S3Bucket

            return S3Bucket(parts.netloc, prefix, access.s3)
        case "gs" if parts.netloc:
            from drs_service.blobs.gcs import GcsBucket

            return GcsBucket(parts.netloc, prefix, access.gcs)
        case "az" | "abfs" if parts.netloc:
            from drs_service.blobs.azure import AzureBucket

            return AzureBucket(parts.netloc, prefix, access.azure)
    return None


def open_direct(bucket: str, prefix: str, access: S3Access) -> BlobDriver:
    from drs_service.blobs.cloud_direct import DirectCloudDriver
    from drs_service.blobs.s3 import S3Bucket

    return DirectCloudDriver(S3Bucket(bucket, prefix, access))


def open_cloud(bucket: Bucket) -> BlobDriver:
    from drs_service.blobs.azure import AzureBucket
    from drs_service.blobs.cloud import CloudDriver
    from drs_service.blobs.cloud_thawing import ThawingCloudDriver

    return ThawingCloudDriver(bucket) if isinstance(bucket, AzureBucket) else CloudDriver(bucket)


def open_fsspec(url: str, access: FsspecAccess) -> BlobDriver:
    from drs_service.blobs.cloud import CloudDriver
    from drs_service.blobs.fsspec_bucket import FsspecBucket
    from drs_service.blobs.fsspec_connecting import connecting

    return CloudDriver(FsspecBucket(*connecting(url, access)))


def prefix_of(path: str) -> str:
    prefix = unquote(path).strip("/")
    return f"{prefix}/" if prefix else ""
