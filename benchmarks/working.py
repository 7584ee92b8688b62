"""Jobs that do nothing, by two workers: our runner against PgQueuer as it comes. Each is a process of its own.

`python -m benchmarks.working WHICH URL` is one of them; it ends when the queue is empty.
"""

import asyncio
import logging
import subprocess
import sys
import time
from datetime import timedelta

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job as QueuedJob

from drs_service.db.pool import open_database
from drs_service.jobs import running
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import Job, Tidy, kind_of
from drs_service.jobs.tasks import Task

WORKERS = 2
CONNECTIONS = 6
LEFT = "SELECT EXISTS (SELECT FROM pgqueuer)"
LOOK = 0.02  # seconds


def drain(which: str, url: str) -> float:
    """Have two such workers empty the queue. Returns how many seconds that took."""
    command = [sys.executable, "-m", "benchmarks.working", which, url]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(WORKERS)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()  # it is up, and waits
        began = time.perf_counter()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.close()
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()  # it has seen the queue empty
        seconds = time.perf_counter() - began
        for worker in workers:
            assert worker.wait() == 0
        return seconds
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


async def ours(url: str, shutdown: asyncio.Event) -> None:
    async def nothing(_: Job, attempt: Attempt) -> None:
        pass

    async with open_database(url, name="ours", size=CONNECTIONS, statement_cache=100) as database:
        await running.run(database, {Tidy: Task(run=nothing, at_once=0)}, {}, shutdown=shutdown, grace=20)


async def theirs(url: str, shutdown: asyncio.Event) -> None:
    async def nothing(_: QueuedJob) -> None:
        pass

    async with asyncpg.create_pool(url, min_size=0, max_size=CONNECTIONS) as pool:
        queue = PgQueuer(AsyncpgPoolDriver(pool))
        queue.entrypoint(kind_of(Tidy))(nothing)
        queue.shutdown = queue.qm.shutdown = queue.sm.shutdown = shutdown
        await queue.run(dequeue_timeout=timedelta(seconds=5))


async def work(which: str, url: str) -> None:
    print("up", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    shutdown = asyncio.Event()
    ending = asyncio.create_task(end_when_empty(url, shutdown))
    await {"ours": ours, "theirs": theirs}[which](url, shutdown)
    await ending


async def end_when_empty(url: str, shutdown: asyncio.Event) -> None:
    connection = await asyncpg.connect(url)
    try:
        while await connection.fetchval(LEFT):
            await asyncio.sleep(LOOK)
        print("empty", flush=True)
    finally:
        shutdown.set()
        await connection.close()


if __name__ == "__main__":
    logging.disable()
    uvloop.run(work(*sys.argv[1:]))
