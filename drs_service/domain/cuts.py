"""How a file is cut into parts that its sender brings to the place itself."""

import math
from dataclasses import dataclass

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

    def size_of(self, number: int) -> int:
        """Bytes of a part; they are counted from 1."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)
