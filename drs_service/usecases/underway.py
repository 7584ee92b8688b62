"""What somebody has begun to upload and not finished, page by page."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from drs_service.db import uploads
from drs_service.db.pool import Database
from drs_service.domain.access import Principal, is_somebody
from drs_service.domain.uploads import Upload
from drs_service.usecases.numbered_pages import make_token, read_token

MARK = b"u1:"
FINGERPRINT_DIGITS = 16


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
        after = read_token(MARK, token) if token is not None else 0
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
        return Page(listed, make_token(MARK, found[size - 1].number) if len(found) > size else None)


def fingerprint(upload: Upload) -> str:
    """Of the id, which is too long to be guessed from it."""
    return hashlib.sha256(upload.id.encode()).hexdigest()[:FINGERPRINT_DIGITS]
