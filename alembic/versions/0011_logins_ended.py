"""Logins that were ended alone, beside the time before which all of an account's tokens are void.

New columns alone, which the release before does not see: until its last process has gone, a login
that the new one ended is still let in by it. Records of the tables' changes name their columns,
and so the triggers are made anew.

Revision: 0011, after 0010
"""

from alembic import op

from impact.engine.changes.triggers import capture

revision = "0011"
down_revision = "0010"

TABLES = ("admin_user", "customer")


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ADD COLUMN logins_ended jsonb NOT NULL DEFAULT '{{}}'")
        op.execute(capture(table, secrets=["password_hash"]))


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} DROP COLUMN logins_ended")
        op.execute(capture(table, secrets=["password_hash"]))
