"""What happened to a product: its own changes, and those of what belongs to it."""

import datetime as dt
from uuid import UUID

from impact.engine.db.session import ReadSession
from impact.engine.db.statements import Statement
from impact.reporting.audit_log import ENTRY, Place

# A page of each thing by the index on its id, then the newest of them: the cost grows with the
# number of variants and images, and not with the length of the history.
_HISTORY = Statement(
    "reporting.product_history",
    f"""
    WITH things AS (
        SELECT 'product' AS table_name, :product_id::uuid::text AS row_id
        UNION ALL SELECT 'product_variant', id::text FROM product_variant
            WHERE tenant_id = :tenant_id AND product_id = :product_id
        UNION ALL SELECT 'variant_price', p.id::text
            FROM variant_price p
            JOIN product_variant v ON v.tenant_id = p.tenant_id AND v.id = p.variant_id
            WHERE p.tenant_id = :tenant_id AND v.product_id = :product_id
        UNION ALL SELECT 'product_option', id::text FROM product_option
            WHERE tenant_id = :tenant_id AND product_id = :product_id
        UNION ALL SELECT 'product_image', id::text FROM product_image
            WHERE tenant_id = :tenant_id AND product_id = :product_id
    )
    SELECT a.occurred_at, a.id, {ENTRY}::text AS body
    FROM things CROSS JOIN LATERAL (
        SELECT * FROM audit_log a
        WHERE a.tenant_id = :tenant_id AND a.row_id = things.row_id
          AND a.table_name = things.table_name
          AND (a.occurred_at, a.id) < (:after_at, :after_id)
        ORDER BY a.occurred_at DESC, a.id DESC LIMIT :limit
    ) AS a
    ORDER BY a.occurred_at DESC, a.id DESC LIMIT :limit
    """,
)
_KNOWN = Statement(
    "reporting.product_known",
    """
    SELECT EXISTS (SELECT FROM product WHERE tenant_id = :tenant_id AND id = :product_id)
    """,
)
_LAST: Place = (dt.datetime.max.replace(tzinfo=dt.UTC), 0)


async def read_history(
    session: ReadSession, product_id: UUID, *, limit: int, after: Place | None
) -> list[tuple[Place, str]] | None:
    """At most ``limit`` entries, the newest first; None for a product that there never was."""
    after_at, after_id = after or _LAST
    rows = await session.fetch(
        _HISTORY, product_id=product_id, limit=limit, after_at=after_at, after_id=after_id
    )
    if not rows and not await session.fetch_value(_KNOWN, product_id=product_id):
        return None
    return [((row["occurred_at"], row["id"]), row["body"]) for row in rows]
