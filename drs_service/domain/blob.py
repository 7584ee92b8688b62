"""What is known of a run of bytes once it has been read to its end."""

from dataclasses import dataclass

from drs_service.domain.digest import Digest


@dataclass(frozen=True, slots=True)
class Blob:
    """A run of bytes, named by its digest."""

    digest: Digest
    size: int
    """Bytes."""
