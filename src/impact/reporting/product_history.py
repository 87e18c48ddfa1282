"""What happened to a product: its own changes, and those of what belongs to it."""

import datetime as dt
from uuid import UUID

from impact.context import RequestContext
from impact.engine.db.statements import Statement
from impact.engine.runtime import Runtime
from impact.errors import NotFoundError
from impact.reporting.audit_log import ENTRY, Place, log_session

_THINGS = Statement(
    "reporting.product_things",
    """
    SELECT 'product' AS table_name, :product_id::uuid::text AS row_id,
           EXISTS (SELECT FROM product WHERE tenant_id = :tenant_id AND id = :product_id) AS exists
    UNION ALL SELECT 'product_variant', id::text, true FROM product_variant
        WHERE tenant_id = :tenant_id AND product_id = :product_id
    UNION ALL SELECT 'variant_price', p.id::text, true
        FROM variant_price p
        JOIN product_variant v ON v.tenant_id = p.tenant_id AND v.id = p.variant_id
        WHERE p.tenant_id = :tenant_id AND v.product_id = :product_id
    UNION ALL SELECT 'product_option', id::text, true FROM product_option
        WHERE tenant_id = :tenant_id AND product_id = :product_id
    UNION ALL SELECT 'product_image', id::text, true FROM product_image
        WHERE tenant_id = :tenant_id AND product_id = :product_id
    """,
)
# A page of each thing by the index on its id, then the newest of them: the cost grows with the
# number of variants and images, and not with the length of the history.
_HISTORY = Statement(
    "reporting.product_history",
    f"""
    SELECT a.occurred_at, a.id, {ENTRY}::text AS body
    FROM unnest(:tables::text[], :rows::text[]) AS things (table_name, row_id)
    CROSS JOIN LATERAL (
        SELECT * FROM audit_log a
        WHERE a.tenant_id = :tenant_id AND a.row_id = things.row_id
          AND a.table_name = things.table_name
          AND (a.occurred_at, a.id) < (:after_at, :after_id)
        ORDER BY a.occurred_at DESC, a.id DESC LIMIT :limit
    ) AS a
    ORDER BY a.occurred_at DESC, a.id DESC LIMIT :limit
    """,
)
_LAST: Place = (dt.datetime.max.replace(tzinfo=dt.UTC), 0)


async def read_history(
    runtime: Runtime, context: RequestContext, product_id: UUID, *, limit: int, after: Place | None
) -> list[tuple[Place, str]]:
    """At most ``limit`` entries, the newest first.

    Raises NotFoundError for a product that there never was.
    """
    # What belongs to the product is read like the product itself: by who has just written it too.
    async with runtime.database.read(context) as session:
        things = await session.fetch(_THINGS, product_id=product_id)
    after_at, after_id = after or _LAST
    async with log_session(runtime, context) as session:
        rows = await session.fetch(
            _HISTORY,
            tables=[thing["table_name"] for thing in things],
            rows=[thing["row_id"] for thing in things],
            limit=limit,
            after_at=after_at,
            after_id=after_id,
        )
    if not rows and not things[0]["exists"]:
        raise NotFoundError(f"Product with id '{product_id}' not found")
    return [((row["occurred_at"], row["id"]), row["body"]) for row in rows]
