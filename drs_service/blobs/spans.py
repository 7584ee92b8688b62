"""Spans of objects: what to copy by one request each, and whether a store gave the one that it was asked for."""

import math
from collections.abc import Iterator, Sequence

from drs_service.blobs.bucket import Source
from drs_service.errors import BlobCorrupt, StorageUnavailable


def spans(sources: Sequence[Source], *, size: int, most: int) -> Iterator[tuple[str, int, int]]:
    """Sources in pieces of nearly the same size: of about `size` bytes, or more lest there be more than `most`."""
    largest = max(size, sum(one.size for one in sources) // (most - len(sources)) + 1)
    for one in sources:
        count = math.ceil(one.size / largest)
        for number in range(count):
            yield one.name, one.size * number // count, one.size * (number + 1) // count


def check_given(name: str, start: int, end: int, *, content_range: str | None, length: str | int | None) -> None:
    """See by the headers of an answer that its body is the bytes [start, end).

    BlobCorrupt if the object ends before. StorageUnavailable, refused, if the store gives something else: some ignore
    Range for what they decompress on the way.
    """
    if content_range is None:
        given = start == 0 and str(length) == str(end)
    else:
        said, _, size = content_range.partition("/")
        given = said == f"bytes {start}-{end - 1}"
        if not given and size.isdecimal() and int(size) < end:
            raise BlobCorrupt(key=name, ends=int(size))
    if not given:
        raise StorageUnavailable(
            "The storage does not give the bytes of a file as they are stored.",
            reason=f"{name}: asked for {start}-{end - 1}, given {content_range or 'the whole'}, length {length}",
            refused=True,
        )
