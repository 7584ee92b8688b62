"""Seeing that bytes which are kept elsewhere are as stated.

    looked at      readers wait (`verifying`)            readers have the object already
    ─────────      ──────────────────────────            ───────────────────────────────
    as stated      they get it, with its sha-256         its sha-256 is added
    otherwise      it is buried, with what was found     the way goes; the object too, if it was the last one
    not at all     the job is tried again; in the end    the job is tried again; in the end nothing changes
                   they get it as it was stated

What was found counts for the ways that are still there when it is written; for others there is another job.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from drs_service.blobs.driver import Buffer
from drs_service.blobs.hashing import Hashing
from drs_service.db import objects
from drs_service.db.pool import Connection, Database
from drs_service.domain.checksums import COMPUTABLE, Checksum
from drs_service.domain.external_access import is_fetchable, is_same
from drs_service.domain.objects import DrsObject, ExternalAccess, Kind
from drs_service.domain.texts import MAX_REASON
from drs_service.errors import DrsServiceError, Unavailable
from drs_service.jobs.attempts import UNQUEUED, Attempt
from drs_service.jobs.kinds import VerifyExternal, enqueue
from drs_service.outgoing.http import Answer, StrangersHttp

log = structlog.get_logger()

BLOCK_SIZE = 1024**2  # bytes: hashed in a thread
# An attempt may take this long, and a second for every so many bytes.
PATIENCE = 600.0
SLOWEST = 1_000_000
MAX_URL_SHOWN = 400


@dataclass(frozen=True, slots=True)
class Seen:
    """The bytes are as stated."""

    checksums: Mapping[str, str]
    """By algorithm; SHA-256 always."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """The bytes are not as stated."""

    finding: str


Outcome = Seen | Wrong | DrsServiceError
"""An error if the bytes could not be seen."""


class Verifying:
    def __init__(self, database: Database, http: StrangersHttp) -> None:
        self._database = database
        self._http = http

    async def verify(self, object_id: str, urls: Collection[str], attempt: Attempt = UNQUEUED) -> None:
        """Look at the bytes behind these URLs of an object, and write down what they are.

        May be called twice. Raises what is retryable if no way could be looked at.
        """
        async with self._database.connection() as connection:
            stated = (await objects.select(connection, [object_id])).get(object_id)
        if stated is None or stated.tombstone is not None:
            return
        ways = [one for one in stated.external_access if is_fetchable(one) and one.url in urls]
        outcomes = [(way, await self._look(stated, way, attempt)) for way in ways]
        async with self._database.transaction() as connection:
            now = (await objects.select_locked(connection, [object_id])).get(object_id)
            if now is None or now.tombstone is not None:
                return
            standing = [
                (way, hold_to(now, outcome))
                for way, outcome in outcomes
                if any(is_same(way, one) for one in now.external_access)
            ]
            await attempt.conclude(connection)
            await write(connection, now, standing)

    async def give_up(self, object_id: str, urls: Collection[str], reason: str) -> None:
        """Let readers have the object as it was stated, unless its ways were replaced meanwhile."""
        async with self._database.transaction() as connection:
            now = (await objects.select_locked(connection, [object_id])).get(object_id)
            if now is not None and any(one.url in urls for one in now.external_access):
                await objects.verified(connection, object_id)
                log.warning("an object elsewhere was not verified", object=object_id, reason=reason)

    async def _look(self, stated: DrsObject, way: ExternalAccess, attempt: Attempt) -> Outcome:
        headers = [(name, value) for name, _, value in (one.partition(": ") for one in way.headers)]
        try:
            async with self._http.get(way.url, headers=headers, within=PATIENCE + stated.size / SLOWEST) as answer:
                return await compare(stated, answer, attempt)
        except DrsServiceError as error:
            return error


async def compare(stated: DrsObject, answer: Answer, attempt: Attempt) -> Seen | Wrong:
    """Unavailable if the bytes break off."""
    if answer.length not in (None, stated.size):
        return Wrong(f"has {answer.length} bytes, not {stated.size} as stated")
    hashing = Hashing({one.algorithm for one in stated.checksums} & COMPUTABLE)
    size = 0
    async for block in blocks(answer.pieces, most=stated.size):
        size += sum(map(len, block))
        attempt.progress(size, stated.size, "bytes")
        if size > stated.size:
            return Wrong(f"has more than the {stated.size} bytes that are stated")
        await asyncio.to_thread(hashing.update, block)
    if size < stated.size and not answer.delimited:
        raise Unavailable(f"The connection ended after {size} bytes, and nobody said how many there are.")
    if size < stated.size:
        return Wrong(f"has {size} bytes, not {stated.size} as stated")
    found = {one.algorithm: one.value for one in hashing.checksums()} | {"sha-256": hashing.blob().digest.hex}
    outcome = hold_to(stated, Seen(found))
    assert not isinstance(outcome, DrsServiceError)
    return outcome


def hold_to(stated: DrsObject, outcome: Outcome) -> Outcome:
    """What was seen, compared with the checksums that are stated by now."""
    if isinstance(outcome, Seen):
        for one in stated.checksums:
            found = outcome.checksums.get(one.algorithm, one.value)
            if found != one.value:
                return Wrong(f"has the {one.algorithm} {found}, not {one.value} as stated")
    return outcome


async def blocks(pieces: AsyncIterator[bytes], *, most: int) -> AsyncIterator[list[Buffer]]:
    """Pieces in heaps that are worth a thread's while, no further than the piece that makes them more than most."""
    block: list[Buffer] = []
    size = 0
    async for piece in pieces:
        block.append(piece)
        size += len(piece)
        most -= len(piece)
        if most < 0:
            break
        if size >= BLOCK_SIZE:
            yield block
            block, size = [], 0
    if block:
        yield block


async def write(connection: Connection, now: DrsObject, outcomes: Sequence[tuple[ExternalAccess, Outcome]]) -> None:
    """Raises what is retryable if there is nothing to write."""
    wrong = [(way, outcome) for way, outcome in outcomes if isinstance(outcome, Wrong)]
    seen = [outcome for _, outcome in outcomes if isinstance(outcome, Seen)]
    unseen = [(way, outcome) for way, outcome in outcomes if isinstance(outcome, DrsServiceError)]
    again = [(way, error) for way, error in unseen if error.retryable]
    if wrong and await strike(connection, now, wrong):
        return
    if seen:
        await objects.verified(connection, now.id)
        if not any(one.algorithm == "sha-256" for one in now.checksums):
            await objects.add_checksums(connection, now.id, [Checksum("sha-256", seen[0].checksums["sha-256"])])
        log.info("an object elsewhere was verified", object=now.id)
    if again:
        if not (wrong or seen):
            raise again[0][1]
        await enqueue(connection, VerifyExternal(object_id=now.id, urls=tuple(way.url for way, _ in again)))
    elif unseen and not (wrong or seen):
        # They will not let us look the next time either.
        await objects.verified(connection, now.id)
        log.warning("an object elsewhere was not verified", object=now.id, reason=str(unseen[0][1]))


async def strike(connection: Connection, now: DrsObject, wrong: Sequence[tuple[ExternalAccess, Wrong]]) -> bool:
    """Take the ways to other bytes from an object, or bury it. Returns whether it is buried."""
    way, outcome = wrong[0]
    reason = f"Verification failed: {shown(way.url)} {outcome.finding}."[:MAX_REASON]
    left = [one for one in now.external_access if not any(is_same(one, other) for other, _ in wrong)]
    if now.verifying or (now.kind is Kind.EXTERNAL and not left):
        await objects.bury(connection, [now.id], reason=reason)
        log.warning("an object elsewhere was buried", object=now.id, reason=reason)
        return True
    await objects.replace_access(connection, now.id, left, verifying=False)
    log.warning("an access method was removed", object=now.id, reason=reason)
    return False


def shown(url: str) -> str:
    return url if len(url) <= MAX_URL_SHOWN else url[:MAX_URL_SHOWN] + "…"
