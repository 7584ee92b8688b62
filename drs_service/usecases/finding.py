"""Finding objects by their tags or their checksums, page by page."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from drs_service.db import listing, objects
from drs_service.db.pool import Connection, Database
from drs_service.domain.access import Principal, readable_spaces
from drs_service.domain.object_ids import is_object_id
from drs_service.domain.objects import DrsObject
from drs_service.errors import PageInvalid

# What a token begins with. A later kind of token will have another beginning, and this one is still read then.
MAX_ENTRIES = 100_000  # members of bundles in one page; one bundle may have more
MARK = b"1:"


@dataclass(frozen=True, slots=True)
class Page:
    objects: list[DrsObject]
    next_token: str | None
    """None at the end."""


class Finding:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def tagged(
        self, principal: Principal, tags: Sequence[tuple[str, str | None]], *, size: int, token: str | None
    ) -> Page:
        """Objects that principal may read and that have all the tags, with the value stated or any; oldest first."""

        async def search(connection: Connection, after: str, limit: int) -> list[str]:
            spaces = readable_spaces(principal)
            if tags:
                return await listing.ids_tagged(connection, spaces, tags, after=after, limit=limit)
            return await listing.ids_in(connection, spaces, after=after, limit=limit)

        return await self._page(search, size, token)

    async def with_checksum(
        self, principal: Principal, value: str, algorithm: str | None, *, size: int, token: str | None
    ) -> Page:
        """Objects that principal may read with this checksum, of one algorithm or of any."""
        digest = bytes.fromhex(value) if len(value) == 64 and set(value) <= set("0123456789abcdef") else None

        async def search(connection: Connection, after: str, limit: int) -> list[str]:
            return await listing.ids_with_checksum(
                connection, readable_spaces(principal), value, algorithm, digest=digest, after=after, limit=limit
            )

        return await self._page(search, size, token)

    async def _page(
        self, search: Callable[[Connection, str, int], Awaitable[list[str]]], size: int, token: str | None
    ) -> Page:
        after = read_token(token) if token is not None else ""
        async with self._database.connection() as connection:
            # One more than asked for tells whether there is a next page.
            ids = await search(connection, after, size + 1)
            rows = await objects.select(connection, ids[:size])
        # Between the two queries any of them may have been deleted.
        last = self._end(ids[:size], rows)
        found = [one for object_id in ids[:last] if (one := rows.get(object_id)) is not None and one.tombstone is None]
        return Page(found, make_token(ids[last - 1]) if len(ids) > last else None)

    def _end(self, ids: Sequence[str], rows: Mapping[str, DrsObject]) -> int:
        """How many of ids a page has room for: bundles bring their members along."""
        entries = 0
        for number, object_id in enumerate(ids):
            entries += (rows[object_id].entries or 0) if object_id in rows else 0
            if number and entries > MAX_ENTRIES:
                return number
        return len(ids)


def make_token(last: str) -> str:
    return base64.urlsafe_b64encode(MARK + last.encode("ascii")).decode("ascii").rstrip("=")


def read_token(token: str) -> str:
    """The id behind which the page begins. PageInvalid for what is no token of ours."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        last = raw.removeprefix(MARK).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise PageInvalid("The page_token is not one that this service gave.") from error
    if not raw.startswith(MARK) or not is_object_id(last):
        raise PageInvalid("The page_token is not one that this service gave.")
    return last
