"""A worker as a process of its own, whose task begins, waits for a sign, and writes down once who has done it.

`python -m tests.support.labourer DATABASE_URL DIRECTORY NAME LEASE_SECONDS`: `NAME.began` appears in the directory when
it has taken the job, and `NAME.go` is waited for.
"""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

from drs_service.db.pool import Connection, open_database
from drs_service.jobs import running
from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import Job, Tidy
from drs_service.jobs.tasks import Task


async def main(url: str, directory: Path, name: str, lease: timedelta) -> None:
    shutdown = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, shutdown.set)

    async with open_database(url, name=name, size=6, statement_cache=10) as database:

        async def run(_: Job, attempt: Attempt) -> None:
            (directory / f"{name}.began").touch()
            while not (directory / f"{name}.go").exists():
                await asyncio.sleep(0.01)
            async with database.transaction() as connection:
                await write(connection, attempt)
            (directory / f"{name}.wrote").touch()

        async def write(connection: Connection, attempt: Attempt) -> None:
            await connection.execute("INSERT INTO results (name) VALUES ($1)", name)
            await attempt.conclude(connection)

        await running.run(
            database,
            {Tidy: Task(run=run)},
            {},
            shutdown=shutdown,
            grace=20,
            poll=timedelta(milliseconds=50),
            lease=lease,
        )


if __name__ == "__main__":
    _, url, directory, name, lease = sys.argv
    asyncio.run(main(url, Path(directory), name, timedelta(seconds=float(lease))))
