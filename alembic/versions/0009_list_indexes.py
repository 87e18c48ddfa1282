"""Indexes for lists that read a shop's every row: orders by kind, products by tag, and more.

Built without keeping anybody from writing, one after the other; it may be run again after it was
interrupted.

Revision: 0009, after 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"

INDEXES = {
    "ix_order_fulfillment_created": (
        '"order" (tenant_id, fulfillment_status, created_at DESC, id DESC)'
    ),
    "ix_order_kind_created": '"order" (tenant_id, kind, created_at DESC, id DESC)',
    "ix_product_tags": "product USING gin (tenant_id, tags)",
    "ix_product_updated": "product (tenant_id, updated_at DESC, id DESC)",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # Whoever waits here holds no lock that others want.
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        for name, columns in INDEXES.items():
            # What an interrupted build left is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {columns}")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
