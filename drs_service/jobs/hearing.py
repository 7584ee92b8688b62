"""PgQueuer's connections, which begin to ask whether they hear anything only once they listen.

PgQueuer asks by telling itself something, and may do so before it listens: on a busy machine it then takes itself for
deaf, ends all jobs under way, and begins anew, as often as it loses that race.
"""

import asyncio
from collections.abc import Callable

import asyncpg
from pgqueuer.db import AsyncpgPoolDriver


class HearingDriver(AsyncpgPoolDriver):
    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(pool)
        self._listens = asyncio.Event()

    async def add_listener(self, channel: str, callback: Callable[[str | bytes | bytearray], None]) -> None:
        await super().add_listener(channel, callback)
        self._listens.set()

    async def notify(self, channel: str, payload: str) -> None:
        """Wait until there is a listener. Without one nothing is ever told: whoever needs none does not ask."""
        await self._listens.wait()
        await super().notify(channel, payload)
