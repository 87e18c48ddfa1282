"""The command line: one file per command group."""

import click

from impact.cli.stack import stack


@click.group()
def main() -> None:
    """Multi-tenant e-commerce backend."""


main.add_command(stack)
