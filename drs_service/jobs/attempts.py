"""One try at a job, as its task sees it: it says how far it has come, and writes what came of it once."""

from typing import Protocol

from drs_service.db.pool import Connection


class Attempt(Protocol):
    def progress(self, done: int, total: int | None, unit: str) -> None:
        """So much is done, of so much if that is known. Cheap: it is written down once a second at most.

        A task that says nothing for as long as its kind may be silent is cancelled, and tried again.
        """

    async def hold(self, connection: Connection) -> None:
        """Have nobody else take the job until this transaction ends: what it writes is no late word of somebody who was
        believed dead. For what is found out on the way; may be called again and again. The transaction is short: the
        heartbeat waits for it.

        JobTakenOver: another worker has the job by now, and nothing may be written.
        """

    async def conclude(self, connection: Connection) -> None:
        """Take the job off the queue in the transaction that writes what came of it: both happen, or neither.

        JobTakenOver: another worker has the job by now, and nothing may be written.
        """


class Unqueued:
    """What is done for somebody who waits, and is no job: nobody watches it, and nobody else does it."""

    def progress(self, done: int, total: int | None, unit: str) -> None:
        pass

    async def hold(self, connection: Connection) -> None:
        pass

    async def conclude(self, connection: Connection) -> None:
        pass


UNQUEUED: Attempt = Unqueued()
