"""How patiently a kind of job is tried."""

from datetime import timedelta

from drs_service.errors import StorageUnavailable
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.tasks import MOST_DELAY, Task


async def run(_: object, attempt: Attempt) -> None:
    pass


def test_the_wait_grows_and_then_stays_as_it_is_however_often_it_was_tried() -> None:
    task = Task(run=run, attempts=10_000, first_delay=timedelta(seconds=5))
    waits = [task.delay(StorageUnavailable(), attempts) for attempts in (0, 1, 2, 50, 5_000, 9_999)]
    assert waits == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20), *[MOST_DELAY] * 3]
    assert task.delay(StorageUnavailable(), 10_000) is None
