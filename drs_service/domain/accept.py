"""The Accept header: which of the media types that there are a client would rather have (RFC 9110 12.5.1)."""

import re
from collections.abc import Iterator, Sequence

_TCHARS = r"[A-Za-z0-9!#$%&'*+.^_`|~-]++"  # RFC 9110 5.6.2: token
_QUOTED_STRING = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'  # 5.6.4
_PARAMETERS = rf"(?:[ \t]*+;[ \t]*+(?:{_TCHARS}=(?:{_TCHARS}|{_QUOTED_STRING}))?+)*+"
_RANGE = re.compile(rf"({_TCHARS})/({_TCHARS})({_PARAMETERS})[ \t]*+(?=,|\Z)")
_PARAMETER = re.compile(rf"({_TCHARS})=({_TCHARS}|{_QUOTED_STRING})")
# 12.4.2 wants a digit before the point; Java's own client has sent `q=.2` for decades.
_QVALUE = re.compile(r"1(?:\.0*)?|0?\.\d+|0\.?")


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """The media type with the greatest weight, the first of those that share it; None if none is acceptable.

    Without the header, or with an empty one, everything is acceptable. What cannot be read in it counts for nothing,
    nor do parameters but `q`: what is offered has none.
    """
    if accept is None or not accept.strip(" \t,"):
        return offered[0]
    ranges = list(_ranges(accept))
    weights = [_weight(kind, ranges) for kind in offered]
    greatest = max(weights)
    return offered[weights.index(greatest)] if greatest > 0 else None


def _weight(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Of the most specific range that holds kind; 0 if none does."""
    for wanted in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        weights = [weight for one, weight in ranges if one == wanted]
        if weights:
            return max(weights)
    return 0.0


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Each media range in lower case, with its weight."""
    at = 0
    while at < len(accept):
        found = _RANGE.match(accept, at)
        if found is not None:
            weight = next((value for name, value in _PARAMETER.findall(found[3]) if name.lower() == "q"), "1")
            if _QVALUE.fullmatch(weight):
                yield f"{found[1]}/{found[2]}".lower(), float(weight)
            at = found.end() + 1
        elif accept[at] in " \t,":
            at += 1
        else:
            at = (accept.find(",", at) + 1) or len(accept)
