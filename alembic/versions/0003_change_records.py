"""Every business table records its changes, and the relay is told whose records wait.

Revision: 0003, after 0002
"""

import os

import sqlalchemy as sa
from alembic import op

from impact.engine.changes.triggers import FUNCTIONS, capture, release

revision = "0003"
down_revision = "0002"

APP_ROLE = os.environ.get("IMPACT_APP_ROLE", "impact_app")
TABLES = (
    "address",
    "admin_user",
    "api_key",
    "cart",
    "cart_line",
    "collection",
    "customer",
    "inventory_level",
    "order",
    "order_event",
    "order_line",
    "product",
    "product_category",
    "product_category_product",
    "product_image",
    "product_option",
    "product_variant",
    "rbac_policy",
    "reservation",
    "role",
    "role_assignment",
    "tenant",
    "variant_price",
)
SECRETS = {
    "admin_user": ["password_hash"],
    "api_key": ["token_hash"],
    "customer": ["password_hash"],
}
# What is reserved is the sum of the reservations, which are recorded.
COUNTERS = {"inventory_level": ["reserved_quantity"]}
# Rows live for a second. Vacuum comes by their number, at full speed, and does not give the pages
# back: that needs a lock nobody else gets along with, and they are filled again at once.
STORAGE = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "5000",
    "autovacuum_vacuum_insert_scale_factor": "0",
    "autovacuum_vacuum_insert_threshold": "-1",
    "autovacuum_analyze_scale_factor": "0",
    "autovacuum_analyze_threshold": "100000000",
    "autovacuum_vacuum_cost_delay": "0",
    "vacuum_truncate": "off",
}


def upgrade() -> None:
    op.add_column(
        "change_record",
        sa.Column("announced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_index(
        "ix_change_record_untold",
        "change_record",
        ["tenant_id", "id"],
        postgresql_where=sa.text("NOT announced"),
    )
    op.execute(f"GRANT UPDATE (announced) ON change_record TO {APP_ROLE}")
    op.create_index("ix_audit_log_chain", "audit_log", ["tenant_id", "position"])
    settings = ", ".join(f"{name} = {value}" for name, value in STORAGE.items())
    op.execute(f"ALTER TABLE change_record SET ({settings})")
    for signature, statement in FUNCTIONS.items():
        op.execute(statement.replace(":", r"\:"))
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    for function in ("change_record_tenants()", "change_record_count(integer)"):
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {APP_ROLE}")
    for table in TABLES:
        op.execute(capture(table, secrets=SECRETS.get(table, ()), counters=COUNTERS.get(table, ())))


def downgrade() -> None:
    for table in TABLES:
        for statement in release(table):
            op.execute(statement)
    for signature in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION {signature}")
    op.execute(f"ALTER TABLE change_record RESET ({', '.join(STORAGE)})")
    op.drop_index("ix_audit_log_chain", "audit_log")
    op.drop_index("ix_change_record_untold", "change_record")
    op.drop_column("change_record", "announced")
