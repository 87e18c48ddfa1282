"""What the commands that measure share: what they take, the files they write, how they end."""

import contextlib
import http.client
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import click
from click.core import ParameterSource
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from impact.errors import ImpactError
from impact.stack import StackError

F = TypeVar("F", bound=Callable[..., Any] | click.Command)

CANNOT_RUN = 2
INTERRUPTED = 130
"""As shells give it: 128 + SIGINT."""


class CannotRunError(click.ClickException):
    """Nothing was measured, or what was could not be kept: no verdict on what is measured."""

    exit_code = CANNOT_RUN


class Finite(click.FloatRange):
    """A range that no ``nan`` passes, which is neither below nor above anything."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is no finite number", param, ctx)
        return found


def _writable(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    if path is None or (path.exists() and not path.is_file()):
        return path  # a pipe or a device is opened once
    new = not path.exists()
    try:
        path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise click.BadParameter(f"'{path}' cannot be written: {error.strerror}") from None
    return path


_FAILURES = (
    *(ImpactError, StackError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, RedisError),
    # What a server that is measured may do: go away, be silent, answer half.
    *(OSError, EOFError, http.client.HTTPException, subprocess.SubprocessError),
)


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn what keeps a measurement from being made into one line and exit status 2."""
    try:
        yield
    except _FAILURES as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise CannotRunError(text) from error


class Measurements(click.Group):
    """Each of its commands exits with 0 or, by its verdict, 1; 2 where there is none, 130 after
    Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with one_line():
                return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            click.echo("\nAborted!", err=True)
            ctx.exit(INTERRUPTED)


def refuse_dropped(group: click.Context) -> None:
    """Options of a group's own measurement mean nothing where one of its commands is called; the
    data directory goes on to that."""
    for option in group.command.params:
        given = group.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name != "data_dir":
            command = group.invoked_subcommand
            raise click.UsageError(f"{option.opts[0]} goes after '{command}', if that takes it")


def report_option(name: str, *, help: str) -> Callable[[F], F]:
    """A file that is written when all has been measured, and tried before: what took minutes must
    not be lost for a folder that is not there."""
    kind = click.Path(path_type=Path, dir_okay=False)
    return click.option(name, type=kind, callback=_writable, help=help)


def write_report(path: Path | None, content: bytes) -> None:
    """Call it when the report was printed: the disk may be full by now."""
    if path is None:
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CannotRunError(f"'{path}' cannot be written: {error.strerror}") from error
