"""``impact audit``: the audit log's commands, each in a module of its own."""

import click

from impact.cli.audit_verify import verify


@click.group()
def audit() -> None:
    """Check and keep the audit log."""


for _command in (verify,):
    audit.add_command(_command)
