"""The composition root of a worker."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Collection, Iterator
from datetime import datetime

from drs_service.db import changes
from drs_service.domain.addresses import network
from drs_service.jobs import running
from drs_service.jobs.kinds import (
    ChecksumBacklog,
    Job,
    ReplicaBacklog,
    Scrub,
    SweepOrphans,
    Tidy,
    enqueue,
    enqueue_once,
    kind_of,
)
from drs_service.outgoing.http import open_http, open_strangers_http
from drs_service.parts import check_schema, check_store, open_parts, open_places
from drs_service.settings import Settings
from drs_service.usecases.turns import Turns
from worker.tasks import tasks

SCHEDULES: dict[str, Job] = {
    "17 * * * *": SweepOrphans(),
    "*/5 * * * *": Tidy(),
    "37 * * * *": ChecksumBacklog(),
    "47 * * * *": ReplicaBacklog(),
    "*/10 * * * *": Scrub(),
}


async def run(
    settings: Settings,
    *,
    kinds: Collection[str] | None,
    at_once: int | None,
    sweep_before: datetime | None,
    on_ready: Callable[[], None],
) -> None:
    """Run jobs until SIGTERM or SIGINT; those under way are finished first, within shutdown_grace_seconds.

    kinds: run jobs of these only, and add none that is scheduled of others. at_once: the most that are under way.
    sweep_before: sweep at once what is older. Only for a worker whose service just started and is alone.
    """
    shutdown = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, shutdown.set)
    assert settings.database_url is not None
    asked = [network(one) for one in settings.verify_external_hosts]
    async with (
        open_parts(settings, name="drs-service worker") as (database, store),
        open_strangers_http(also=asked) as http,
        open_http() as services,
        contextlib.AsyncExitStack() as stack,
    ):
        await check_schema(database)
        await check_store(database, store)
        places = await stack.enter_async_context(open_places(settings, database, store))
        await places.check_others()
        if sweep_before is not None:
            async with database.transaction() as connection:
                await enqueue(connection, SweepOrphans(before=sweep_before))
        turns = Turns(database)
        # What is heard matters little to a worker; that it is heard tells the nodes that this process lives.
        listening = asyncio.create_task(changes.listen(settings.database_url.reveal(), turns, new_node=turns.new_node))
        try:
            on_ready()
            every = tasks(database, places, http, services, turns, settings)
            todo = {kind: task for kind, task in every.items() if kinds is None or kind_of(kind) in kinds}
            schedules = {when: job for when, job in SCHEDULES.items() if type(job) in todo}
            grace = settings.shutdown_grace_seconds
            async with database.transaction() as connection:
                for job in new_work(settings):
                    if type(job) in todo:
                        await enqueue_once(connection, job)
            await running.run(database, todo, schedules, shutdown=shutdown, grace=grace, at_once=at_once)
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening


def new_work(settings: Settings) -> Iterator[Job]:
    """What finds that these settings ask for more than those before: nobody shall have to wait for its hour."""
    if settings.replicas:
        yield ReplicaBacklog()
    if settings.checksums:
        yield ChecksumBacklog()
