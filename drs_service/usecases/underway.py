"""What somebody has begun to upload and not finished, page by page."""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from drs_service.db import uploads
from drs_service.db.pool import Database
from drs_service.domain.access import Principal, is_somebody
from drs_service.domain.uploads import Upload
from drs_service.errors import PageInvalid

# What a token begins with. A later kind of token will have another beginning, and this one is still read then.
MARK = b"u1:"
FINGERPRINT_DIGITS = 16
_NUMBER = re.compile(rb"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Underway:
    fingerprint: str
    """Tells one upload from another, and opens none."""
    id: str | None
    """The right to it; None for who is not known to be its owner."""
    started_at: datetime
    upload: Upload


@dataclass(frozen=True, slots=True)
class Page:
    uploads: Sequence[Underway]
    next_token: str | None
    """None at the end."""


class UploadsUnderway:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, principal: Principal, *, size: int, token: str | None) -> Page:
        """Unfinished uploads of principal, oldest first. PageInvalid.

        Everybody is anonymous who is not identified, and who knows the id of an upload may send to it and delete it:
        so ids are told to somebody alone.
        """
        after = read_token(token) if token is not None else 0
        async with self._database.connection() as connection:
            # One more than asked for tells whether there is a next page.
            found = await uploads.unfinished(connection, principal.id, after=after, limit=size + 1)
        listed = [
            Underway(
                fingerprint=fingerprint(one.upload),
                id=one.upload.id if is_somebody(principal) else None,
                started_at=one.started_at,
                upload=one.upload,
            )
            for one in found[:size]
        ]
        return Page(listed, make_token(found[size - 1].number) if len(found) > size else None)


def fingerprint(upload: Upload) -> str:
    """Of the id, which is too long to be guessed from it."""
    return hashlib.sha256(upload.id.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def make_token(number: int) -> str:
    return base64.urlsafe_b64encode(MARK + str(number).encode("ascii")).decode("ascii").rstrip("=")


def read_token(token: str) -> int:
    """The number behind which the page begins. PageInvalid for what is no token of ours."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise PageInvalid("The page_token is not one that this service gave.") from error
    if not raw.startswith(MARK) or not _NUMBER.fullmatch(raw.removeprefix(MARK)):
        raise PageInvalid("The page_token is not one that this service gave.")
    return int(raw.removeprefix(MARK))
