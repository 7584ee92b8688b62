"""`drs-service sessions list`: everybody's sessions, from the database."""

from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from drs_service import parts
from drs_service.domain.sessions import Session, State
from drs_service.jobs_table import age
from drs_service.settings import Settings

ID_WIDTH = 16


async def list_all(settings: Settings, *, ended: bool, as_json: bool) -> None:
    now = datetime.now(UTC)
    id_column = Column("id", min_width=ID_WIDTH)  # `show` needs the whole of it
    table = Table(id_column, "name", "state", "for", "tunnel", "running", "active", "ends", box=None, pad_edge=False)
    async with parts.open_overseeing(settings) as overseeing:
        async for one in overseeing.sessions(ended=ended):
            if as_json:
                click.echo(msgspec.json.encode(fields_of(one)))
                continue
            over = one.state is State.ENDED
            table.add_row(
                one.id,
                Text(one.name or "", overflow="fold"),
                f"{one.state} ({one.reason})" if one.reason is not None else one.state,
                age(now - one.state_at),
                "connected" if one.held else "",
                str(one.running),
                f"{age(now - one.active_at)} ago",
                "" if over else f"in {age(one.expires_at - now)}",
            )
    if table.row_count:
        Console().print(table)
    elif not as_json:
        click.echo("There are no sessions.")


def fields_of(one: Session) -> dict[str, object]:
    said: dict[str, object] = msgspec.to_builtins(one, builtin_types=(datetime,))
    said["idle"] = one.idle.total_seconds()
    return {name: value for name, value in said.items() if value is not None and name != "history"}
