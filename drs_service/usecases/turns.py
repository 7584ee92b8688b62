"""Who is sending to an upload, and how the next one gets the turn.

A client that lost its connection comes back while the service still waits for its first request. The second one calls
for the turn, here or through Postgres on the other nodes, and the first is given up at once: what came of it is made
safe, and the next one goes on behind that.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from drs_service.db import changes, uploads
from drs_service.db.pool import Database
from drs_service.errors import Unavailable, UploadBusy


class Interruption:
    """Ends somebody's wait for more bytes."""

    def __init__(self) -> None:
        self.called = False
        self._waiting: asyncio.Timeout | None = None

    def call(self) -> None:
        self.called = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    @contextmanager
    def waiting(self, timeout: asyncio.Timeout) -> Iterator[None]:
        """For the length of the block, a call ends this timeout."""
        self._waiting = timeout
        if self.called:
            self.call()
        try:
            yield
        finally:
            self._waiting = None


class Turns:
    def __init__(self, database: Database) -> None:
        self._node = 0
        self._database = database
        self._senders: dict[str, Interruption] = {}

    def new_node(self) -> int:
        """A number for this process, which a lock says to live for as long as a connection listens under it.

        With another connection it is another one: what was held under the one before, and not let go of because that
        was lost, is held by nobody.
        """
        self._node = secrets.randbits(31)
        return self._node

    @asynccontextmanager
    async def had(self, upload_id: str) -> AsyncIterator[None]:
        """Have an upload whose place keeps nobody out. UploadBusy while another one has it who lives."""
        turn = f"{self._node} {secrets.token_hex(8)}"
        async with self._database.connection() as connection:
            if not await uploads.take(connection, upload_id, turn):
                raise UploadBusy
        try:
            yield
        finally:
            with suppress(Unavailable):  # then it is found out that this process lives no longer
                async with self._database.connection() as connection:
                    await uploads.leave(connection, upload_id, turn)

    @contextmanager
    def taken(self, upload_id: str, interruption: Interruption) -> Iterator[None]:
        """For the length of the block, interruption is what a call for this upload's turn meets."""
        self._senders[upload_id] = interruption
        try:
            yield
        finally:
            if self._senders.get(upload_id) is interruption:
                del self._senders[upload_id]

    async def call(self, upload_id: str) -> None:
        """Ask whoever is sending to stop, wherever that is."""
        if upload_id in self._senders:
            self.on_call(upload_id)
        else:
            async with self._database.connection() as connection:
                await changes.call_for_turn(connection, upload_id)

    def on_call(self, upload_id: str) -> None:
        """Somebody has called for the turn."""
        sender = self._senders.get(upload_id)
        if sender is not None:
            sender.call()

    def on_connect(self) -> None:
        """Nothing is kept that could be old."""

    def on_change(self, change: changes.Change) -> None:
        if isinstance(change, changes.TurnCalled):
            self.on_call(change.upload_id)

    def on_loss(self) -> None:
        """Nobody is called while nothing is heard; whoever sends stops by himself then."""
