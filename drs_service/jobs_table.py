"""The jobs and the workers as a table for people."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from drs_service.jobs.listing import Listed, Scheduled, State
from drs_service.jobs.workers import Worker
from drs_service.usecases.jobs import Overview

STYLES = {State.RUNNING: "green", State.DEAD: "red", State.QUEUED: "", State.SCHEDULED: "dim"}
UNITS = ("", "k", "M", "G", "T")
MAX_PAYLOAD = 80


def shown(overview: Overview) -> RenderableType:
    now = datetime.now(UTC)
    parts: list[RenderableType] = [jobs(overview.jobs, now) if overview.jobs else Text("There are no jobs.")]
    if overview.more:
        parts.append(Text("… and more: --state, --kind and --limit choose."))
    parts += [workers(overview.workers, now) if overview.workers else Text("No worker works.", style="red")]
    if overview.schedules:
        parts.append(schedules(overview.schedules, now))
    return Group(*parts)


def jobs(listed: Sequence[Listed], now: datetime) -> Table:
    table = Table("id", "kind", "state", "for", "attempts", "progress", "worker", "what", box=None, pad_edge=False)
    for one in listed:
        table.add_row(
            str(one.id),
            one.kind,
            Text(one.state, STYLES[one.state]),
            age(now - one.since),
            str(one.attempts),
            progress(one),
            Text(one.worker or ""),
            Text(what(one, now), overflow="fold"),
        )
    return table


def progress(one: Listed) -> str:
    if one.progress is None:
        return ""
    total = one.progress.total
    share = f" of {number(total)} ({one.progress.done / total:.0%})" if total else ""
    return f"{number(one.progress.done)}{share} {one.progress.unit}"


def what(one: Listed, now: datetime) -> str:
    said = []
    if one.silent is not None:
        said.append(f"heartbeat {age(one.silent)} ago")
    if one.next_at is not None:
        said.append(f"again in {age(one.next_at - now)}")
    if one.error is not None:
        said.append(f"{one.error.code}: {one.error.message}")
    payload = one.payload.decode(errors="replace")
    said.append(payload if len(payload) <= MAX_PAYLOAD else payload[:MAX_PAYLOAD] + "…")
    return "; ".join(said)


def workers(working: Sequence[Worker], now: datetime) -> Table:
    table = Table(
        "worker", "up", "heartbeat", "kinds", title="\nWorkers", title_justify="left", box=None, pad_edge=False
    )
    for one in working:
        table.add_row(
            Text(f"{one.host}:{one.pid}"), age(now - one.started_at), age(now - one.seen_at), ", ".join(one.kinds)
        )
    return table


def schedules(scheduled: Sequence[Scheduled], now: datetime) -> Table:
    table = Table("kind", "when", "next", title="\nScheduled", title_justify="left", box=None, pad_edge=False)
    for one in scheduled:
        table.add_row(one.kind, Text(one.expression), f"in {age(one.next_at - now)}")
    return table


def age(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def number(count: int) -> str:
    value, unit = float(count), 0
    while value >= 10_000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f}{UNITS[unit]}"
