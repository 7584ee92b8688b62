"""How many jobs workers get done, and what the fence round them costs."""

import asyncio
from functools import partial

import asyncpg
from pgqueuer import Queries

from benchmarks import working
from benchmarks.measuring import AtLeast, Row, compared, taking_turns
from benchmarks.scale import Scale
from benchmarks.servers import workplace
from drs_service.db.embedded import DATABASE, EmbeddedPostgres
from drs_service.db.migrate import migrate
from drs_service.jobs.kinds import Tidy, kind_of

AT_ONCE = 1000  # added in one statement


def jobs(scale: Scale) -> list[Row]:
    """Jobs a second that do nothing, by two workers: our runner against PgQueuer as it comes."""
    with workplace() as place:
        postgres = EmbeddedPostgres(place / "postgres")
        postgres.start()
        try:
            postgres.create_database(DATABASE)
            url = postgres.url(DATABASE)
            migrate(url)
            rate = partial(drained, url, scale.jobs)
            measures = {"theirs": partial(rate, "theirs"), "ours": partial(rate, "ours")}
            taken = taking_turns(scale.rounds, measures, warm_up=True)
        finally:
            postgres.stop()
    what = f"{scale.jobs:,} jobs that do nothing, two workers"
    return [
        compared(what, ours=taken["ours"], baseline=taken["theirs"], unit="/s", target=AtLeast(bound=0.8)),
    ]


def drained(url: str, count: int, which: str) -> float:
    asyncio.run(fill(url, count))
    return count / working.drain(which, url)


async def fill(url: str, count: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("TRUNCATE pgqueuer, pgqueuer_log, job_notes")
        queries = Queries.from_asyncpg_connection(connection)
        for first in range(0, count, AT_ONCE):
            size = min(AT_ONCE, count - first)
            await queries.enqueue([kind_of(Tidy)] * size, [b'{"type":"tidy"}'] * size, [0] * size)
        await connection.execute("VACUUM ANALYZE pgqueuer")
    finally:
        await connection.close()
