"""What every command of the command line stands on."""

import os
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import click

from drs_service.errors import DrsServiceError
from drs_service.settings import Settings

T = TypeVar("T")

CONFIGURATION_ERROR = 78  # EX_CONFIG of sysexits.h


class Command(click.Command):
    """Errors of ours end a command with their message, not with a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except DrsServiceError as error:
            fail(error)


class Commands(click.Group, Command):
    """Several of them, under one name."""

    command_class = Command


def fail(error: DrsServiceError) -> NoReturn:
    click.echo(f"drs-service: {error.in_full}", err=True)
    sys.exit(CONFIGURATION_ERROR)


def read_settings(**overrides: object) -> Settings:
    from drs_service import logs

    settings = Settings.from_env(os.environ, **overrides)
    logs.configure(settings.log_level)
    return settings


def run(main: Coroutine[Any, Any, T]) -> T:
    import uvloop

    return uvloop.run(main)
