"""The import of Shopify product files on a real database."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from impact.engine.db.session import Database
from impact.errors import NotFoundError
from impact.flows.imports.shopify import ShopifyOptions, import_shopify
from impact.flows.imports.source import SourceError
from impact.flows.imports.summary import CatalogSummary

Write = Callable[..., Path]
Query = Callable[..., Any]

POT = {
    "Handle": "clay-pot",
    "Title": "Clay  Pot",
    "Body (HTML)": "<p>Classic</p>",
    "Vendor": "Company 123",
    "Type": "Outdoor Pots",
    "Tags": "Pot, Plants,Pot",
    "Published": "true",
    "Option1 Name": "Size",
    "Option1 Value": "Regular",
    "Variant SKU": "POT-R",
    "Variant Grams": "250",
    "Variant Inventory Qty": "3",
    "Variant Inventory Policy": "deny",
    "Variant Price": "9.99",
    "Variant Compare At Price": "12",
    "Image Src": "https://example.com/2.jpg",
    "Image Position": "2",
}
LARGE = {
    "Handle": "clay-pot",
    "Option1 Value": "Large",
    "Variant Price": "15.9",
    "Variant Inventory Qty": "-2",
    "Variant Inventory Policy": "continue",
    "Image Src": "https://example.com/1.jpg",
    "Image Position": "1",
}
IMAGE_ONLY = {
    "Handle": "clay-pot",
    "Image Src": "https://example.com/3.jpg",
    "Image Position": "3",
}
LAMP = {
    "Handle": "lamp",
    "Title": "Lamp",
    "Published": "false",
    "Option1 Name": "Title",
    "Option1 Value": "Default Title",
    "Variant Price": "59",
}


@pytest.fixture
def run(database: Database, tmp_path: Path) -> Callable[..., Any]:
    async def run(path: Path, tenant: str, **options: Any) -> CatalogSummary:
        chosen = ShopifyOptions(tenant=tenant, **options)
        return await import_shopify(database, path, chosen, tmp_path / "rejects.csv")

    return run


class TestMapping:
    async def test_a_product_of_several_rows(
        self, run: Any, shopify_file: Write, shop: str, query: Query
    ) -> None:
        summary = await run(shopify_file([POT, LARGE, IMAGE_ONLY, LAMP]), shop)
        assert (summary.rows, summary.rows_imported, summary.products) == (4, 4, 2)
        assert (summary.variants, summary.images, summary.categories) == (3, 3, 1)
        assert await query(
            shop,
            "SELECT handle, title, description, vendor, status, tags, thumbnail FROM product"
            " ORDER BY handle",
        ) == [
            ("clay-pot", "Clay Pot", "<p>Classic</p>", "Company 123", "published",
             ["Pot", "Plants"], "https://example.com/1.jpg"),
            ("lamp", "Lamp", None, None, "draft", [], None),
        ]  # fmt: skip
        assert await query(
            shop,
            """SELECT v.title, v.sku, v.options, v.manage_inventory, v.allow_backorder, v.weight,
                      v.metadata, r.amount, r.currency_code, i.stocked_quantity
               FROM product_variant v JOIN variant_price r ON r.variant_id = v.id
               JOIN inventory_level i ON i.variant_id = v.id
               JOIN product p ON p.id = v.product_id ORDER BY p.handle, v.variant_rank""",
        ) == [
            ("Regular", "POT-R", '{"Size": "Regular"}', True, False, 250,
             '{"compare_at_price": 1200}', 999, "eur", 3),
            ("Large", None, '{"Size": "Large"}', True, True, None, None, 1590, "eur", 0),
            ("Default", None, "{}", False, False, None, None, 5900, "eur", 0),
        ]  # fmt: skip
        assert await query(shop, "SELECT title, values FROM product_option") == [
            ("Size", ["Regular", "Large"])
        ]
        assert await query(shop, "SELECT url FROM product_image ORDER BY rank") == [
            (f"https://example.com/{n}.jpg",) for n in (1, 2, 3)
        ]
        assert await query(
            shop,
            """SELECT c.name, c.handle, p.handle FROM product_category c
               JOIN product_category_product l ON l.product_category_id = c.id
               JOIN product p ON p.id = l.product_id""",
        ) == [("Outdoor Pots", "outdoor-pots", "clay-pot")]

    @pytest.mark.parametrize(("currency", "amount"), [("jpy", 59), ("gbp", 5900), ("kwd", 59000)])
    async def test_minor_units_are_the_currencys(
        self, run: Any, shopify_file: Write, shop: str, query: Query, currency: str, amount: int
    ) -> None:
        await run(shopify_file([LAMP]), shop, currency=currency)
        assert await query(shop, "SELECT currency_code, amount FROM variant_price") == [
            (currency, amount)
        ]


class TestAgain:
    async def test_handles_that_exist_are_left_unchanged(
        self, run: Any, shopify_file: Write, shop: str, query: Query
    ) -> None:
        await run(shopify_file([POT, LARGE]), shop)
        before = await query(shop, "SELECT id, xmin::text FROM product")
        summary = await run(shopify_file([POT | {"Title": "Other"}, LARGE, LAMP]), shop)
        assert (summary.products, summary.products_present, summary.rows_present) == (1, 1, 2)
        assert await query(shop, "SELECT id, xmin::text FROM product WHERE handle <> 'lamp'") == (
            before
        )
        assert not (await run(shopify_file([POT, LARGE, LAMP]), shop)).changed


class TestRejects:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"Variant Price": "cheap"}, "bad_price"),
            ({"Variant Price": "-1"}, "bad_price"),
            ({"Variant Price": "1.005"}, "sub_penny"),
            ({"Variant Inventory Qty": "few"}, "bad_quantity"),
            ({"Variant Grams": "heavy"}, "bad_weight"),
            ({"Option1 Value": "Regular"}, "repeated_variant"),
            ({"Option1 Value": ""}, "missing_option_value"),
        ],
    )
    async def test_a_product_is_taken_whole_or_not_at_all(
        self,
        run: Any,
        shopify_file: Write,
        shop: str,
        query: Query,
        tmp_path: Path,
        change: dict[str, str],
        reason: str,
    ) -> None:
        path = shopify_file([POT, LARGE | change, LAMP])
        summary = await run(path, shop, max_rejects=50)
        assert (summary.rows_imported, summary.rows_rejected) == (1, 2)
        assert await query(shop, "SELECT handle FROM product") == [("lamp",)]
        with (tmp_path / "rejects.csv").open(newline="") as stream:
            listed = list(csv.DictReader(stream))
        assert [(row["line"], row["reason"]) for row in listed] == [
            ("2", "product_rejected"),
            ("3", reason),
        ]

    async def test_rows_without_a_product(self, run: Any, shopify_file: Write, shop: str) -> None:
        rows = [{**LAMP, "Handle": ""}, {**LAMP, "Title": ""}, POT, {**LAMP, "Handle": "x"}, LARGE]
        summary = await run(shopify_file(rows), shop, max_rejects=100)
        assert summary.reasons == {
            "missing_handle": 1, "missing_title": 1, "repeated_handle": 1,
        }  # fmt: skip
        assert summary.rows == summary.rows_imported + summary.rows_rejected

    async def test_a_sku_of_another_product(self, run: Any, shopify_file: Write, shop: str) -> None:
        await run(shopify_file([POT]), shop)
        rows = [POT | {"Handle": "twin"}, LAMP]
        summary = await run(shopify_file(rows), shop)
        assert summary.reasons == {"sku_taken": 1}
        assert summary.products == 1

    async def test_too_many_leave_nothing(
        self, run: Any, shopify_file: Write, shop: str, query: Query
    ) -> None:
        with pytest.raises(SourceError, match="line 3: bad_price; 1 of 2 rows are malformed"):
            await run(shopify_file([LAMP, POT | {"Variant Price": "?"}]), shop)
        assert await query(shop, "SELECT FROM product") == []


class TestTenant:
    async def test_missing(self, run: Any, shopify_file: Write, tenant: str) -> None:
        with pytest.raises(NotFoundError, match="--create-tenant"):
            await run(shopify_file([LAMP]), tenant)

    async def test_created(self, run: Any, shopify_file: Write, tenant: str, query: Query) -> None:
        await run(shopify_file([LAMP]), tenant, create_tenant=True, currency="cad")
        assert await query(tenant, "SELECT name, currency_code FROM tenant") == [(tenant, "cad")]
