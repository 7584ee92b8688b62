"""The operator is told of bytes that were damaged."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import structlog

from drs_service.db import replicas
from drs_service.db.pool import Connection, Database
from drs_service.domain.digest import Digest
from drs_service.jobs import queue
from drs_service.jobs.kinds import Alert, ReplicateBlob, enqueue, enqueue_all
from drs_service.outgoing.http import Http

log = structlog.get_logger()

GATHER = timedelta(seconds=60)  # a disk that dies takes many copies with it: one message tells of all of them
EXAMPLES = 20


class Example(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    place: str
    damage: str
    since: datetime


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the request."""

    service: str
    event: str = "replicas_damaged"
    damaged: dict[str, int]
    """Copies that are known to be bad, by place."""
    lost: int
    """Blobs of which no good copy is left."""
    examples: list[Example]
    """Those that were found last."""


async def report(connection: Connection, digests: Sequence[Digest], place: str, damage: str, *, alerts: bool) -> None:
    """Have copies made good again that the caller's transaction has written down as bad, and say so; to the operator
    too, if alerts.
    """
    await enqueue_all(connection, [ReplicateBlob(one.hex, place) for one in digests])
    if alerts and digests:
        await alert(connection)
    for one in digests:
        log.error("a copy is damaged", digest=one.hex, place=place, damage=damage)


async def alert(connection: Connection) -> None:
    """Have the operator told, in a while, of what is damaged by then. The caller's transaction has written it down."""
    if not await queue.waiting(connection, Alert):
        await enqueue(connection, Alert(), after=GATHER)


class Alerting:
    def __init__(self, database: Database, http: Http, url: str | None, *, service: str) -> None:
        self._database = database
        self._http = http
        self._url = url
        self._service = service

    async def tell(self) -> None:
        """Nothing if there is nothing to tell any more, or nobody. Unavailable."""
        if self._url is None:
            return
        async with self._database.connection() as connection:
            damaged = await replicas.count_bad(connection)
            lost = await replicas.count_lost(connection)
            last = await replicas.bad_last(connection, limit=EXAMPLES)
        if not damaged:
            return
        examples = [
            Example(digest=digest.hex, place=place, damage=damage, since=since) for digest, place, damage, since in last
        ]
        message = Message(service=self._service, damaged=damaged, lost=lost, examples=examples)
        await self._http.post_json(self._url, msgspec.json.encode(message))
        log.info("the operator was told of damaged copies", copies=sum(damaged.values()), lost=lost)
