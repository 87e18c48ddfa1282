"""``impact db``: the schema."""

import os
from pathlib import Path

import click

from impact.cli._settings import data_dir_option, one_line
from impact.errors import ConfigurationError
from impact.ops import migrations
from impact.stack import Stack


@click.group()
def db() -> None:
    """The database's schema."""


@db.command()
@data_dir_option
@click.option("--revision", default="head", show_default=True)
def upgrade(data_dir: Path, revision: str) -> None:
    """Migrate the schema, as its owner: IMPACT_OWNER_URL, else the stack's."""
    with one_line():
        migrations.upgrade(_owner_url(data_dir), revision)


def _owner_url(data_dir: Path) -> str:
    url = os.environ.get("IMPACT_OWNER_URL")
    if url:
        return url
    endpoints = Stack(data_dir).endpoints()
    if endpoints is None:
        raise ConfigurationError(f"IMPACT_OWNER_URL is not set and there is no stack in {data_dir}")
    return endpoints.owner_url
