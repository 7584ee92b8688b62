"""How a kind of job is done, and what becomes of one that fails: the only place where that is decided.

    fails with                          is tried again
    ──────────                          ──────────────
    an error of ours that may pass      as often as its kind allows
    an error of ours that will not      never
    anything else, which is a bug       as often, but at most BUG_ATTEMPTS times
    the end of its worker, or silence   as often as its kind allows
    a worker that has to stop           at once, by another one, which is not counted
    bytes that lie in an archive        again and again, which is not counted: they are being brought back

What is not tried again, and what is older than its kind may become, is given up and kept among the dead.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from drs_service.errors import BytesArchived, DrsServiceError
from drs_service.jobs.attempts import Attempt

ATTEMPTS = 3  # after the first
BUG_ATTEMPTS = 3  # after the first
FIRST_DELAY = timedelta(seconds=5)  # before the second attempt; doubled each time
MOST_DELAY = timedelta(minutes=5)
MAX_AGE = timedelta(days=7)
LOOK_AGAIN = timedelta(minutes=10)  # whether bytes were brought back from an archive
MAX_SILENCE = timedelta(hours=12)  # of a task that does not tell of its progress: longer than any should take

Run = Callable[[Any, Attempt], Awaitable[None]]  # takes a job of the kind it is listed under


async def nothing(job: object, reason: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is done for jobs of a kind, and how patiently. Idempotent: it may run twice."""

    run: Run
    give_up: Callable[[Any, str], Awaitable[None]] = nothing
    """Takes a job that is given up, and why. Idempotent."""
    attempts: int = ATTEMPTS
    """After the first. A worker that dies of it has tried as well."""
    max_age: timedelta = MAX_AGE
    at_once: int = 1
    """Under way at the same time, among all workers; 0: as many as there are."""
    max_silence: timedelta = MAX_SILENCE
    """Without progress; then it is cancelled, and tried again."""
    first_delay: timedelta = FIRST_DELAY
    look_again: timedelta = LOOK_AGAIN

    def delay(self, error: Exception, attempts: int) -> timedelta | None:
        """How long to wait before the next attempt after so many and one that ended in error; None: give it up."""
        if not self.counts(error):
            return self.look_again
        if attempts >= self.attempts_after(error):
            return None
        return min(self.first_delay * 2.0 ** min(attempts, 20), MOST_DELAY)

    def counts(self, error: Exception) -> bool:
        """Whether an attempt that ended so was one at all, and not too early."""
        return not isinstance(error, BytesArchived)

    def attempts_after(self, error: Exception) -> int:
        if isinstance(error, DrsServiceError):
            return self.attempts if error.retryable else 0
        return min(self.attempts, BUG_ATTEMPTS)
