"""`drs-service sessions`: what it prints of a session that a service has."""

import os
import shlex
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from drs_service.client.sessions import Created, Said, Session, Sessions
from drs_service.errors import DirectoryUnreachable, DrsServiceError, TargetExists
from drs_service.outgoing.transfers import open_transfers

NO_TARGET = "http://127.0.0.1:PORT"


async def create(url: str, *, secret_file: Path | None, as_json: bool, **said: Any) -> DrsServiceError | None:
    """What has gone wrong, if anything has."""
    try:
        with kept_in(secret_file) as keep:
            async with open_transfers() as transfers:
                made = await Sessions(transfers, url).create(**said)
            keep(made.read.secret)
    except DrsServiceError as error:
        return error
    if as_json:
        click.echo(made.json if secret_file is None else without_secret(made.json))
    else:
        show_created(made.read, url, secret_file)
    return None


@contextmanager
def kept_in(path: Path | None) -> Iterator[Callable[[str], None]]:
    """How to keep a secret in a new file that nobody else can read, made before there is one to lose.

    TargetExists, DirectoryUnreachable.
    """
    if path is None:
        yield lambda _: None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise TargetExists(f"{path} is there already.") from error
    except OSError as error:
        raise DirectoryUnreachable(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as file:
        try:
            yield lambda secret: print(secret, file=file, flush=True)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def without_secret(said: bytes) -> bytes:
    """It is in its file, and nowhere else."""
    members = msgspec.json.decode(said)
    del members["secret"]
    return msgspec.json.encode(members)


def show_created(made: Created, url: str, secret_file: Path | None) -> None:
    agent = ["drs-service", "agent", "--url", url, "--token", made.join_token, "--target"]
    click.echo(f"Session {made.session.id}, until {when(made.session.expires_at)}")
    click.echo(f"\nIts agent, to be started once in the workspace:\n  {shlex.join(agent)} {target_of(made)}")
    click.echo(f"\nIn a browser, once, until {when(made.link.expires_at)}:\n  {made.link.url}")
    told = str(secret_file) if secret_file is not None else made.secret
    click.echo(f"\nIts secret, which is not told again (DRS_SESSION_SECRET):\n  {told}")


def target_of(made: Created) -> str:
    return shlex.quote(made.session.target) if made.session.target is not None else NO_TARGET


async def show(url: str, session_id: str, secret: str, *, as_json: bool) -> DrsServiceError | None:
    async with open_transfers() as transfers:
        return await shown(Sessions(transfers, url).show(session_id, secret), as_json=as_json)


async def stop(url: str, session_id: str, secret: str, *, as_json: bool) -> DrsServiceError | None:
    async with open_transfers() as transfers:
        return await shown(Sessions(transfers, url).stop(session_id, secret), as_json=as_json)


async def shown(asking: Coroutine[Any, Any, Said[Session]], *, as_json: bool) -> DrsServiceError | None:
    try:
        said = await asking
    except DrsServiceError as error:
        return error
    if as_json:
        click.echo(said.json)
        return None
    session = said.read
    reason = f" ({session.reason})" if session.reason is not None else ""
    tunnel = "connected" if session.tunnel.connected else "not connected"
    since = f" since {when(session.tunnel.since)}" if session.tunnel.since is not None else ""
    click.echo(f"Session {session.id}{f', {session.name}' if session.name else ''}: {session.state}{reason}")
    click.echo(f"  at      {session.url}/")
    click.echo(f"  until   {when(session.expires_at)}")
    click.echo(f"  tunnel  {tunnel}{since}")
    click.echo(f"  running {session.running}")
    for step in session.history:
        if step.left_out:
            click.echo(f"  {step.left_out} more that are not kept")
        click.echo(f"  {when(step.at)}  {step.state}{f' ({step.reason})' if step.reason is not None else ''}")
    return None


def when(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
