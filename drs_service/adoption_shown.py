"""`drs-service adopt`: what it prints."""

import asyncio
import sys
import time
from collections.abc import Mapping

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from drs_service import parts
from drs_service.blobs.external import PassedOver
from drs_service.db.adoptions import Told, Wanted
from drs_service.domain.access import ANONYMOUS
from drs_service.settings import Settings
from drs_service.usecases.enlisting import Enlisting, Listing

EVERY = 1.0  # seconds
LINE_EVERY = 10.0  # seconds, where nothing can be drawn over
MOST_SHOWN = 20  # files that failed


async def adopt(
    settings: Settings,
    source: str,
    tags: Mapping[str, str],
    *,
    copy: bool,
    space: str,
    status: bool,
    watch: bool,
    as_json: bool,
) -> bool:
    """Returns whether all is well: no file was missed, and none has failed."""
    async with parts.open_enlisting(settings, source) as (enlisting, below):
        is_well = True
        if not status:
            wanted = Wanted(
                place=enlisting.place, below=below, copying=copy, owner=ANONYMOUS.id, space=space, tags=tags
            )
            is_well = (await listed(enlisting, wanted)).missed == 0
        if watch:
            await watched(enlisting, below)
        tally = await enlisting.tally(below)
        say(f"{tally['adopted']:,} adopted, {tally['failed']:,} failed, {tally['found']:,} wait for workers.")
        await tell(enlisting, below, failed=tally["failed"], as_json=as_json)
        return is_well and not tally["failed"]


async def listed(enlisting: Enlisting, wanted: Wanted) -> Listing:
    said = time.monotonic()

    def told(listing: Listing) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_EVERY:
            said = time.monotonic()
            say(f"{listing.found:,} files found …")

    def passed(one: PassedOver) -> None:
        if one.wrong:
            say(f"{one.path}: {one.reason}")

    found = await enlisting.enlist(wanted, told, passed)
    as_before = found.found - found.wanted - found.waiting
    links = found.passed_over - found.missed
    say(
        f"{found.found:,} files found, {found.bytes:,} bytes: {found.wanted:,} to be adopted, "
        f"{found.waiting:,} already waiting, {as_before:,} as before"
        + (f"; {links:,} links and other things passed over" if links else "")
        + (f"; {found.missed:,} could not be read" if found.missed else "")
    )
    return found


async def watched(enlisting: Enlisting, below: str) -> None:
    """Return once no file waits any more."""
    console = Console(stderr=True)
    total = (await enlisting.left(below))[0]
    if total and not await enlisting.is_worked_on():
        say("No worker works on this yet: `drs-service worker`.")
    columns = TextColumn("adopted"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        said = time.monotonic()
        while (left := (await enlisting.left(below))[0]) > 0:
            progress.update(task, completed=max(0, total - left))
            if not console.is_terminal and time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                say(f"{left:,} files wait for workers")
            await asyncio.sleep(EVERY)


async def tell(enlisting: Enlisting, below: str, *, failed: int, as_json: bool) -> None:
    """All files on stdout, or those that failed on stderr."""
    if as_json:
        async for one in enlisting.told(below):
            click.echo(msgspec.json.encode(fields_of(one)).decode())
        return
    shown = 0
    async for one in enlisting.told(below, state="failed"):
        if shown == MOST_SHOWN:
            say(f"… and {failed - shown:,} more: --json tells all.")
            return
        say(f"{one.path}: {one.problem}")
        shown += 1


def fields_of(one: Told) -> dict[str, object]:
    said = {
        "path": one.path,
        "state": one.state,
        "size": one.size,
        "id": one.object_id,
        "sha256": one.digest.hex if one.digest is not None else None,
        "problem": one.problem,
    }
    return {name: value for name, value in said.items() if value is not None}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
