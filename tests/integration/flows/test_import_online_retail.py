"""The import of online-retail files on a real database."""

import csv
import datetime as dt
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from impact.context import system_context
from impact.engine.db.session import Database
from impact.errors import ConflictError, NotFoundError
from impact.flows.imports import online_retail
from impact.flows.imports.online_retail import (
    ReconciliationError,
)
from impact.flows.imports.retail_statements import CURRENCY
from impact.flows.imports.source import SourceError
from impact.reporting.popular_products import popular_products
from impact.reporting.sales import SalesReport, sales

UK = "United Kingdom"
SALE = f"536365,85123A,WHITE  HANGING HEART,6,2010-12-01 08:26:00,2.55,17850,{UK}"
ROWS = [
    SALE,
    f"536365,85123a,WHITE HANGING HEART,2,2010-12-01 08:26:00,2.55,17850,{UK}",
    f"536365,POST,POSTAGE,1,2010-12-01 08:24:00,18.00,17850,{UK}",  # a charge, and earlier
    "536366,22139,,4,2010-12-02 09:00:00,4.25,,France",  # a guest; no description
    SALE,  # not contiguous, and equal to the first
    f"C536379,85123A,WHITE HANGING HEART,-1,2011-01-03 10:00:00,2.55,17850,{UK}",
    f"C536379,D,Discount,-1,2011-01-03 10:00:00,27.50,17850,{UK}",
    f"A563185,B,Adjust bad debt,1,2011-01-04 14:50:00,11062.06,,{UK}",
    f"A563186,B,Adjust bad debt,1,2011-01-05 14:51:00,-11062.06,,{UK}",
    f"536414,22139,,56,2010-12-01 11:52:00,0.0,,{UK}",  # stock adjustments
    f"536415,22139,damaged,-9,2010-12-01 11:53:00,0.0,,{UK}",
    f"536416,22841,FREE CAKE TIN,1,2010-12-05 14:02:00,0.0,12647,{UK}",  # a free line
    f"536417,22841,CAKE TIN,1,2010-12-05 14:02:00,0.001,12647,{UK}",  # sub-penny
    f'536418,gift_0001_10,"GIFT, ""TEN""\nPOUNDS",1,2010-12-06 10:00:00,8.33,12647,{UK}',
    f"536419,22841,CAKE TIN,many,2010-12-06 10:00:00,1.00,12647,{UK}",  # malformed
    f"536419,22841,CAKE TIN,1,06/12/2010 10:00,1.25,12647,{UK}",
]
IMPORTED = (
    Decimal("15.30")
    + Decimal("5.10")
    + 18
    + 17
    + Decimal("15.30")
    - Decimal("30.05")
    + (Decimal("8.33"))
)
"""The sum of the rows that are imported, by hand."""

Write = Callable[..., Path]
Query = Callable[..., Any]


async def report(database: Database, tenant: str, **period: Any) -> SalesReport:
    async with database.read(system_context(tenant, "test")) as session:
        asked = {"interval": "month", "start": None, "end": None, **period}
        return await sales.load(session, **asked)


async def everything(query: Query, tenant: str) -> list[Any]:
    """All that an import may write, with the times of its last change."""
    tables = (
        "product",
        "product_variant",
        "variant_price",
        "inventory_level",
        "customer",
        "order",
        "order_line",
    )
    return [
        await query(tenant, f'SELECT id, updated_at, xmin::text FROM "{table}" ORDER BY id')
        for table in tables
    ]


class TestReconciliation:
    async def test_every_row_and_penny_is_imported_or_listed(
        self, run_retail: Any, retail_file: Write, tenant: str, database: Database, tmp_path: Path
    ) -> None:
        summary = await run_retail(retail_file(ROWS), tenant)
        assert (summary.read.rows, summary.imported.rows, summary.rejected.rows) == (16, 11, 5)
        assert summary.imported.amount == IMPORTED
        assert summary.rejected.amount == Decimal("0.001") + Decimal("1.25")
        assert summary.read.amount == summary.imported.amount + summary.rejected.amount
        assert summary.reasons == {
            "bad_date": 1, "bad_quantity": 1, "stock_adjustment": 2, "sub_penny": 1,
        }  # fmt: skip
        assert (summary.orders, summary.lines, summary.products, summary.customers) == (7, 11, 4, 2)
        (total,) = (await report(database, tenant)).totals
        assert Decimal(total.net) / 100 == IMPORTED
        with (tmp_path / "rejects.csv").open(newline="") as stream:
            listed = list(csv.DictReader(stream))
        assert [(row["line"], row["reason"]) for row in listed] == [
            ("11", "stock_adjustment"),
            ("12", "stock_adjustment"),
            ("14", "sub_penny"),
            ("17", "bad_quantity"),  # the record before it spans two lines
            ("18", "bad_date"),
        ]
        assert listed[3]["Quantity"] == "many"

    async def test_report_by_month(
        self, run_retail: Any, retail_file: Write, tenant: str, database: Database
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        december, january = (await report(database, tenant)).rows
        assert december.period == dt.date(2010, 12, 1)
        assert (december.orders, december.units) == (4, 6 + 2 + 4 + 6 + 1 + 1)
        assert (december.gross, december.returns, december.charges) == (6103, 0, 1800)
        assert (january.orders, january.units, january.gross) == (0, -1, 0)
        assert (january.returns, january.charges) == (255, -2750)
        assert january.net == -3005

    async def test_report_bounds_are_inclusive_days(
        self, run_retail: Any, retail_file: Write, tenant: str, database: Database
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        day = dt.date(2010, 12, 2)
        one = await report(database, tenant, interval="day", start=day, end=day)
        assert [(row.period, row.gross) for row in one.rows] == [(day, 1700)]
        none = await report(database, tenant, end=dt.date(2009, 1, 1))
        assert (none.rows, none.totals) == ([], [])
        assert none.as_of.tzinfo is not None

    async def test_canceled_orders_do_not_count(
        self, run_retail: Any, retail_file: Write, tenant: str, database: Database, query: Query
    ) -> None:
        await run_retail(retail_file([SALE]), tenant)
        await query(tenant, "UPDATE \"order\" SET status = 'canceled'")
        assert (await report(database, tenant)).rows == []
        async with database.read(system_context(tenant, "test")) as session:
            assert await popular_products.load(session, limit=10) == []

    async def test_a_difference_rolls_everything_back(
        self,
        run_retail: Any,
        retail_file: Write,
        tenant: str,
        query: Query,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        honest = online_retail._net_sales
        calls = []

        async def off_by_a_penny(session: Any) -> int:
            calls.append(None)
            return await honest(session) + len(calls)

        monkeypatch.setattr(online_retail, "_net_sales", off_by_a_penny)
        with pytest.raises(ReconciliationError, match=r"0 rows and -0\.01 gbp"):
            await run_retail(retail_file(ROWS), tenant)
        assert not any(await everything(query, tenant))
        assert await query("hq", "SELECT FROM tenant WHERE id = $1", tenant) == []


class TestMapping:
    async def test_orders(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        orders = await query(
            tenant,
            """SELECT external_id, kind, status, fulfillment_status, item_total, charge_total,
                      units, customer_id IS NULL, currency_code, created_at
               FROM "order" ORDER BY id""",
        )
        assert [order[0] for order in orders] == [
            "536365", "536366", "536416", "536418", "C536379", "A563185", "A563186",
        ]  # fmt: skip
        assert orders[0][1:] == (
            "sale", "completed", "delivered", 3570, 1800, 14, False, CURRENCY,
            dt.datetime(2010, 12, 1, 8, 24, tzinfo=dt.UTC),
        )  # fmt: skip
        assert orders[1][7] is True
        assert orders[4][1:7] == ("return", "completed", "fulfilled", -255, -2750, -1)
        assert orders[5][1:7] == ("adjustment", "completed", "fulfilled", 0, 1106206, 0)

    async def test_ids_are_uuid7_of_the_time(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        for table in ("order", "order_line", "product", "customer", "variant_price"):
            for row_id, created_at in await query(tenant, f'SELECT id, created_at FROM "{table}"'):
                assert (row_id.version, row_id.variant) == (7, "specified in RFC 4122")
                assert row_id.int >> 80 == created_at.timestamp() * 1000

    async def test_display_ids_follow_time(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        by_display = await query(tenant, 'SELECT created_at FROM "order" ORDER BY display_id')
        assert by_display == sorted(by_display)

    async def test_lines(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        lines = await query(
            tenant,
            """SELECT l.kind, l.title, l.sku, l.quantity, l.unit_price, l.rank,
                      l.product_id IS NULL, l.variant_id IS NULL
               FROM order_line l JOIN "order" o ON o.id = l.order_id
               WHERE o.external_id = '536365' ORDER BY l.rank""",
        )
        heart = ("product", "WHITE HANGING HEART", "85123A")
        assert lines == [
            (*heart, 6, 255, 0, False, False),
            (*heart, 2, 255, 1, False, False),
            ("charge", "POSTAGE", "POST", 1, 1800, 2, True, True),
            (*heart, 6, 255, 3, False, False),
        ]

    async def test_products(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        products = await query(
            tenant,
            """SELECT p.external_id, p.title, p.handle, p.status, v.sku, v.manage_inventory,
                      r.amount, i.stocked_quantity
               FROM product p JOIN product_variant v ON v.product_id = p.id
               JOIN inventory_level i ON i.variant_id = v.id
               LEFT JOIN variant_price r ON r.variant_id = v.id ORDER BY 1""",
        )
        assert products == [
            ("22139", "22139", "22139-22139", "published", "22139", False, 425, 0),
            # Given away only, so it has no price to be sold at.
            ("22841", "FREE CAKE TIN", "free-cake-tin-22841", "draft", "22841", False, None, 0),
            ("85123A", "WHITE HANGING HEART", "white-hanging-heart-85123a", "published", "85123A",
             False, 255, 0),
            ("GIFT_0001_10", 'GIFT, "TEN" POUNDS', "gift-ten-pounds-gift-0001-10", "published",
             "GIFT_0001_10", False, 833, 0),
        ]  # fmt: skip

    async def test_customers(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        found = await query(
            tenant,
            "SELECT external_id, has_account, metadata->>'country' FROM customer ORDER BY 1",
        )
        assert found == [("12647", False, UK), ("17850", False, UK)]

    async def test_an_article_the_shop_knows_by_its_sku_is_not_made_again(
        self, run_retail: Any, retail_file: Write, shop: str, query: Query
    ) -> None:
        product, variant = (
            "0199aaaa-0000-7000-8000-000000000001",
            "0199aaaa-0000-7000-8000-000000000002",
        )
        await query(
            shop,
            "INSERT INTO product (tenant_id, id, title, handle) VALUES ($1, $2, 'x', 'x')",
            shop,
            product,
        )
        await query(
            shop,
            "INSERT INTO product_variant (tenant_id, id, product_id, title, sku)"
            " VALUES ($1, $2, $3, 'x', '85123A')",
            shop, variant, product,
        )  # fmt: skip
        assert (await run_retail(retail_file([SALE]), shop)).products == 0
        assert await query(shop, "SELECT product_id::text, variant_id::text FROM order_line") == [
            (product, variant)
        ]

    async def test_popular_products(
        self, run_retail: Any, retail_file: Write, tenant: str, database: Database
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        async with database.read(system_context(tenant, "test")) as session:
            first, *_ = await popular_products.load(session, limit=1)
        assert (first.title, first.order_count, first.units) == ("WHITE HANGING HEART", 1, 14)
        assert (first.revenue, first.currency_code) == (3570, "gbp")


class TestAgain:
    async def test_a_second_run_changes_nothing(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query
    ) -> None:
        path = retail_file(ROWS, compress=True)
        first = await run_retail(path, tenant)
        before = await everything(query, tenant)
        second = await run_retail(path, tenant)
        assert second.present == first.imported
        assert not second.changed
        assert (second.orders, second.products, second.customers, second.imported.rows) == (0,) * 4
        assert await everything(query, tenant) == before

    @pytest.mark.parametrize("cut", range(1, len(ROWS)))
    async def test_a_longer_file_adds_what_is_new(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query, cut: int
    ) -> None:
        """Also where the shorter one cut an invoice off."""
        await run_retail(retail_file(ROWS[:cut], name="short.csv"), tenant, max_rejects=100)
        summary = await run_retail(retail_file(ROWS), tenant)
        assert summary.imported.rows + summary.present.rows == 11
        assert summary.imported.amount + summary.present.amount == IMPORTED
        orders = await query(
            tenant,
            """SELECT o.external_id, o.total, o.units, sum(l.total)::bigint,
                      count(DISTINCT l.rank) = count(*)
               FROM "order" o JOIN order_line l ON l.order_id = o.id
               GROUP BY o.tenant_id, o.id ORDER BY o.id""",
        )
        assert len(orders) == 7
        assert all(total == lines and ranks for _, total, _, lines, ranks in orders)
        assert sum(order[2] for order in orders) == 19

    async def test_a_product_removed_since_does_not_come_back(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query
    ) -> None:
        await run_retail(retail_file(ROWS), tenant)
        await query(tenant, "DELETE FROM product")
        await query(tenant, "DELETE FROM customer")
        summary = await run_retail(retail_file(ROWS), tenant)
        assert not summary.changed
        assert (summary.products, summary.customers) == (0, 0)


class TestTenants:
    async def test_a_missing_tenant_is_an_error(
        self, run_retail: Any, retail_file: Write, tenant: str
    ) -> None:
        with pytest.raises(NotFoundError, match="--create-tenant"):
            await run_retail(retail_file(ROWS), tenant, create_tenant=False)

    async def test_two_imports_at_once(
        self, run_retail: Any, retail_file: Write, shop: str, database: Database, query: Query
    ) -> None:
        await query(shop, "SELECT pg_advisory_lock(7203, hashtext($1))", shop)
        with pytest.raises(ConflictError, match="another import"):
            await run_retail(retail_file(ROWS), shop)

    async def test_each_country_sees_its_own_rows_alone(
        self, run_retail: Any, retail_file: Write, database: Database, query: Query, tenant: str
    ) -> None:
        home, away = f"Home {tenant}", f"Away {tenant}"
        rows = [row.replace(UK, home).replace("France", away) for row in ROWS]
        rows.append("536999,22139,TIN,1,2010-12-02 09:00:00,1.00,,hq")
        summary = await run_retail(retail_file(rows), None)
        home, away = f"home-{tenant}", f"away-{tenant}"
        assert summary.tenants == [away, home]
        assert summary.tenants_created == 2
        assert summary.reasons["bad_country"] == 1
        assert summary.imported.amount == IMPORTED
        assert await query(away, 'SELECT external_id FROM "order"') == [("536366",)]
        assert await query(away, "SELECT DISTINCT tenant_id FROM order_line") == [(away,)]
        assert await query(away, "SELECT external_id FROM product") == [("22139",)]
        assert await query(away, "SELECT FROM customer") == []
        assert await query(home, 'SELECT count(*) FROM "order"') == [(6,)]
        assert await query("", 'SELECT FROM "order"') == []
        assert await query("hq", "SELECT name, currency_code FROM tenant WHERE id = $1", away) == [
            (f"Away {tenant}", "gbp")
        ]
        (total,) = (await report(database, away)).totals
        assert total.net == 1700
        assert not (await run_retail(retail_file(rows), None)).changed


class TestBadFiles:
    @pytest.mark.parametrize("max_rejects", [0, 12])
    async def test_too_many_malformed_rows(
        self,
        run_retail: Any,
        retail_file: Write,
        tenant: str,
        query: Query,
        max_rejects: float,
        tmp_path: Path,
    ) -> None:
        with pytest.raises(SourceError, match=r"line 17: bad_quantity; 2 of 16 rows are malformed"):
            await run_retail(retail_file(ROWS), tenant, max_rejects=max_rejects)
        assert not any(await everything(query, tenant))
        assert os.listdir(tmp_path) == ["retail.csv"]  # noqa: PTH208

    async def test_a_file_that_breaks_off_leaves_nothing(
        self, run_retail: Any, retail_file: Write, tenant: str, query: Query, tmp_path: Path
    ) -> None:
        path = retail_file([SALE.replace("536365", str(n)) for n in range(50_000)], compress=True)
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(SourceError, match=r"csv, line \d{4,}: the gzip data breaks off"):
            await run_retail(path, tenant)
        assert not any(await everything(query, tenant))
        assert os.listdir(tmp_path) == ["retail.csv"]  # noqa: PTH208
        # The connection went back to its pool in good order.
        assert (await run_retail(retail_file([SALE]), tenant)).lines == 1
