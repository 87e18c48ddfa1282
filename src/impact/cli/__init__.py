"""The ``impact`` command: one file per command group."""

import click

import impact
from impact.cli.database import db
from impact.cli.dev import dev
from impact.cli.imports import imports
from impact.cli.serve import serve
from impact.cli.stack import stack
from impact.cli.token import token


@click.group()
@click.version_option(impact.__version__, prog_name="impact")
def main() -> None:
    """Impact, a multi-tenant e-commerce backend."""


for _command in (dev, serve, stack, db, imports, token):
    main.add_command(_command)
