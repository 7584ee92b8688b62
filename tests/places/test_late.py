"""What a worker says of a copy that was believed dead counts for nothing: somebody else has looked meanwhile."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from drs_service.domain.digest import Digest
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import Job, VerifyBlob, enqueue
from drs_service.jobs.tasks import Task
from drs_service.settings import Settings
from drs_service.usecases.scrubbing import Scrubbing
from tests.places.conftest import Parts, flip, is_good, opened
from tests.support.deadline import once, until
from tests.support.frozen import SOON, working

CONTENT = secrets.token_bytes(300_000)
EVERY = timedelta(days=30)
RARELY = timedelta(minutes=1)  # looks for more work: what was taken from it is for the other worker


class Gate:
    """Whoever reads waits in it until it is opened."""

    def __init__(self) -> None:
        self.came = 0
        self.open = asyncio.Event()

    async def __call__(self, _: int) -> None:
        self.came += 1
        await self.open.wait()


@asynccontextmanager
async def scrubbing(
    parts: Parts, pace: Callable[[int], Awaitable[None]], *, poll: timedelta = SOON
) -> AsyncIterator[None]:
    """A worker that verifies."""
    todo = Scrubbing(parts.database, parts.places, parts.reading, EVERY, pace)

    async def run(job: VerifyBlob, attempt: Attempt) -> None:
        await todo.verify(Digest.from_hex(job.digest), job.place, attempt)

    tasks: Mapping[type[Job], Task] = {VerifyBlob: Task(run=run)}
    async with working(parts.database, tasks, poll=poll):
        yield


async def at_once(_: int) -> None:
    pass


async def test_a_late_verdict_does_not_count(parts: Parts, settings: Settings, tmp_path: Path) -> None:
    digest = await parts.keep(CONTENT)
    await parts.replicating.replicate(digest, "mirror")
    flip(parts.file("mirror", digest))
    gate = Gate()
    async with parts.database.transaction() as connection:
        await connection.execute("UPDATE replicas SET verified_at = now() - interval '60 days'")
        await connection.execute("DELETE FROM pgqueuer")
        await enqueue(connection, VerifyBlob(digest.hex, "mirror"))
    async with opened(settings, tmp_path) as other, scrubbing(parts, gate, poll=RARELY):
        await until(lambda: gate.came > 0)
        async with parts.database.connection() as connection:
            await connection.execute("UPDATE pgqueuer SET heartbeat = now() - interval '1 hour'")
        async with scrubbing(other, at_once):
            await once(lambda copies: copies["mirror"].damage is not None, lambda: parts.copies(digest))
            await parts.replicating.replicate(digest, "mirror")
            assert is_good(parts.file("mirror", digest), digest)
        gate.open.set()
    assert (await parts.copies(digest))["mirror"].damage is None
    assert await parts.jobs() == 1
