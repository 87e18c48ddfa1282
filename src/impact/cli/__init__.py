"""The ``impact`` command."""

import click

from impact.cli.imports import imports


@click.group()
def main() -> None:
    """Impact, a multi-tenant e-commerce backend."""


main.add_command(imports)
