"""The command line: `drs-service serve | worker | migrate | check | resolve`."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from drs_service.errors import DrsServiceError, SettingsInvalid
from drs_service.processes import Bond
from drs_service.settings import Settings

CONFIGURATION_ERROR = 78  # EX_CONFIG of sysexits.h


class Command(click.Command):
    """Errors of ours end a command with their message, not with a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except DrsServiceError as error:
            fail(error)


def fail(error: DrsServiceError) -> NoReturn:
    reason = f" ({error.facts['reason']})" if "reason" in error.facts else ""
    click.echo(f"drs-service: {error}{reason}", err=True)
    sys.exit(CONFIGURATION_ERROR)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="drs-service")
def main() -> None:
    """A content-addressed file service with a GA4GH DRS API.

    Settings come from the environment; `.env.example` lists them.
    """


def command(name: str, **attrs: Any) -> Callable[[Callable[..., Any]], click.Command]:
    return main.command(name, cls=Command, **attrs)


@command("serve")
@click.option("--host", help="Address to listen on (DRS_HOST; 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one (DRS_PORT; 8000).")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data is kept (DRS_DATA_DIR; ./data).")
@click.option("--processes", type=int, help="Web processes (DRS_PROCESSES; 1).")
def serve(**overrides: object) -> None:
    """Serve on this machine: database, web processes and worker."""
    from drs_service import supervisor

    supervisor.serve(read_settings(**overrides), announce=announce)


def announce(url: str) -> None:
    click.echo(f"DRS service on {url}")
    click.echo(f"echo hello | curl -T - {url}/upload/hello.txt")


@command("worker")
@click.option("--sweep-before", type=click.DateTime(["%Y-%m-%dT%H:%M:%S.%f%z"]), hidden=True)
def worker(sweep_before: datetime | None) -> None:
    """Run jobs, beside any number of other workers on the same database."""
    bond = Bond(os.environ)
    from worker import app

    run(app.run(read_settings(), sweep_before=sweep_before, on_ready=bond.ready))


@command("web", hidden=True)
@click.option("--listen-fd", type=int, required=True)
def web(listen_fd: int) -> None:
    """One web process of `serve`, on a socket that it inherits."""
    bond = Bond(os.environ)
    from drs_service import app

    run(app.serve(read_settings(), socket.socket(fileno=listen_fd), on_ready=bond.ready))


@command("migrate")
def migrate() -> None:
    """Bring the schema of DATABASE_URL up to this version."""
    from drs_service.db import migrate

    settings = read_settings()
    if settings.database_url is None:
        raise SettingsInvalid("DATABASE_URL is not set; `drs-service serve` migrates its embedded database by itself")
    click.echo(migrate.migrate(settings.database_url.reveal()), nl=False)
    click.echo("The schema is up to date.")


@command("check")
def check() -> None:
    """Say whether the settings are right and the database, the schema and the storage answer."""
    from drs_service import parts

    findings = asyncio.run(parts.examine(read_settings()))
    for finding in findings:
        click.echo(f"{finding.part:10} {finding.fault or 'ok'}")
    sys.exit(any(finding.fault for finding in findings))


@command("resolve")
@click.argument("uri", nargs=-1, required=True)
def resolve(uri: tuple[str, ...]) -> None:
    """Say where the object of a DRS URI is: the URL of its JSON, one line for each.

    Compact identifiers, such as drs://dg.4503:abc, are looked up at identifiers.org and n2t.net.
    """
    from drs_service import parts

    async def resolved() -> None:
        async with parts.open_resolver(settings) as resolver:
            for one in uri:
                click.echo(await resolver.resolve(one))

    settings = read_settings()
    try:
        asyncio.run(resolved())
    except DrsServiceError as error:
        raise click.ClickException(str(error)) from error


def read_settings(**overrides: object) -> Settings:
    from drs_service import logs

    settings = Settings.from_env(os.environ, **overrides)
    logs.configure(settings.log_level)
    return settings


def run(main: Any) -> None:
    import uvloop

    uvloop.run(main)
