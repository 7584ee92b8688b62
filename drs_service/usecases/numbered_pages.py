"""Tokens of pages that go along a number."""

import base64
import binascii
import re

from drs_service.errors import PageInvalid

_NUMBER = re.compile(rb"[0-9]{1,18}")


def make_token(mark: bytes, number: int) -> str:
    """For the page behind this number. What a token begins with says of which list it is, and of which kind: a later
    kind will have another mark, and this one is still read then.
    """
    return base64.urlsafe_b64encode(mark + str(number).encode("ascii")).decode("ascii").rstrip("=")


def read_token(mark: bytes, token: str) -> int:
    """The number behind which the page begins. PageInvalid for what is no token of ours."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise PageInvalid("The page_token is not one that this service gave.") from error
    if not raw.startswith(mark) or not _NUMBER.fullmatch(raw.removeprefix(mark)):
        raise PageInvalid("The page_token is not one that this service gave.")
    return int(raw.removeprefix(mark))
