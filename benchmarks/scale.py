"""How much is measured: enough to trust the ratios, or just enough to see that everything runs."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    rounds: int
    seconds: int
    """of load in one round of requests"""
    few_objects: int
    many_objects: int
    file_size: int
    """of one file that is fetched or sent"""
    shared_size: int
    """fetched by each of many clients at once"""
    archived_size: int
    """of each of the files of an archive"""
    upload_size: int
    """sent by each of many clients at once"""
    long_upload_size: int
    s3_size: int
    """of one file that is sent to S3 and fetched from there"""
    s3_objects: int
    slow_senders: int
    slow_seconds: int
    """of other requests while these send"""
    jobs: int
    adopted_files: int


FULL = Scale(
    rounds=5,
    seconds=3,
    few_objects=10_000,
    many_objects=1_000_000,
    file_size=GIB,
    shared_size=64 * MIB,
    archived_size=64 * MIB,
    upload_size=256 * MIB,
    long_upload_size=10 * GIB,
    s3_size=GIB,
    s3_objects=2_000,
    slow_senders=1_000,
    slow_seconds=10,
    jobs=30_000,
    adopted_files=100_000,
)
QUICK = Scale(
    rounds=1,
    seconds=1,
    few_objects=1_000,
    many_objects=20_000,
    file_size=64 * MIB,
    shared_size=2 * MIB,
    archived_size=4 * MIB,
    upload_size=4 * MIB,
    long_upload_size=64 * MIB,
    s3_size=64 * MIB,
    s3_objects=200,
    slow_senders=100,
    slow_seconds=2,
    jobs=2_000,
    adopted_files=2_000,
)
