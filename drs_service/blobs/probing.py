"""A place trying itself out."""

import asyncio
from contextlib import suppress

from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.keys import KEPT_PROBE, new_probe_key
from drs_service.errors import DrsServiceError, StorageUnavailable

PROBE = b"a place is tried out".ljust(4096, b"\n")


class Probing:
    """One probe at a time, for all who ask.

    Whoever does not want to wait any longer must not have to wait for a place that hangs, and those who come meanwhile
    add nothing to its load: the probe is a task of its own.
    """

    def __init__(self, driver: BlobDriver) -> None:
        self._driver = driver
        self._probing: asyncio.Task[str | None] | None = None
        self._left: str | None = KEPT_PROBE
        """What may have been left behind where nothing could be deleted: it is the next probe, and not one more."""

    async def probe(self) -> str | None:
        """As `BlobDriver.probe`. A failure is never older than the question."""
        if self._probing is not None and not self._probing.done():
            with suppress(DrsServiceError):
                return await asyncio.shield(self._probing)
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())
            self._probing.add_done_callback(heard)
        return await asyncio.shield(self._probing)

    async def _probe(self) -> str | None:
        kept, refusal = self._left, None
        if kept is not None and (refusal := await self._refused_to_delete(kept)):
            await self._write_and_read(kept)
        else:
            key = new_probe_key()
            try:
                await self._write_and_read(key)
            finally:
                refusal = await self._refused_to_delete(key)
            self._left = key if refusal else None
        return f"nothing can be deleted: {refusal}" if refusal else None

    async def _write_and_read(self, key: str) -> None:
        staged = await self._driver.stage()
        try:
            await staged.write([PROBE])
            await staged.publish(key)
            found = b"".join([bytes(piece) async for piece in self._driver.read(key, 0, len(PROBE))])
        except KeyError as error:
            raise StorageUnavailable(reason=f"{key} has vanished") from error
        finally:
            await staged.discard()
        if found != PROBE:
            raise StorageUnavailable(reason=f"{key} did not hold what was written")

    async def _refused_to_delete(self, key: str) -> str | None:
        """What the place says if it does not let us."""
        try:
            await self._driver.delete(key)
        except StorageUnavailable as error:
            if not error.facts.get("refused"):
                raise
            return str(error)
        return None

    async def close(self) -> None:
        """Return when nothing is under way."""
        if self._probing is not None:
            await asyncio.wait([self._probing])


def heard(probing: asyncio.Task[str | None]) -> None:
    """That nobody waits for a failure any more is nothing to complain about."""
    if not probing.cancelled():
        probing.exception()
