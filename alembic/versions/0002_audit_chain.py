"""Room for the audit log's hash chain: each entry's place in it, and where each tenant's stands.

Revision: 0002, after 0001
"""

import os

import sqlalchemy as sa
from alembic import op

from impact.engine.db.tenancy import policy_statements

revision = "0002"
down_revision = "0001"

APP_ROLE = os.environ.get("IMPACT_APP_ROLE", "impact_app")


def upgrade() -> None:
    # Nothing has written to the log before this revision, so the columns can be required.
    op.add_column("audit_log", sa.Column("position", sa.BigInteger(), nullable=False))
    op.add_column("audit_log", sa.Column("previous_hash", sa.LargeBinary(), nullable=False))
    op.alter_column("audit_log", "hash", existing_type=sa.LargeBinary(), nullable=False)
    op.create_table(
        "audit_chain",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_audit_chain")),
    )
    for statement in policy_statements("audit_chain"):
        op.execute(statement)
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON audit_chain TO {APP_ROLE}")


def downgrade() -> None:
    op.drop_table("audit_chain")
    op.alter_column("audit_log", "hash", existing_type=sa.LargeBinary(), nullable=True)
    op.drop_column("audit_log", "previous_hash")
    op.drop_column("audit_log", "position")
