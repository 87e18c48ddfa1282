"""From when on tokens count, and which web pages may read a shop's answers.

New columns alone, which the release before does not see. Records of the tables' changes name their
columns, and so the triggers are made anew.

Revision: 0005, after 0004
"""

from alembic import op

from impact.engine.changes.triggers import capture

revision = "0005"
down_revision = "0004"

COLUMNS = {
    "admin_user": "tokens_after timestamptz",
    "customer": "tokens_after timestamptz",
    "tenant": "allowed_origins text[] NOT NULL DEFAULT '{}'",
}
SECRETS = {"admin_user": ["password_hash"], "customer": ["password_hash"]}


def upgrade() -> None:
    for table, column in COLUMNS.items():
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
        op.execute(capture(table, secrets=SECRETS.get(table, ())))


def downgrade() -> None:
    for table, column in COLUMNS.items():
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column.split()[0]}")
        op.execute(capture(table, secrets=SECRETS.get(table, ())))
