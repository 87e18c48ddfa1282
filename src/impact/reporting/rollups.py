"""The sums behind the sales reports: folding deltas into them, checking them, making them anew."""

import asyncio
import datetime as dt
import logging
import random
from typing import Literal
from uuid import UUID

import msgspec

from impact.engine.db.connection import connect
from impact.engine.db.failures import DRIVER_ERRORS
from impact.engine.db.nodes import NodeSet
from impact.engine.db.session import ReadSession, WriteSession
from impact.engine.db.statements import Statement, named
from impact.errors import ImpactError
from impact.settings import Settings

logger = logging.getLogger(__name__)

NAME = "impact rollups"
"""How the connection that folds is called in pg_stat_activity."""
BATCH = 20_000
"""Deltas of each table that one transaction folds at most: about a tenth of a second."""
_INTERVAL = 1.0
_RETRY = 5.0
_FOLD = named("rollups.fold", "SELECT sales_fold($1)")

_DIFFERENCES = Statement(
    "rollups.differences",
    """
    WITH counted_day AS (
      SELECT (created_at AT TIME ZONE 'UTC')::date AS day, currency_code, count(*) AS entries,
             count(*) FILTER (WHERE kind = 'sale') AS orders, sum(units) AS units,
             coalesce(sum(item_total) FILTER (WHERE kind = 'sale'), 0) AS gross,
             coalesce(-sum(item_total) FILTER (WHERE kind = 'return'), 0) AS returns,
             sum(CASE kind WHEN 'adjustment' THEN total ELSE charge_total END) AS charges
      FROM "order" WHERE tenant_id = :tenant_id AND status <> 'canceled'
      GROUP BY 1, 2
    ), kept_day AS (
      SELECT day, currency_code, sum(entries) AS entries, sum(orders) AS orders,
             sum(units) AS units, sum(gross) AS gross, sum(returns) AS returns,
             sum(charges) AS charges
      FROM (
        SELECT day, currency_code, entries, orders, units, gross, returns, charges
        FROM sales_day WHERE tenant_id = :tenant_id
        UNION ALL
        SELECT day, currency_code, entries, orders, units, gross, returns, charges
        FROM sales_day_delta WHERE tenant_id = :tenant_id
      ) AS d GROUP BY 1, 2
    ), counted_product AS (
      SELECT product_id, currency_code, count(*) AS order_count, sum(units) AS units,
             sum(revenue) AS revenue
      FROM (
        SELECT l.product_id, o.currency_code, o.id, sum(l.quantity) AS units,
               sum(l.total) AS revenue
        FROM order_line l
        JOIN "order" o ON o.tenant_id = l.tenant_id AND o.id = l.order_id
        WHERE l.tenant_id = :tenant_id AND o.tenant_id = :tenant_id
          AND o.kind = 'sale' AND o.status <> 'canceled'
          AND l.kind = 'product' AND l.product_id IS NOT NULL
        GROUP BY 1, 2, 3
      ) AS sold GROUP BY 1, 2
    ), kept_product AS (
      SELECT product_id, currency_code, sum(order_count) AS order_count, sum(units) AS units,
             sum(revenue) AS revenue
      FROM (
        SELECT product_id, currency_code, order_count, units, revenue
        FROM product_sales WHERE tenant_id = :tenant_id
        UNION ALL
        SELECT product_id, currency_code, order_count, units, revenue
        FROM product_sales_delta WHERE tenant_id = :tenant_id
      ) AS d GROUP BY 1, 2
    )
    SELECT 'day' AS kind, day, NULL::uuid AS product_id, currency_code,
           to_jsonb(k)::text AS kept, to_jsonb(c)::text AS counted
    FROM kept_day k FULL JOIN counted_day c USING (day, currency_code)
    WHERE (coalesce(k.entries, 0), coalesce(k.orders, 0), coalesce(k.units, 0),
           coalesce(k.gross, 0), coalesce(k.returns, 0), coalesce(k.charges, 0))
        IS DISTINCT FROM
          (coalesce(c.entries, 0), coalesce(c.orders, 0), coalesce(c.units, 0),
           coalesce(c.gross, 0), coalesce(c.returns, 0), coalesce(c.charges, 0))
    UNION ALL
    SELECT 'product', NULL, product_id, currency_code, to_jsonb(k)::text, to_jsonb(c)::text
    FROM kept_product k FULL JOIN counted_product c USING (product_id, currency_code)
    WHERE (coalesce(k.order_count, 0), coalesce(k.units, 0), coalesce(k.revenue, 0))
        IS DISTINCT FROM
          (coalesce(c.order_count, 0), coalesce(c.units, 0), coalesce(c.revenue, 0))
    ORDER BY 1, 2, 3, 4
    LIMIT :limit::int
    """,
)
_REBUILD = Statement(
    "rollups.rebuild",
    "SELECT sales_rebuild(:tenant_id)",
    # The reports of what was wrong are cached.
    writes={"order": "*"},
)
_SHOPS = Statement("rollups.shops", "SELECT id FROM tenant ORDER BY id", tenantless=True)
_KEYS = ("day", "product_id", "currency_code")


class Difference(msgspec.Struct, kw_only=True):
    """A sum that is not what a recount of the orders gives; ``kind`` says which key it has."""

    kind: Literal["day", "product"]
    day: dt.date | None
    product_id: UUID | None
    currency_code: str
    kept: dict[str, int]
    counted: dict[str, int]


async def differences(session: ReadSession, limit: int = 1000) -> list[Difference]:
    """Where the tenant's sums, deltas included, differ from a full recount: one statement, so
    that orders placed meanwhile make no difference. At most ``limit``."""
    rows = await session.fetch(_DIFFERENCES, limit=limit)
    return [
        Difference(
            kind=row["kind"],
            day=row["day"],
            product_id=row["product_id"],
            currency_code=row["currency_code"],
            kept=_figures(row["kept"]),
            counted=_figures(row["counted"]),
        )
        for row in rows
    ]


def _figures(text: str | None) -> dict[str, int]:
    """The figures of a row without its keys; nothing where there is no row."""
    row = msgspec.json.decode(text) if text else {}
    return {name: int(value) for name, value in row.items() if name not in _KEYS}


async def shops(session: ReadSession) -> list[str]:
    """Every tenant there is; needs a session of headquarters, which sees the register."""
    return [row["id"] for row in await session.fetch(_SHOPS)]


async def rebuild(session: WriteSession) -> None:
    """Make the tenant's sums anew from its orders. Orders are placed meanwhile as ever."""
    await session.fetch(_REBUILD)


async def fold(settings: Settings, nodes: NodeSet) -> None:
    """Fold deltas into the sums each second, until cancelled, through every outage.

    Any number of processes may: an advisory lock lets one at a time. Without any, reports stay
    exact and become slower with each order.
    """
    while True:
        try:
            node = nodes.primary()
            async with connect(node.url, NAME, timeout=settings.pool_connect_timeout) as connection:
                while nodes.primary() is node:
                    folded = await connection.fetchval(_FOLD, BATCH)
                    if folded < BATCH:
                        await asyncio.sleep(_INTERVAL * random.uniform(0.8, 1.2))  # noqa: S311
        except (*DRIVER_ERRORS, ImpactError) as error:
            logger.warning("folding the sums of orders waits: %s", error)
        except Exception:
            # A mistake of ours must not end it for the life of the process.
            logger.exception("folding the sums of orders failed")
        await asyncio.sleep(_RETRY * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
