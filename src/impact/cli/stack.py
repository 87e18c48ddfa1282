"""`impact stack`: the servers of a development machine."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from impact.cli._tables import markdown_table
from impact.stack import SETTINGS, ServerStatus, Setting, Stack, StackError

_NOT_RUNNING = 3

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="IMPACT_DATA_DIR",
    default=".impact",
    show_default=True,
    show_envvar=True,
    help="Where everything of the stack lives.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def stack() -> None:
    """PostgreSQL, its streaming replicas and Redis on this machine."""


@stack.command()
@data_dir_option
@click.option(
    "--replicas",
    type=int,
    envvar="IMPACT_REPLICAS",
    default=1,
    show_default=True,
    show_envvar=True,
    help="Streaming replicas, 0 to 3; a later start may have more or fewer.",
)
@json_option
def up(data_dir: Path, replicas: int, as_json: bool) -> None:
    """Start what is not running and leave it running in the background.

    --json prints the addresses with their passwords, which stack.json in the data directory keeps.
    """
    with _one_line():
        servers = Stack(data_dir, replicas=replicas, log=_note)
        endpoints = servers.up()
        if as_json:
            click.echo(msgspec.json.encode(endpoints))
        else:
            _print(servers.status())


@stack.command()
@data_dir_option
def down(data_dir: Path) -> None:
    """Stop all servers; the data stays."""
    with _one_line():
        Stack(data_dir, log=_note).down()


@stack.command()
@data_dir_option
@json_option
def status(data_dir: Path, as_json: bool) -> None:
    """Show the servers; exit status 0 when all run, else 3."""
    with _one_line():
        found = Stack(data_dir, log=_note).status()
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif found:
        _print(found)
    else:
        click.echo(f"No stack in {data_dir}: start it with 'impact stack up'")
    if not found or not all(s.running for s in found):
        sys.exit(_NOT_RUNNING)


@stack.command()
@json_option
def settings(as_json: bool) -> None:
    """List the PostgreSQL settings of the stack with their reasons. Needs no server.

    Your own settings go into postgres.conf in the data directory, which is read last.
    """
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([s._asdict() for s in SETTINGS])))
    else:
        click.echo(markdown_table(Setting._fields, SETTINGS))


def _print(servers: list[ServerStatus]) -> None:
    for s in servers:
        click.echo(f"{s.name:<10} 127.0.0.1:{s.port:<6} pid {s.pid or '-':<8} {s.detail}")


def _note(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except StackError as error:
        raise click.ClickException(str(error)) from error
