"""Work per page is constant (P6), seen in plans over a large shop: no page reads its table.

Rows and buffers are counted by EXPLAIN, and nothing is timed. Each list runs as the application's
role under row-level security, in its default order and each other, with each filter, on page 1 and
by a cursor from the depth.
"""

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from impact.domains.catalog import read as catalog
from impact.domains.customers import read as customers
from impact.domains.identity.login import _CUSTOMER
from impact.domains.inventory import read as inventory
from impact.domains.orders import read as orders
from impact.engine.db.readmodel import ReadModel
from impact.engine.db.statements import Statement
from impact.ops import migrations
from impact.reporting.popular_products import _POPULAR_PRODUCTS
from impact.reporting.sales import _SALES
from impact.stack import Endpoints, Stack
from integration.budgets.grown import ORDERS, PRODUCTS, TENANT, grow

pytestmark = pytest.mark.xdist_group("grown")

LIMIT = 20
LARGE = {"product", "product_variant", "variant_price", "inventory_level", "customer", "order",
         "order_line", "product_category_product"}  # fmt: skip


def id_of(what: str) -> UUID:
    return UUID(hashlib.md5(what.encode(), usedforsecurity=False).hexdigest())


NOW = dt.datetime.now(dt.UTC)
FILTERS: dict[str, dict[str, Any]] = {
    "products": {
        "id": [id_of("product5")],
        "q": "%c4ca4238a0b9%",
        "sku": "product-7",
        "handle": ["product-7"],
        "status": ["draft"],
        "collection_id": [id_of("collection3")],
        "category_id": [id_of("category3")],
        "tag": ["tag-7"],
        "external_id": "e7",
    },
    "variants": {"id": [id_of("product5")], "product_id": [id_of("product5")], "sku": "product-7"},
    "orders": {
        "id": [id_of("order5")],
        "kind": ["return"],
        "status": ["canceled"],
        "fulfillment_status": ["shipped"],
        "customer_id": [id_of("customer5")],
        "email": "buyer5@MAIL.example",
        "display_id": 77,
        "external_id": "o77",
        "created_from": NOW - dt.timedelta(minutes=ORDERS // 2),
        "created_to": NOW - dt.timedelta(minutes=ORDERS // 2),
    },
    "customers": {
        "id": [id_of("customer5")],
        "email": ["buyer5@mail.example"],
        "has_account": True,
    },
    "lines": {
        "id": [id_of("order5")],
        "order_id": [id_of("order5")],
        "product_id": [id_of("product5")],
        "variant_id": [id_of("product5")],
    },
}
MODELS: dict[str, ReadModel] = {
    "products": catalog.products,
    "store products": catalog.store_products,
    "variants": catalog.variants,
    "orders": orders.orders,
    "lines": orders.lines,
    "customers": customers.customers,
    "levels": inventory.levels,
}
# What a sort key is of, deep in the list; from there a cursor goes on.
DEEP = {
    "created_at": NOW - dt.timedelta(minutes=PRODUCTS // 2),
    "updated_at": NOW - dt.timedelta(minutes=PRODUCTS // 2),
    "title": "Product 8",
    "handle": "product-5",
    "id": UUID(int=1 << 127),
    "display_id": ORDERS // 2,
}
# Sorted by what has no index of its own: few shops ask for it, and every index costs each write.
WITHOUT_INDEX = {
    ("customers", "email"),
    ("customers", "updated_at"),
    ("variants", "title"),
}


@pytest.fixture(scope="module")
def place(stack: Stack, worker_id: str) -> Iterator[Endpoints]:
    name = f"grown_{worker_id}"
    endpoints = stack.create_database(name)
    migrations.upgrade(endpoints.owner_url)
    asyncio.run(_fill(endpoints))
    yield endpoints
    stack.drop_database(name)


async def _fill(endpoints: Endpoints) -> None:
    admin = await asyncpg.connect(endpoints.admin_url)
    await grow(admin)
    await admin.close()


@pytest.fixture
async def connection(place: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(place.primary_url)
    await opened.execute(f"SET impact.tenant_id = '{TENANT}'; SET jit = off")
    yield opened
    await opened.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


class Work:
    """What a statement did, ``never executed`` parts left out."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.buffers = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        done = [node for node in nodes(plan) if node["Actual Loops"]]
        self.rows_out = plan["Actual Rows"]
        self.whole_tables = [
            node["Relation Name"]
            for node in done
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE
        ]
        self.sorted = max(
            (
                child["Actual Rows"]
                for node in done
                if "Sort" in node["Node Type"]
                for child in node["Plans"]
            ),
            default=0,
        )
        self.touched = sum(
            node["Actual Loops"]
            * (
                node["Actual Rows"]
                + node.get("Rows Removed by Filter", 0)
                + node.get("Rows Removed by Index Recheck", 0)
            )
            for node in done
            if "Scan" in node["Node Type"] and node.get("Relation Name") in LARGE
        )

    def bounded(self, *, rows: int, buffers: int, sorts: int) -> None:
        assert self.whole_tables == []
        assert self.sorted <= sorts
        assert self.touched <= rows
        assert self.buffers <= buffers


async def work(connection: asyncpg.Connection, statement: Statement, **values: Any) -> Work:
    sql = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement.sql}"
    arguments = statement.bind(TENANT, values)
    # The second time: what planning and empty caches of the session read is not the statement's.
    for _ in range(2):
        plan = json.loads(await connection.fetchval(sql, *arguments))[0]["Plan"]
    return Work(plan)


def asked(name: str, **more: Any) -> dict[str, Any]:
    shape = {"currency_code": "eur"} if name == "store products" else {}
    # The count is bounded by a setting of its own.
    return {"limit": LIMIT + 1, "offset": 0, "count_limit": 0, **shape, **more}


SORTED = [
    pytest.param(name, sort, descending, id=f"{name} {'-' if descending else ''}{sort}")
    for name, model in MODELS.items()
    for sort in model._sorts
    for descending in (True, False)
    if (name, sort) not in WITHOUT_INDEX
]
FILTERED = [
    pytest.param(name, key, value, id=f"{name} ?{key}")
    for name in MODELS
    for key, value in FILTERS.get(name.removeprefix("store "), {}).items()
]


@pytest.mark.parametrize(("name", "sort", "descending"), SORTED)
async def test_page_one_and_a_page_of_the_depth(connection, name, sort, descending):
    model = MODELS[name]
    column = model._sorts[sort]
    first = await work(
        connection, model._list_statement(column, descending, frozenset()), **asked(name)
    )
    assert first.rows_out == LIMIT + 1
    first.bounded(rows=LIMIT * 20, buffers=LIMIT * 80, sorts=LIMIT * 5)
    after = {"after_key": DEEP[sort], "after_id": UUID(int=1 << 127)}
    statement = model._list_statement(column, descending, frozenset({"after"}))
    deep = await work(connection, statement, **asked(name, **after))
    assert deep.rows_out == LIMIT + 1
    # Page 10,000 costs what page 1 costs; of two tables' places one may need a page more.
    assert deep.touched <= first.touched * 1.2
    assert deep.buffers <= first.buffers * 1.2 + 8


@pytest.mark.parametrize(("name", "key", "value"), FILTERED)
async def test_each_filter(connection, name, key, value):
    model = MODELS[name]
    order = model._default_order
    statement = model._list_statement(
        model._sort_column(order), order.startswith("-"), frozenset({key})
    )
    done = await work(connection, statement, **asked(name, **{key: value}))
    nothing = {("lines", "id"), ("store products", "status")}
    assert done.rows_out >= 1 or (name, key) in nothing
    # A filter may read the rows that pass, or those of a page's order that it looks through first.
    done.bounded(rows=2600, buffers=4000, sorts=2000)


async def test_counting_stops_at_its_limit(connection):
    statement = orders.orders._list_statement("o.created_at", True, frozenset())
    values = asked("orders")
    bare = await work(connection, statement, **values)
    counted = await work(connection, statement, **{**values, "count_limit": 1000})
    assert counted.touched - bare.touched <= 1000


@pytest.mark.parametrize("model", ["products", "orders", "customers", "variants"])
async def test_one(connection, model):
    statement = MODELS[model]._one_statement(frozenset())
    entity = "product" if model in ("products", "variants") else model.removesuffix("s")
    done = await work(connection, statement, entity_id=id_of(f"{entity}5"))
    assert done.rows_out == 1
    done.bounded(rows=20, buffers=80, sorts=5)


async def test_a_login(connection):
    done = await work(connection, _CUSTOMER, email="BUYER6@mail.example")
    assert done.rows_out == 1
    done.bounded(rows=5, buffers=40, sorts=0)


async def test_reports_read_no_order(connection):
    everything = {"start": dt.date.min, "end": dt.date.max}
    for interval in ("day", "month"):
        done = await work(connection, _SALES, interval=interval, **everything)
        days = ORDERS // 1440 + 5
        assert done.touched == 0
        done.bounded(rows=0, buffers=days + 50, sorts=days)
    done = await work(connection, _POPULAR_PRODUCTS, limit=10)
    # The titles of those that are shown.
    done.bounded(rows=10, buffers=100, sorts=20)
    assert done.rows_out == 10


async def test_a_page_that_reads_its_table_is_noticed(connection):
    by_text = Statement(
        "tests.by_text",
        "SELECT id FROM product WHERE tenant_id = :tenant_id AND search_text LIKE '%zzz%'",
    )
    done = await work(connection, by_text)
    with pytest.raises(AssertionError):
        done.bounded(rows=2600, buffers=4000, sorts=2000)
