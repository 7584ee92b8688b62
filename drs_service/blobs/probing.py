"""A place trying itself out."""

import asyncio
import secrets
from contextlib import suppress

from drs_service.blobs.driver import BlobDriver
from drs_service.blobs.keys import new_probe_key
from drs_service.errors import DrsServiceError, StorageUnavailable

PROBE_SIZE = 4096


class Probing:
    """One probe at a time, for all who ask.

    Whoever does not want to wait any longer must not have to wait for a place that hangs, and those who come meanwhile
    add nothing to its load: the probe is a task of its own.
    """

    def __init__(self, driver: BlobDriver) -> None:
        self._driver = driver
        self._probing: asyncio.Task[None] | None = None

    async def probe(self) -> None:
        """StorageUnavailable, StorageFull. A failure is never older than the question."""
        if self._probing is not None and not self._probing.done():
            with suppress(DrsServiceError):
                await asyncio.shield(self._probing)
                return
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())
            self._probing.add_done_callback(heard)
        await asyncio.shield(self._probing)

    async def _probe(self) -> None:
        key = new_probe_key()
        block = secrets.token_bytes(PROBE_SIZE)
        staged = await self._driver.stage()
        try:
            await staged.write([block])
            await staged.publish(key)
            found = b"".join([bytes(piece) async for piece in self._driver.read(key, 0, PROBE_SIZE)])
        except KeyError as error:
            raise StorageUnavailable(reason=f"{key} has vanished") from error
        finally:
            await staged.discard()
            await self._driver.delete(key)
        if found != block:
            raise StorageUnavailable(reason=f"{key} did not hold what was written")

    async def close(self) -> None:
        """Return when nothing is under way."""
        if self._probing is not None:
            await asyncio.wait([self._probing])


def heard(probing: asyncio.Task[None]) -> None:
    """That nobody waits for a failure any more is nothing to complain about."""
    if not probing.cancelled():
        probing.exception()
