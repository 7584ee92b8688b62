"""What commands show an operator."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console
from rich.table import Table

from drs_service.usecases.placekeeping import PlaceStatus


def show_places(found: Sequence[PlaceStatus], *, as_json: bool) -> None:
    """A table, or a line of JSON for each."""
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one).decode())
        return
    table = Table(box=None)
    for title in ("PLACE", "STATE"):
        table.add_column(title, overflow="fold")
    for title in ("COPIES", "BYTES", "MISSING", "DAMAGED", "ARCHIVED", "OLDEST VERIFICATION"):
        table.add_column(title, justify="right")
    for one in found:
        numbers = (f"{number:,}" for number in (one.copies, one.bytes, one.missing, one.damaged, one.archived))
        table.add_row(one.place, one.state.partition(":")[0], *numbers, ago(one.oldest_verification))
    Console().print(table)
    for one in found:
        if ":" in one.state:
            click.echo(f"{one.place}: {one.state}")


def ago(when: datetime | None) -> str:
    if when is None:
        return "-"
    days = (datetime.now(UTC) - when).days
    return "today" if days < 1 else f"{days} days ago"
