"""Measure the service: `python -m benchmarks [NAME …] [--quick]`."""

import os
import sys
from collections.abc import Callable

import click

from benchmarks import (
    adopting,
    archive,
    direct,
    downloads,
    drs,
    jobs,
    memory,
    objects,
    parallel,
    resumable,
    s3,
    slow,
    startup,
    tunnel,
    upkeep,
    uploads,
)
from benchmarks.measuring import Row, table
from benchmarks.programs import Missing
from benchmarks.scale import FULL, QUICK, Scale

BENCHMARKS: dict[str, Callable[[Scale], list[Row]]] = {
    "requests": objects.requests,
    "many": objects.many,
    "bulk": drs.bulk,
    "finding": drs.finding,
    "bundles": drs.bundles,
    "downloads": downloads.downloads,
    "archive": archive.archive,
    "uploads": uploads.uploads,
    "resumable": resumable.resumable,
    "parallel": parallel.parallel,
    "slow": slow.slow,
    "s3": s3.s3,
    "direct": direct.direct,
    "jobs": jobs.jobs,
    "verify": upkeep.verify,
    "sweep": upkeep.sweep,
    "adopt": adopting.adopt,
    "tunnel": tunnel.tunnel,
    "memory": memory.memory,
    "startup": startup.startup,
}

NAMES = "\n".join(f"  {name:10} {one.__doc__}" for name, one in BENCHMARKS.items())


@click.command(help=f"Measure the service, against baselines started beside it.\n\n\b\n{NAMES}")
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)), metavar="[NAME …]")
@click.option("--quick", is_flag=True, help="Small sizes: shows that everything runs, and nothing else.")
def main(names: tuple[str, ...], *, quick: bool) -> None:
    scale = QUICK if quick else FULL
    try:
        for name in names or BENCHMARKS:
            busy = os.getloadavg()[0]
            click.echo(f"\n{name}: {BENCHMARKS[name].__doc__}")
            click.echo(f"{scale.rounds} rounds; load average {busy:.1f} on {os.cpu_count()} processors at the start\n")
            click.echo(table(BENCHMARKS[name](scale)))
    except Missing as missing:
        sys.exit(str(missing))
    if quick:
        click.echo("\nThese sizes are too small for the ratios to mean anything.")


if __name__ == "__main__":
    main()
