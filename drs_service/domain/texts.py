"""Texts that clients give: descriptions, versions, aliases, tags."""

import unicodedata
from collections.abc import Iterable, Mapping

from drs_service.errors import TextInvalid, TooMany

MAX_DESCRIPTION = 8192
MAX_VERSION = 255
MAX_ALIAS = 255
MAX_ALIASES = 100
MAX_REASON = 1024
MAX_TAG_KEY = 255
MAX_TAG_VALUE = 1024
MAX_TAGS = 100

_CONTROLS = {"Cc", "Cs"}
_LINES = {"\n", "\r", "\t"}


def text(value: str, *, what: str, most: int, lines: bool = False) -> str:
    """The value as it is; TextInvalid if it is empty, longer than most characters, or has control characters.

    lines: whether it may have line ends and tabs.
    """
    if not value:
        raise TextInvalid(f"The {what} is empty.")
    return clean(value, what=what, most=most, lines=lines)


def clean(value: str, *, what: str, most: int, lines: bool = False) -> str:
    """The same, but it may be empty."""
    if len(value) > most:
        raise TextInvalid(f"The {what} is longer than {most} characters.")
    # PostgreSQL keeps no U+0000, and no half of a surrogate pair.
    if any(unicodedata.category(one) in _CONTROLS and not (lines and one in _LINES) for one in value):
        raise TextInvalid(f"The {what} contains a control character.")
    return value


def aliases(values: Iterable[str]) -> tuple[str, ...]:
    """Each once. TextInvalid, TooMany."""
    found = tuple(dict.fromkeys(text(one, what="alias", most=MAX_ALIAS) for one in values))
    if len(found) > MAX_ALIASES:
        raise TooMany(f"An object has at most {MAX_ALIASES} aliases.")
    return found


def tags(values: Mapping[str, str]) -> dict[str, str]:
    """TextInvalid, TooMany."""
    if len(values) > MAX_TAGS:
        raise TooMany(f"An object has at most {MAX_TAGS} tags.")
    return {
        text(key, what="key of a tag", most=MAX_TAG_KEY): clean(value, what="value of a tag", most=MAX_TAG_VALUE)
        for key, value in values.items()
    }
