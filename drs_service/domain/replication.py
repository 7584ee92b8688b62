"""Which places get a copy of which blobs, as an operator says it.

    mirror cold:size>=1000000,type=image/*

A rule is a place and what must hold, all of it; without conditions everything is copied there. Two rules of one place
are two reasons for a copy. size is of the blob; space and type are of an object: one that has the bytes is enough.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drs_service.domain.places import check_name

CONDITION = re.compile(r"(?P<size>size)(?P<compared>>=|<=)(?P<bytes>\d{1,18})|(?P<what>space|type)=(?P<value>[!-~]+)")
SPACE = re.compile(r"[A-Za-z0-9._~-]{1,128}")
TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/(\*|[A-Za-z0-9!#$&^_.+-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A reason for a copy in a place."""

    place: str
    least: int | None = None
    most: int | None = None
    space: str | None = None
    media_type: str | None = None
    """In lower case; perhaps `image/*`."""

    def fits(self, size: int) -> bool:
        """Whether a blob of this size may be one of those."""
        return (self.least is None or size >= self.least) and (self.most is None or size <= self.most)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """ValueError."""
    return tuple(parse_rule(one) for one in text.split())


def parse_rule(text: str) -> Rule:
    place, colon, rest = text.partition(":")
    check_name(place)
    found: dict[str, str] = {}
    for one in rest.split(",") if colon else []:
        match = CONDITION.fullmatch(one)
        if match is None:
            raise ValueError(f"{one!r} is none of size>=BYTES, size<=BYTES, space=NAME, type=MAJOR/MINOR, type=MAJOR/*")
        name = match["what"] or ("least" if match["compared"] == ">=" else "most")
        if name in found:
            raise ValueError(f"{text!r} says {name} twice: two rules are two reasons")
        found[name] = match["value"] or match["bytes"]
    if "space" in found and not SPACE.fullmatch(found["space"]):
        raise ValueError(f"{found['space']!r} is not a space")
    if "type" in found and not TYPE.fullmatch(found["type"]):
        raise ValueError(f"{found['type']!r} is neither a media type nor major/*")
    return Rule(
        place=place,
        least=int(found["least"]) if "least" in found else None,
        most=int(found["most"]) if "most" in found else None,
        space=found.get("space"),
        media_type=found["type"].lower() if "type" in found else None,
    )


def places_for(rules: Sequence[Rule], size: int) -> list[str]:
    """Where a blob of this size may be wanted, each once."""
    return list(dict.fromkeys(one.place for one in rules if one.fits(size)))
