"""Who has staged what in a bucket, and whether it still lives.

    staging/owners/<owner>           empty; written again every few minutes by a process that has something staged
    staging/parts/<owner>/<random>   on their way in

No bucket knows which processes live, so an owner is taken for gone that has given no sign of life for a day. The sign
is given by whoever stages, with what it stages: a process that does nothing needs none.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from drs_service.blobs.bucket import Bucket, Found

STAGING = "staging/"
OWNERS = f"{STAGING}owners/"
PARTS = f"{STAGING}parts/"
SIGN_EVERY = 300.0  # seconds
GONE_AFTER = timedelta(days=1)


class Owner:
    """This process's part of what is staged."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._name = secrets.token_hex(8)
        self._due = 0.0
        self._shown = False
        self._showing = asyncio.Lock()

    async def new_name(self) -> str:
        """Of something to be staged."""
        await self.live()
        return f"{PARTS}{self._name}/{secrets.token_hex(16)}"

    async def live(self) -> None:
        """Give a sign of life, if the last one was long ago."""
        if time.monotonic() < self._due:
            return
        async with self._showing:
            if time.monotonic() >= self._due:
                self._shown = True
                await self._bucket.put(OWNERS + self._name, b"")
                self._due = time.monotonic() + SIGN_EVERY

    async def clean(self) -> int:
        """Forget what owners that are gone have staged, and what anybody began by parts so long ago."""
        before = datetime.now(UTC) - GONE_AFTER
        # What is staged first: whoever stages has given a sign before.
        staged = [found async for found in self._staged(before)]
        signs = {found.name.removeprefix(OWNERS): found.at async for found in self._bucket.objects(OWNERS)}
        signs[self._name] = datetime.now(UTC)
        forgotten = 0
        for found in staged:
            if signs.get(owner_of(found), before) <= before:
                await self._forget(found)
                forgotten += 1
        for owner, at in signs.items():
            if at <= before:
                await self._bucket.delete(OWNERS + owner)
        return forgotten

    async def _staged(self, before: datetime) -> AsyncIterator[Found]:
        async for found in self._bucket.objects(PARTS):
            yield found
        async for found in self._bucket.unfinished(""):
            # Elsewhere these are publications that were killed: they have no owner, only an age.
            if found.name.startswith(PARTS) or (found.at < before and not found.name.startswith(STAGING)):
                yield found

    async def _forget(self, found: Found) -> None:
        if found.multipart is None:
            await self._bucket.delete(found.name)
        else:
            await self._bucket.abort(found.name, found.multipart)

    async def leave(self) -> None:
        if self._shown:
            await self._bucket.delete(OWNERS + self._name)
            self._shown, self._due = False, 0.0


def owner_of(found: Found) -> str:
    return found.name.removeprefix(PARTS).partition("/")[0] if found.name.startswith(PARTS) else ""
