"""Conditional requests: entity tags and preconditions (RFC 9110 §8.8.3 and §13).

`etag` is always our own strong entity tag, with its quotes. A condition that is absent holds. One that cannot be read
names no representation at all: If-Match fails, If-None-Match holds, If-Range sends everything.
"""

import re
from enum import Enum, auto

from drs_service.errors import PreconditionFailed

# RFC 9110 §8.8.3: a comma, even a W/, may stand between the quotes; `W/` is case-sensitive. A header arrives as
# latin-1, so that obs-text is U+0080 to U+00FF.
_OPAQUE_TAG = r'"[\x21\x23-\x7e\x80-\xff]*+"'
_TAG = re.compile(rf"(?:W/)?({_OPAQUE_TAG})")
# RFC 9110 §5.6.1.2: a list may have empty elements.
_TAGS = re.compile(rf"[ \t,]*+(?:(?:W/)?{_OPAQUE_TAG}[ \t]*+(?:,[ \t,]*+|\Z))*+")


class Verdict(Enum):
    """What the preconditions make of a GET or HEAD."""

    PROCEED = auto()
    NOT_MODIFIED = auto()


def evaluate(etag: str, *, if_match: str | None = None, if_none_match: str | None = None) -> Verdict:
    """Judge the preconditions of a GET or HEAD for something that exists, in the order of RFC 9110 §13.2.2.

    Raises PreconditionFailed. If-Modified-Since and If-Unmodified-Since have no say: §13.1.3 and §13.1.4 have them
    ignored where "the resource does not have a modification date available". If-Range comes after: `if_range_holds`.
    """
    if not if_match_holds(if_match, etag):
        raise PreconditionFailed(etag=etag)
    return Verdict.PROCEED if if_none_match_holds(if_none_match, etag) else Verdict.NOT_MODIFIED


def if_match_holds(header: str | None, etag: str) -> bool:
    """RFC 9110 §13.1.1: `*`, or one of the listed tags is ours by strong comparison."""
    return header is None or _is_any(header) or etag in (tag[0] for tag in _listed(header))


def if_none_match_holds(header: str | None, etag: str) -> bool:
    """RFC 9110 §13.1.2: not `*`, and none of the listed tags is ours, weak or not."""
    return header is None or not (_is_any(header) or etag in (tag[1] for tag in _listed(header)))


def if_range_holds(header: str | None, etag: str) -> bool:
    """Whether the Range header is to be honoured: If-Range is absent, or is our tag by strong comparison.

    RFC 9110 §13.1.5: a date is compared with Last-Modified, which we do not send; so a date never holds.
    """
    return header is None or header.strip(" \t") == etag


def _is_any(header: str) -> bool:
    return header.strip(" \t") == "*"


def _listed(header: str) -> list[re.Match[str]]:
    return list(_TAG.finditer(header)) if _TAGS.fullmatch(header) else []
