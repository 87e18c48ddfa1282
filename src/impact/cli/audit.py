"""``impact audit``: the audit log's commands, each in a module of its own."""

import click

from impact.cli.audit_archive import archive, restore
from impact.cli.audit_search import search, tail
from impact.cli.audit_verify import verify


@click.group()
def audit() -> None:
    """Check, read and keep the audit log."""


for _command in (verify, search, tail, archive, restore):
    audit.add_command(_command)
