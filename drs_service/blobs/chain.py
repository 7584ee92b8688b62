"""Which objects hold the bytes of an upload that waits, and what its mark says of them.

    0Jk3…:500000 0-x9…:500000 0Zq0…:1f4 ~0a7…

Each segment is its tier, a random name and its size in hexadecimal; after them come, with a tilde, the names that only
the mark before this one needs. Segments are never rewritten: a mark finds its own bytes, whoever else writes.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

NAME_BYTES = 9

_SEGMENT = re.compile(r"((\d)[A-Za-z0-9_-]+):([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Segment:
    name: str
    size: int

    @property
    def tier(self) -> int:
        """How often its bytes have been joined with others."""
        return int(self.name[0])


@dataclass(frozen=True, slots=True)
class Chain:
    segments: tuple[Segment, ...] = ()
    superseded: tuple[str, ...] = ()
    """Names of segments of the mark before, whose bytes others hold as well by now."""

    @property
    def size(self) -> int:
        return sum(one.size for one in self.segments)

    @property
    def notes(self) -> str:
        said = [f"{one.name}:{one.size:x}" for one in self.segments]
        return " ".join(said + [f"~{name}" for name in self.superseded])

    @classmethod
    def parse(cls, notes: str) -> "Chain":
        """ValueError."""
        segments: list[Segment] = []
        superseded: list[str] = []
        for word in notes.split():
            if word.startswith("~"):
                superseded.append(word[1:])
            elif match := _SEGMENT.fullmatch(word):
                segments.append(Segment(match[1], int(match[3], 16)))
            else:
                raise ValueError(f"{word!r} is no segment")
        return cls(tuple(segments), tuple(superseded))


def new_name(tier: int) -> str:
    return f"{tier}{secrets.token_urlsafe(NAME_BYTES)}"


def crowd(segments: Sequence[Segment], most: int) -> int:
    """How many segments at the end are to be joined into one of the next tier, lest there be too many; 0 if none.

    So a byte is copied once a tier, and of each tier there are fewer than `most`.
    """
    if not segments or segments[-1].tier == 9:
        return 0
    tier = segments[-1].tier
    count = next(
        (number for number, one in enumerate(reversed(segments)) if one.tier != tier),
        len(segments),
    )
    return count if count >= most else 0
