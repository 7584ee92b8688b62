"""`drs-service jobs`: what it prints."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields

import click
import msgspec
from rich.console import Console
from rich.live import Live

from drs_service import parts
from drs_service.jobs.listing import Listed, State
from drs_service.jobs_table import shown
from drs_service.settings import Settings
from drs_service.usecases.jobs import Jobs

EVERY = 1.0  # seconds
PAGE = 1000


async def show(
    settings: Settings, *, state: str | None, kind: str | None, limit: int, watch: bool, as_json: bool
) -> None:
    wanted = State(state) if state is not None else None
    async with parts.open_jobs(settings) as jobs:
        if as_json:
            await tell(jobs, wanted, kind)
            return
        console = Console()
        if not watch:
            console.print(shown(await jobs.overview(state=wanted, kind=kind, limit=limit)))
            return
        with Live(console=console, auto_refresh=False) as live:
            while True:
                table = shown(await jobs.overview(state=wanted, kind=kind, limit=limit))
                if console.is_terminal:
                    live.update(table, refresh=True)
                else:  # where nothing can be drawn over, one follows the other
                    console.print(table)
                await asyncio.sleep(EVERY)


async def tell(jobs: Jobs, state: State | None, kind: str | None) -> None:
    token: str | None = None
    while True:
        page = await jobs.page(state=state, kind=kind, size=PAGE, token=token)
        for one in page.jobs:
            click.echo(msgspec.json.encode(fields_of(one)))
        token = page.next_token
        if token is None:
            return


def fields_of(one: Listed) -> dict[str, object]:
    """What there is to say of a job, its payload as what it means."""
    said = {field.name: getattr(one, field.name) for field in fields(one)}
    with suppress(msgspec.DecodeError):
        said["payload"] = msgspec.json.decode(one.payload)
    said["silent"] = one.silent.total_seconds() if one.silent is not None else None
    return {name: value for name, value in said.items() if value is not None}


async def requeue(settings: Settings, ids: Sequence[int] | None) -> None:
    async with parts.open_jobs(settings) as jobs:
        said(await jobs.requeue(ids), "queued")


async def forget(settings: Settings, ids: Sequence[int] | None) -> None:
    async with parts.open_jobs(settings) as jobs:
        said(await jobs.forget(ids), "forgotten")


def said(ids: Sequence[int], what: str) -> None:
    for one in ids:
        click.echo(f"{one} {what}")
    if not ids:
        click.echo("No job was given up.")
