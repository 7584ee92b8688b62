"""Byte ranges: what a Range header asks of a representation (RFC 9110 §14)."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from drs_service.errors import RangeNotSatisfiable

MAX_RANGES = 64
"""More ranges than this in one request are refused."""

# RFC 9110 §15.3.7.2: "the typical overhead between each part of a multipart/byteranges is around 80 bytes".
_PART_OVERHEAD = 80

# int() of thousands of digits is slow and refused by Python. No representation has 10^20 bytes.
_MAX_DIGITS = 20
_BEYOND_ANY_SIZE = 10**_MAX_DIGITS

# RFC 9110 §14.1.2: int-range / suffix-range. `-` alone is neither.
_SPEC = re.compile(r"(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+)")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from start up to, and without, end. May be empty."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"[{self.start}, {self.end}) is not a range of bytes")

    @property
    def length(self) -> int:
        return self.end - self.start

    def content_range(self, size: int) -> str:
        """The Content-Range of this part of `size` bytes. ValueError for what RFC 9110 §14.4 cannot say."""
        if not self.start < self.end <= size:
            raise ValueError(f"[{self.start}, {self.end}) cannot be a part of {size} bytes")
        return f"bytes {self.start}-{self.end - 1}/{size}"


def unsatisfied_content_range(size: int) -> str:
    """The Content-Range that goes with a 416."""
    return f"bytes */{size}"


def parse_ranges(header: str | None, size: int) -> tuple[ByteRange, ...] | None:
    """The ranges to send of a representation of `size` bytes; None means all of it, as if nothing had been asked.

    They come in the order of the request, or sorted where ranges that touch were merged. RangeNotSatisfiable, with
    the fact `size`, when no range lies within the representation or when they are more than MAX_RANGES.
    """
    specs = None if header is None else _specs(header)
    if specs is None:
        return None
    if len(specs) > MAX_RANGES:
        # RFC 9110 §15.5.17: 416 also for "an excessive request of small or overlapping ranges".
        raise RangeNotSatisfiable(f"More than {MAX_RANGES} ranges were asked for.", size=size)
    ranges = [found for spec in specs if (found := spec.within(size)) is not None]
    if not ranges:
        raise RangeNotSatisfiable(size=size)
    return _coalesced(ranges)


class _Spec(NamedTuple):
    """What one element of the set asks: from first to last, to the end, or the last `suffix` bytes."""

    first: int | None
    last: int | None
    suffix: int | None

    @property
    def valid(self) -> bool:
        # RFC 9110 §14.1.1: "An int-range is invalid if the last-pos value is present and less than first-pos."
        return self.first is None or self.last is None or self.first <= self.last

    def within(self, size: int) -> ByteRange | None:
        """The bytes asked for, or None if the representation has none of them."""
        if self.first is not None:
            start, end = self.first, size if self.last is None else min(self.last + 1, size)
        else:
            # RFC 9110 §14.1.2: "If the selected representation is shorter than the specified suffix-length, the
            # entire representation is used." Of an empty one nothing is left that a Content-Range could name.
            start, end = max(0, size - (self.suffix or 0)), size
        return ByteRange(start, end) if start < end else None


def _specs(header: str) -> list[_Spec] | None:
    """The elements of a valid set of byte ranges. None for any other: RFC 9110 §14.2 lets us ignore it."""
    unit, _, range_set = header.strip(" \t").partition("=")
    if unit.lower() != "bytes":
        return None
    # RFC 9110 §5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements".
    elements = [element for raw in range_set.split(",") if (element := raw.strip(" \t"))]
    specs = [_spec(element) for element in elements]
    valid = [spec for spec in specs if spec is not None and spec.valid]
    return valid if specs and len(valid) == len(specs) else None


def _spec(element: str) -> _Spec | None:
    match = _SPEC.fullmatch(element)
    return _Spec(*(_number(match[name]) for name in _Spec._fields)) if match else None


def _number(digits: str | None) -> int | None:
    if not digits:
        return None
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _MAX_DIGITS else _BEYOND_ANY_SIZE


def _coalesced(ranges: list[ByteRange]) -> tuple[ByteRange, ...]:
    # RFC 9110 §15.3.7.2: "a server MAY coalesce any of the ranges that overlap, or that are separated by a gap that is
    # smaller than the overhead of sending multiple parts, regardless of the order". Otherwise it "ought to send the
    # parts in the same order that the corresponding range-spec appeared".
    merged: list[ByteRange] = []
    for span in sorted(ranges, key=lambda span: span.start):
        if merged and span.start - merged[-1].end < _PART_OVERHEAD:
            merged[-1] = ByteRange(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return tuple(merged if len(merged) < len(ranges) else ranges)
