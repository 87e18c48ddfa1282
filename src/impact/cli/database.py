"""``impact db``: the schema."""

from pathlib import Path

import click

from impact.cli._database import owner_url
from impact.cli._settings import data_dir_option, one_line
from impact.ops import migrations


@click.group()
def db() -> None:
    """Migrate the database's schema."""


@db.command()
@data_dir_option
@click.option(
    "--revision",
    default="head",
    show_default=True,
    metavar="ID",
    help="Revision to migrate up to.",
)
def upgrade(data_dir: Path, revision: str) -> None:
    """Migrate the schema to its newest form.

    Connects as the schema's owner: IMPACT_OWNER_URL, else the stack's. Waits for a migration that
    runs already. IMPACT_APP_ROLE names the role that gets the grants, impact_app by default.
    """
    with one_line():
        migrations.upgrade(owner_url(data_dir), revision)
