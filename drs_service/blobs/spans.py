"""What to copy by one request each."""

import math
from collections.abc import Iterator, Sequence

from drs_service.blobs.bucket import Source


def spans(sources: Sequence[Source], *, size: int, most: int) -> Iterator[tuple[str, int, int]]:
    """Sources in pieces of nearly the same size: of about `size` bytes, or more lest there be more than `most`."""
    largest = max(size, sum(one.size for one in sources) // (most - len(sources)) + 1)
    for one in sources:
        count = math.ceil(one.size / largest)
        for number in range(count):
            yield one.name, one.size * number // count, one.size * (number + 1) // count
