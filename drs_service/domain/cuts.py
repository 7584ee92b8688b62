"""How a file is cut into parts that its sender brings to the place itself."""

import math
from dataclasses import dataclass

from drs_service.domain.ranges import ByteRange

MIB = 1024**2
LEAST_PART = 16 * MIB  # a request of less is not worth its signature
MOST_PARTS = 10_000  # S3's


@dataclass(frozen=True, slots=True)
class Cut:
    """A file of so many bytes in parts of the same size; the last one is what is left. An empty file has one."""

    size: int

    @property
    def part_size(self) -> int:
        return max(LEAST_PART, math.ceil(self.size / MOST_PARTS / MIB) * MIB)

    @property
    def count(self) -> int:
        return max(1, math.ceil(self.size / self.part_size))

    def span_of(self, number: int) -> ByteRange:
        """Where a part lies; they are counted from 1."""
        start = (number - 1) * self.part_size
        return ByteRange(start, min(start + self.part_size, self.size))

    def size_of(self, number: int) -> int:
        """Bytes of a part."""
        return self.span_of(number).length
