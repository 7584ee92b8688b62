"""Who is sending to an upload, and how the next one gets the turn.

A client that lost its connection comes back while the service still waits for its first request. The second one calls
for the turn, here or through Postgres on the other nodes, and the first is given up at once: what came of it is made
safe, and the next one goes on behind that.

Who calls in order to send has said from where, and can do so only where nothing has come of the first: otherwise that
one goes on, and the second is told how far it has come. So of two that send the same bytes one succeeds.
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
        self.id = secrets.token_hex(8)
        self.called = False
        self._have_come = False
        self._waiting: asyncio.Timeout | None = None

    def come(self) -> bool:
        """Bytes have. False if they are the first and come too late, for another one has the turn."""
        self._have_come = self._have_come or not self.called
        return self._have_come

    def give_way(self) -> None:
        """Let another one send the same, unless bytes have come already."""
        if not self._have_come:
            self.call()

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

    async def call(self, upload_id: str, by: Interruption | None = None) -> None:
        """Ask whoever is sending to stop, wherever that is. by: of the one who would send the same."""
        call = changes.TurnCalled(upload_id, by.id if by is not None else None)
        if upload_id in self._senders:
            self.on_change(call)
        else:
            async with self._database.connection() as connection:
                await changes.call_for_turn(connection, call)

    def on_connect(self) -> None:
        """Nothing is kept that could be old."""

    def on_change(self, change: changes.Change) -> None:
        if isinstance(change, changes.TurnCalled) and (sender := self._senders.get(change.upload_id)):
            if change.by is None:
                sender.call()
            elif change.by != sender.id:  # its own call may come back when it has the turn
                sender.give_way()

    def on_loss(self) -> None:
        """Nobody is called while nothing is heard; whoever sends stops by himself then."""
