"""`drs-service sessions`: remote workspaces from the command line."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drs_service.commands import Commands, read_settings, run
from drs_service.errors import DrsServiceError
from drs_service.settings import Settings, is_http_url

if TYPE_CHECKING:
    from drs_service.outgoing.transfers import Opening

BELOW_A_SESSION = re.compile(r"https?://[^?#]*/socket/[0-9a-z]{1,64}(?=[/?#]|$)", re.ASCII | re.IGNORECASE)
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_span(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Seconds."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text, re.ASCII)
    if found is None:
        raise click.BadParameter("must be a number of seconds, or such as 30m, 4h or 2d")
    return int(found[1]) * UNITS[found[2]]


def read_id(_: click.Context, __: click.Parameter, text: str) -> str:
    if re.fullmatch("[0-9a-z]{1,64}", text, re.ASCII) is None:
        raise click.BadParameter("is not the id of a session")
    return text


def read_text(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("is not UTF-8") from error
    return text


url_option = click.option("--url", help="The service (DRS_URL).")
json_option = click.option("--json", "as_json", is_flag=True, help="What the service answers, as JSON.")
secret_option = click.option(
    "--secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Where its secret is; otherwise it is DRS_SESSION_SECRET.",
)


opening_option = click.option(
    "--secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Where the secret of the session is, for https://…/socket/ID.",
)


@click.group("sessions", cls=Commands)
def sessions() -> None:
    """Create, watch over and stop sessions: remote workspaces that dial in."""


@sessions.command("create")
@click.option("--name", callback=read_text, help="For people.")
@click.option("--target", callback=read_text, help="What the agent will serve, such as http://127.0.0.1:8888.")
@click.option("--max-life", "life", callback=read_span, metavar="SPAN", help="Its longest life: 30m, 4h, 2d (1d).")
@click.option(
    "--idle", callback=read_span, metavar="SPAN", help="For how long nothing may move in it (as the service)."
)
@click.option(
    "--secret-file", type=click.Path(path_type=Path), help="A new file for its secret, instead of showing it."
)
@url_option
@json_option
def create(url: str | None, **options: Any) -> None:
    """Create a session. Prints how to open it, and how to start its agent."""
    from drs_service import sessions_shown

    ended(run(sessions_shown.create(service_url(read_settings(), url), **options)))


@sessions.command("show")
@click.argument("session_id", metavar="ID", callback=read_id)
@secret_option
@url_option
@json_option
def show(session_id: str, secret_file: Path | None, url: str | None, as_json: bool) -> None:
    """Show a session, with its history."""
    from drs_service import sessions_shown

    settings = read_settings()
    ended(
        run(sessions_shown.show(service_url(settings, url), session_id, secret(settings, secret_file), as_json=as_json))
    )


@sessions.command("stop")
@click.argument("session_id", metavar="ID", callback=read_id)
@secret_option
@url_option
@json_option
def stop(session_id: str, secret_file: Path | None, url: str | None, as_json: bool) -> None:
    """Have a session end. May be said again."""
    from drs_service import sessions_shown

    settings = read_settings()
    ended(
        run(sessions_shown.stop(service_url(settings, url), session_id, secret(settings, secret_file), as_json=as_json))
    )


@sessions.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that have ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the service keeps its data (DRS_DATA_DIR).")
def list_sessions(data_dir: Path | None, every: bool, as_json: bool) -> None:
    """List everybody's sessions, as the operator sees them."""
    from drs_service import sessions_table

    run(sessions_table.list_all(read_settings(data_dir=data_dir), ended=every, as_json=as_json))


def ended(error: DrsServiceError | None) -> None:
    """What the service has refused is no fault of the settings."""
    if error is not None:
        click.echo(f"drs-service: {error}", err=True)
        sys.exit(1)


def service_url(settings: Settings, url: str | None) -> str:
    found = url or settings.url
    if found is None or not is_http_url(found):
        raise click.UsageError("Say which service: --url http(s)://…, or DRS_URL.")
    return found.rstrip("/")


def secret(settings: Settings, path: Path | None) -> str:
    """Never an argument of a command: everybody on a machine can read those."""
    if path is not None:
        return secret_in(path)
    if settings.session_secret is None:
        raise click.UsageError("Say the secret of the session: --secret-file PATH, or DRS_SESSION_SECRET.")
    return settings.session_secret.reveal()


def secret_in(path: Path) -> str:
    try:
        found = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"The secret of the session cannot be read: {error}") from error
    if re.fullmatch("[!-~]+", found) is None:
        raise click.UsageError(f"{path} is not the secret of a session.")
    return found


def opening(secret_file: Path | None, urls: Iterable[str]) -> "Opening | None":
    """What opens the one session that URLs are below. Never the environment's: it would be shown to any URL."""
    from drs_service.outgoing.transfers import Opening

    if secret_file is None:
        return None
    match list({found[0] for url in urls if (found := BELOW_A_SESSION.match(url)) is not None}):
        case [url]:
            return Opening(url=url, secret=secret_in(secret_file))
        case _:
            raise click.UsageError("--secret-file is for URLs of one session: https://…/socket/ID.")
