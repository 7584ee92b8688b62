"""See that a copy in an archive is brought back."""

from datetime import timedelta

import structlog

from drs_service.domain.digest import Digest
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import ThawBlob
from drs_service.jobs.tasks import Task
from drs_service.usecases.thawing import Thawing

log = structlog.get_logger()

ATTEMPTS = 12  # after the first: somebody waits, for as long as the storage may be away
AT_ONCE = 8  # among all workers: each is a request or two


def thaw_blob(thawing: Thawing, *, look_again: timedelta | None = None) -> Task:
    async def run(job: ThawBlob, attempt: Attempt) -> None:
        await thawing.thaw(Digest.from_hex(job.digest), job.place, attempt)

    async def give_up(job: ThawBlob, reason: str) -> None:
        log.error("a copy was not brought back", digest=job.digest, place=job.place, reason=reason)

    again = look_again or thawing.how.look_again
    return Task(run=run, give_up=give_up, attempts=ATTEMPTS, at_once=AT_ONCE, look_again=again)
