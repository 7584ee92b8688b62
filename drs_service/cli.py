"""The command line: `drs-service serve | worker | jobs | migrate | check | places | adopt | sessions | resolve | put |
get`.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from drs_service.commands import Command, Commands, read_settings, run
from drs_service.errors import DrsServiceError, SettingsInvalid
from drs_service.processes import Bond
from drs_service.session_commands import opening, opening_option, sessions
from drs_service.settings import Settings


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
@click.option("--workers", type=int, help="Worker processes (DRS_WORKERS; 1).")
@click.option("--listen-fd", type=int, hidden=True)
def serve(listen_fd: int | None, **overrides: object) -> None:
    """Serve on this machine: database, web processes and workers."""
    bond = Bond(os.environ)
    from drs_service import supervisor

    listener = socket.socket(fileno=listen_fd) if listen_fd is not None else None

    def announce(url: str) -> None:
        click.echo(f"DRS service on {url}")
        if listener is None:  # behind an agent it would take a secret
            click.echo(f"echo hello | curl -T - {url}/upload/hello.txt")
        bond.ready()

    supervisor.serve(read_settings(**overrides), announce=announce, inherited=listener)


data_dir_option = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where the service keeps its data (DRS_DATA_DIR)."
)


def read_kinds(_: click.Context, __: click.Parameter, value: str | None) -> frozenset[str] | None:
    from drs_service.jobs.queue import KINDS

    if value is None:
        return None
    kinds = frozenset(filter(None, value.split(",")))
    if not kinds or kinds - set(KINDS):
        raise click.BadParameter(f"the kinds are {', '.join(KINDS)}")
    return kinds


@command("worker")
@click.option("--kinds", metavar="KIND,…", callback=read_kinds, help="Run jobs of these kinds only.")
@click.option("--at-once", type=click.IntRange(1), help="Have at most so many jobs under way.")
@click.option("--check", "only_check", is_flag=True, help="Run nothing: say whether a worker works on this machine.")
@data_dir_option
@click.option("--sweep-before", type=click.DateTime(["%Y-%m-%dT%H:%M:%S.%f%z"]), hidden=True)
def worker(
    kinds: frozenset[str] | None,
    at_once: int | None,
    only_check: bool,
    data_dir: Path | None,
    sweep_before: datetime | None,
) -> None:
    """Run jobs, beside any number of other workers on the same database.

    SIGTERM lets it finish what it does; what takes longer than DRS_SHUTDOWN_GRACE_SECONDS is another worker's.
    """
    if only_check:
        sys.exit(not run(works_here(read_settings(data_dir=data_dir))))
    bond = Bond(os.environ)
    from drs_service import parts
    from worker import app

    settings = parts.beside(read_settings(data_dir=data_dir))
    run(app.run(settings, kinds=kinds, at_once=at_once, sweep_before=sweep_before, on_ready=bond.ready))


async def works_here(settings: Settings) -> bool:
    from drs_service import parts

    async with parts.open_jobs(settings) as jobs:
        here = [one for one in await jobs.workers() if one.host == socket.gethostname()]
    for one in here:
        click.echo(f"{one.host}:{one.pid} works, on {', '.join(one.kinds)}")
    if not here:
        click.echo("No worker works on this machine.")
    return bool(here)


@main.group("jobs", cls=Commands, invoke_without_command=True)
@click.option("--state", type=click.Choice(["queued", "scheduled", "running", "dead"]), help="Only these.")
@click.option("--kind", help="Only of this kind.")
@click.option("--limit", type=click.IntRange(1), default=50, help="Most jobs in the table (50).")
@click.option("--watch", is_flag=True, help="Go on showing them, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="All of them, one JSON object a line.")
@data_dir_option
@click.pass_context
def jobs(context: click.Context, /, data_dir: Path | None, **shown: Any) -> None:
    """Show what workers do, have to do and have given up."""
    context.obj = read_settings(data_dir=data_dir)
    if context.invoked_subcommand is None:
        from drs_service import jobs_shown

        try:
            run(jobs_shown.show(context.obj, **shown))
        except KeyboardInterrupt:
            sys.exit(130)


def dead_jobs(function: Callable[..., None]) -> Callable[..., None]:
    ids = click.argument("ids", nargs=-1, type=click.IntRange(1, 2**63 - 1), metavar="[ID …]")
    return ids(click.option("--all", "every", is_flag=True, help="All of them.")(click.pass_obj(function)))


@jobs.command("requeue")
@dead_jobs
def requeue(settings: Settings, ids: tuple[int, ...], every: bool) -> None:
    """Have jobs that were given up done once more."""
    from drs_service import jobs_shown

    run(jobs_shown.requeue(settings, chosen(ids, every)))


@jobs.command("forget")
@dead_jobs
def forget(settings: Settings, ids: tuple[int, ...], every: bool) -> None:
    """Forget jobs that were given up."""
    from drs_service import jobs_shown

    run(jobs_shown.forget(settings, chosen(ids, every)))


def chosen(ids: tuple[int, ...], every: bool) -> tuple[int, ...] | None:
    if bool(ids) == every:
        raise click.UsageError("Say which: their ids, or --all.")
    return None if every else ids


@command("web", hidden=True)
@click.option("--listen-fd", type=int, required=True)
@click.option("--number", type=int, default=1)
@click.option("--tallies", type=click.Path(path_type=Path))
def web(listen_fd: int, number: int, tallies: Path | None) -> None:
    """One web process of `serve`, on a socket that it inherits. It shares with others what it counts, in tallies."""
    bond = Bond(os.environ)
    from drs_service import app
    from drs_service.api.metrics.sharing import Sharing

    listener = socket.socket(fileno=listen_fd)
    run(app.serve(read_settings(), listener, Sharing(tallies, number), on_ready=bond.ready))


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
@data_dir_option
def check(data_dir: Path | None) -> None:
    """Say whether the settings are right and the database, the schema and the storage answer."""
    from drs_service import parts

    findings = asyncio.run(parts.examine(parts.beside(read_settings(data_dir=data_dir))))
    width = max(10, *(len(finding.part) for finding in findings))
    for finding in findings:
        click.echo(f"{finding.part:{width}} {finding.seen or finding.fault or 'ok'}")
    sys.exit(any(finding.fault for finding in findings))


@main.group("places")
def places() -> None:
    """Look after the places that keep copies."""


@places.command("status", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@data_dir_option
def places_status(as_json: bool, data_dir: Path | None) -> None:
    """Say what each place has, what is missing or damaged in it, and since when nobody has looked."""
    from drs_service import parts, tables

    settings = parts.beside(read_settings(data_dir=data_dir))
    tables.show_places(asyncio.run(parts.places_status(settings)), as_json=as_json)


@places.command("add", cls=Command)
@click.argument("name")
@data_dir_option
def places_add(name: str, data_dir: Path | None) -> None:
    """Take a place of DRS_PLACES into use: see that it answers and is ours, and have workers copy to it.

    Say it before nodes and workers begin with the new settings, and what is wrong with them is found while nothing
    depends on it. It also ends that a place is being emptied. May be said again.
    """
    from drs_service import parts

    added = asyncio.run(parts.add_place(parts.beside(read_settings(data_dir=data_dir)), name))
    wanted = "" if added.state == "external" else f" Workers with these settings copy {added.missing} files to it."
    click.echo(f"{name} can be used: {added.state}.{wanted}")


@places.command("drain", cls=Command)
@click.argument("name")
@click.option("--undo", is_flag=True, help="Let copies go there again.")
@data_dir_option
def places_drain(name: str, undo: bool, data_dir: Path | None) -> None:
    """Have workers move what is in a place, which nothing is written to any more.

    `places status` says how far they have come. May be said again.
    """
    from drs_service import parts

    asyncio.run(parts.drain(parts.beside(read_settings(data_dir=data_dir)), name, undo=undo))
    click.echo(f"{name} is {'a place like others again' if undo else 'being emptied by the workers'}.")


def read_tags(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    tags = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if len(tags) < len(pairs):
        raise click.BadParameter("each is KEY=VALUE, and each KEY is there once")
    return tags


@command("adopt")
@click.argument("source", metavar="DIRECTORY|URL")
@click.option("--copy", is_flag=True, help="Copy the bytes to where the service keeps its own.")
@click.option("--space", default="default", help="The space of the objects (default).")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", callback=read_tags, help="Of each object.")
@click.option("--status", is_flag=True, help="Look for no files: say what has become of those found before.")
@click.option("--watch", is_flag=True, help="Wait until the workers are done, and show how far they are.")
@click.option("--json", "as_json", is_flag=True, help="Every file and what has become of it, one JSON object a line.")
@data_dir_option
def adopt(source: str, data_dir: Path | None, tags: dict[str, str], **options: Any) -> None:
    """Have an object made of each file below a directory, or a prefix of a bucket, of an external place.

    Finds the files; workers read them. May be said again at any time: what was adopted, and has not changed, stays.
    """
    from drs_service import adoption_shown
    from drs_service.domain import texts

    try:
        sys.exit(not run(adoption_shown.adopt(read_settings(data_dir=data_dir), source, texts.tags(tags), **options)))
    except KeyboardInterrupt:
        sys.exit(130)


@command("agent")
@click.option("--url", help="The service (DRS_URL).")
@click.option("--token", help="The join token of the session (DRS_JOIN_TOKEN).")
@click.option("--target", metavar="http://HOST:PORT", help="The app that is reached through the session.")
@click.option("--serve", is_flag=True, help="Serve this service itself there, instead of a --target.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where that keeps its data (DRS_DATA_DIR; ./data).")
@click.option("--keep-host", is_flag=True, help="Tell the app the public Host, and not its own.")
@click.option("--keep-prefix", is_flag=True, help="Ask the app for public paths, /socket/ID/…, and not for its own.")
@click.option("--busy", metavar="COMMAND", help="Exits with 0 while work is under way: then the session is not idle.")
def agent(
    url: str | None,
    token: str | None,
    target: str | None,
    serve: bool,
    data_dir: Path | None,
    busy: str | None,
    **kept: bool,
) -> None:
    """Have an app reached through a session of a service, from where nobody can reach it: this dials out.

    Ends when the session does, or with SIGTERM. Started again, it goes on with the same session.
    """
    from worker import agent as far_end
    from worker.serving import Inner
    from worker.target import Address, Target

    settings = read_settings(data_dir=data_dir)
    service = url or settings.url
    join_token = token or (settings.join_token.reveal() if settings.join_token is not None else None)
    if service is None or join_token is None or (target is None) != serve:
        raise click.UsageError(
            "Say which service, the join token of its session, and the app: --url, --token, and --target or --serve."
        )
    if serve and (busy or any(kept.values())):
        raise click.UsageError("--busy, --keep-host and --keep-prefix are for a --target.")
    try:
        address = Address.parse(target) if target is not None else None
    except ValueError as error:
        raise click.UsageError(f"--target: {error}") from error

    async def stand() -> str:
        beside: far_end.Beside | None = None
        if address is not None:
            app = Target(address, **kept)
            if busy is not None:
                beside = partial(far_end.watch_work, busy)
        else:
            inner = Inner(settings.data_dir, os.environ, grace=settings.shutdown_grace_seconds)
            app, beside = Target(inner.address), inner.keep
        return await far_end.run(
            service, join_token, app, state_dir=settings.state_dir, beside=beside, on_linked=lambda: None
        )

    if reason := run(stand()):
        click.echo(f"The session has ended: {reason}.")
    else:
        click.echo("The agent has ended. The service was not there to be told: the session goes on for a while.")


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


quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
parallel_option = click.option("--parallel", type=click.IntRange(1, 64), default=4, help="Files at once (4).")
patience_option = click.option(
    "--patience", type=click.FloatRange(0), default=300, help="Seconds without progress after which to give up (300)."
)


@command("put")
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR…", type=click.Path(exists=True, path_type=Path))
@click.option("--url", help="The service (DRS_URL).")
@click.option("--name", help="Another name for the one file or directory.")
@click.option("--type", "media_type", help="The media type; by default it follows from the name.")
@click.option("--description", help="Of the file, or of the bundle.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", callback=read_tags, help="Of the file or the bundle."
)
@click.option("--no-bundle", is_flag=True, help="Make no bundles of directories.")
@click.option("--check-first", is_flag=True, help="Read files before sending: what is there already is not sent.")
@click.option("--chunk-size", type=click.IntRange(1), default=64, help="MiB sent in one request (64).")
@click.option("--streams", type=click.IntRange(1, 64), default=1, help="Parts of one file sent at once (1).")
@click.option("--direct", is_flag=True, help="Send past the service, to where it keeps the bytes.")
@opening_option
@parallel_option
@patience_option
@json_option
@quiet_option
def put(
    paths: tuple[Path, ...],
    url: str | None,
    name: str | None,
    no_bundle: bool,
    secret_file: Path | None,
    parallel: int,
    **options: Any,
) -> None:
    """Send files to a service, and go on where an earlier try was cut short.

    Prints the DRS URI of each. A directory is sent with all that is in it, and becomes a bundle of bundles.
    """
    from drs_service.client import telling
    from drs_service.client.putting import About, Putting
    from drs_service.client.sending import How
    from drs_service.client.states import States
    from drs_service.outgoing.transfers import open_transfers
    from drs_service.settings import MIB, is_http_url

    settings = read_settings()
    service = url or settings.url
    if service is None or not is_http_url(service):
        raise click.UsageError("Say which service: --url http(s)://…, or DRS_URL.")
    if name is not None and (len(paths) > 1 or (no_bundle and paths[0].is_dir())):
        raise click.UsageError("--name is for one file, or for one directory that becomes a bundle.")
    about = About(name=name, media_type=options["media_type"], description=options["description"], tags=options["tags"])
    how = How(
        chunk_size=options["chunk_size"] * MIB,
        streams=options["streams"],
        check_first=options["check_first"],
        direct=options["direct"],
        patience=options["patience"],
    )
    tell = partial(telling.shown, as_json=options["as_json"], show="uri")
    opens = opening(secret_file, [service])

    async def sent() -> bool:
        with telling.watching(quiet=options["quiet"]) as watcher:
            async with open_transfers(opens) as transfers:
                states = States(settings.state_dir)
                putting = Putting(transfers, service, states, watcher, tell, how, parallel=parallel)
                return await putting.put(paths, about, bundles=not no_bundle)

    sys.exit(not run(sent()))


@command("get")
@click.argument("uris", nargs=-1, required=True, metavar="drs://…|URL…")
@click.option("-o", "--output", help="A directory to put them in, or the one's own path.")
@click.option("--force", is_flag=True, help="Replace files that are there and different.")
@parallel_option
@patience_option
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=86_400,
    help="Seconds to wait for bytes that are still prepared, such as brought back from an archive (86400).",
)
@opening_option
@json_option
@quiet_option
def get(
    uris: tuple[str, ...],
    output: str | None,
    force: bool,
    secret_file: Path | None,
    parallel: int,
    patience: float,
    wait: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fetch objects, verify them, and go on where an earlier try was cut short.

    Takes DRS URIs, URLs of DRS objects and URLs of plain bytes; bundles become directories. Prints the path of each.
    """
    from drs_service import parts
    from drs_service.client import telling
    from drs_service.client.getting import Getting
    from drs_service.client.states import States
    from drs_service.outgoing.transfers import open_transfers

    for uri in uris:
        if not uri.lower().startswith(("drs://", "http://", "https://")):
            raise click.UsageError(f"{uri} is neither a DRS URI nor an http(s) URL.")
    settings = read_settings()
    directory, name = Path(output or ""), None
    if output and len(uris) == 1 and not output.endswith("/") and not directory.is_dir():
        directory, name = directory.parent, directory.name
    tell = partial(telling.shown, as_json=as_json, show="path")
    opens = opening(secret_file, uris)

    async def fetched() -> bool:
        with telling.watching(quiet=quiet) as watcher:
            async with open_transfers(opens) as transfers, parts.open_resolver(settings) as resolver:
                getting = Getting(
                    transfers,
                    resolver.resolve,
                    States(settings.state_dir),
                    watcher,
                    tell,
                    parallel=parallel,
                    patience=patience,
                    prepared=wait,
                    force=force,
                )
                return await getting.get(uris, directory.absolute(), name)

    sys.exit(not run(fetched()))


main.add_command(sessions)
