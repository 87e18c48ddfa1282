"""The sums of the orders that were there before 0006.

One tenant at a time, each in a transaction of its own: orders go on meanwhile, and their triggers
leave deltas that a tenant's recount either sees with the order or not at all. It may be run again
after it was interrupted.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    if context.is_offline_mode():
        op.execute("SELECT sales_rebuild(id) FROM tenant ORDER BY id")
        return
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        # The order of one tenant to the next by the index: the table itself may be very large.
        tenants = connection.execute(sa.text("SELECT id FROM tenant ORDER BY id")).scalars().all()
        for tenant in tenants:
            connection.execute(sa.text("SELECT sales_rebuild(:tenant)"), {"tenant": tenant})


def downgrade() -> None:
    """Sums that are true do no harm."""
