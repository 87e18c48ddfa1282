"""Exports: of one's own rows alone, as NDJSON and as CSV, recorded, in bounded batches."""

import csv
import gzip
import io
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from impact.domains.catalog import read as catalog
from impact.domains.customers import read as customers
from impact.engine.db.base import new_id
from impact.engine.db.streaming import batches
from impact.engine.http.encodings import zstd
from impact.engine.runtime import Runtime
from impact.reporting.exports.export import rows_of
from impact.stack import Endpoints
from support.changes import changes
from support.customers import fill
from support.shapes import refused
from support.shops import Shop

EXPORTS = "/admin/exports"
PERMISSIONS = {
    "products": "product",
    "product-variants": "product",
    "inventory-levels": "inventory",
    "customers": "customer",
    "orders": "order",
    "order-lines": "order",
}
# Where what is exported is also listed, and under which name.
LISTS = {
    "products": "products",
    "variants": "product-variants",
    "inventory-levels": "inventory-levels",
    "customers": "customers",
    "orders": "orders",
}


@pytest.fixture
async def owner(endpoints: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(endpoints.owner_url)
    yield connection
    await connection.close()


async def ndjson(client: httpx.AsyncClient, headers: Any, name: str, **query: Any) -> list[Any]:
    response = await client.get(f"{EXPORTS}/{name}", headers=headers, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.content.splitlines()]


async def table(
    client: httpx.AsyncClient, headers: Any, name: str, **query: Any
) -> list[dict[str, str]]:
    query["format"] = "csv"
    response = await client.get(f"{EXPORTS}/{name}", headers=headers, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/csv")
    text = response.content.decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.fixture
async def sold(shop: Shop, client: httpx.AsyncClient) -> list[Any]:
    """Two orders, the older first: of two lines, and of one, which is canceled."""
    first, second = await shop.variant(amount=1999), await shop.variant(amount=250)
    orders = [
        (await shop.order(first, second, quantity=2)).json()["order"],
        (await shop.order(second, email="other@mail.test")).json()["order"],
    ]
    await client.post(f"/admin/orders/{orders[1]['id']}/cancel", headers=shop.admin)
    return orders


class TestAccess:
    @pytest.mark.parametrize("name", PERMISSIONS)
    async def test_anonymous(self, client: httpx.AsyncClient, shop: Shop, name: str) -> None:
        refused(await client.get(f"{EXPORTS}/{name}"), 401)

    @pytest.mark.parametrize("name", PERMISSIONS)
    async def test_other_tenant(
        self, client: httpx.AsyncClient, shop: Shop, other_shop: Shop, sold: Any, name: str
    ) -> None:
        assert await ndjson(client, other_shop.admin, name) == []
        assert await table(client, other_shop.admin, name) == []
        if name != "customers":
            assert len(await ndjson(client, shop.admin, name)) in {2, 3}

    @pytest.mark.parametrize("name", PERMISSIONS)
    async def test_reading_is_not_enough(
        self, client: httpx.AsyncClient, shop: Shop, name: str
    ) -> None:
        resource = PERMISSIONS[name]
        reader = await shop.user(f"{resource}:read", "audit-log:export")
        refused(await client.get(f"{EXPORTS}/{name}", headers=reader), 403)
        exporter = await shop.user(f"{resource}:export")
        assert await ndjson(client, exporter, name) == []


class TestRows:
    @pytest.mark.parametrize("listed", LISTS)
    async def test_they_are_what_the_list_shows(
        self, client: httpx.AsyncClient, shop: Shop, sold: Any, listed: str
    ) -> None:
        body = {"email": "kept@mail.test", "first_name": "Zoë"}
        await client.post("/admin/customers", headers=shop.admin, json=body)
        page = (await client.get(f"/admin/{listed}", headers=shop.admin)).json()
        rows = page[listed.replace("-", "_")]
        assert rows
        assert await ndjson(client, shop.admin, LISTS[listed]) == rows

    async def test_order_lines(
        self, client: httpx.AsyncClient, shop: Shop, sold: list[Any]
    ) -> None:
        lines = await ndjson(client, shop.admin, "order-lines")
        assert {line["id"] for line in lines} == {i["id"] for o in sold for i in o["items"]}
        first = next(line for line in lines if line["unit_price"] == 1999)
        order = sold[0]
        assert first["order_id"] == order["id"]
        assert first["display_id"] == order["display_id"]
        assert (first["currency_code"], first["quantity"], first["total"]) == ("eur", 2, 3998)
        assert first["order_kind"] == "sale"

    @pytest.mark.parametrize(
        ("name", "query", "wanted"),
        [
            ("orders", {"status": "canceled"}, [1]),
            ("orders", {"kind": "return"}, []),
            ("orders", {"email": "OTHER@mail.test"}, [1]),
            ("orders", {"created_from": "CREATED"}, [1]),
            ("orders", {"created_to": "CREATED"}, [0]),
            ("orders", {"order": "created_at"}, [0, 1]),
            ("order-lines", {"order_status": "canceled"}, [1]),
            ("order-lines", {"order_kind": ["sale", "return"]}, [0, 0, 1]),
            ("order-lines", {"created_from": "CREATED"}, [1]),
            ("order-lines", {"created_to": "CREATED"}, [0, 0]),
            ("order-lines", {"kind": "charge"}, []),
            ("order-lines", {"product_id": str(uuid4())}, []),
        ],
    )
    async def test_filters_of_orders(
        self,
        client: httpx.AsyncClient,
        shop: Shop,
        sold: list[Any],
        name: str,
        query: dict[str, Any],
        wanted: list[int],
    ) -> None:
        query = {key: sold[1]["created_at"] if v == "CREATED" else v for key, v in query.items()}
        rows = await ndjson(client, shop.admin, name, **query)
        found = [row["id"] if name == "orders" else row["order_id"] for row in rows]
        expected = [sold[number]["id"] for number in wanted]
        if "order" not in query:
            found, expected = sorted(found), sorted(expected)
        assert found == expected

    async def test_filters_of_the_rest(self, client: httpx.AsyncClient, shop: Shop) -> None:
        product = await shop.product(title="Felt hat", stock=2)
        other = await shop.product(status="draft", stock=9)
        (variant,) = product["variants"]
        body = {"email": "Kept@mail.test"}
        made = await client.post("/admin/customers", headers=shop.admin, json=body)
        customer = made.json()["customer"]
        for name, query, wanted in (
            ("products", {"q": "ELT H"}, [product["id"]]),
            ("products", {"status": ["draft"]}, [other["id"]]),
            ("products", {"sku": variant["sku"]}, [product["id"]]),
            ("product-variants", {"product_id": product["id"]}, [variant["id"]]),
            ("customers", {"email": "KEPT@mail.test"}, [customer["id"]]),
            ("customers", {"has_account": True}, []),
        ):
            rows = await ndjson(client, shop.admin, name, **query)
            assert [row["id"] for row in rows] == wanted, (name, query)
        rows = await ndjson(client, shop.admin, "inventory-levels", available_below=3)
        assert [row["variant_id"] for row in rows] == [variant["id"]]

    @pytest.mark.parametrize(
        ("query", "place"),
        [
            ({"format": "xml"}, "format"),
            ({"order": "price"}, "order"),
            ({"id": "x"}, "id"),
            ({"created_from": "yesterday"}, "created_from"),
        ],
    )
    async def test_bad_input(
        self, client: httpx.AsyncClient, shop: Shop, query: dict[str, str], place: str
    ) -> None:
        response = await client.get(f"{EXPORTS}/orders", headers=shop.admin, params=query)
        refused(response, 400, place=place)


class TestCsv:
    async def test_all_columns_of_all_rows(
        self, client: httpx.AsyncClient, shop: Shop, sold: list[Any]
    ) -> None:
        rows = await table(client, shop.admin, "orders", order="created_at")
        assert [row["id"] for row in rows] == [order["id"] for order in sold]
        first = rows[0]
        assert list(first) == list(sold[0])
        assert (first["total"], first["currency_code"]) == (str(sold[0]["total"]), "eur")
        assert (first["canceled_at"], first["metadata"]) == ("", "")
        assert json.loads(first["items"]) == sold[0]["items"]

    async def test_formulas_are_texts_and_numbers_are_numbers(
        self, client: httpx.AsyncClient, shop: Shop, owner: asyncpg.Connection, runtime: Runtime
    ) -> None:
        risky = [
            *(
                "=1+1",
                "+1",
                "-1",
                "@SUM(A1)",
                "\t=1",
                "\r=1",
                "\n=1",
                " =1",
                "\ufeff=1",
                "\u200b=1",
            ),
            *("\u200b=1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(1)"),
        ]
        texts = [*risky, '"=1", said\nhe', "plain", "a;=1+1", "", " ", "\xe9=1"]
        for number, text in enumerate(texts):
            await owner.execute(
                "INSERT INTO customer (tenant_id, id, email, last_name) VALUES ($1, $2, $3, $4)",
                *(shop.tenant, new_id(), f"{number:02}@mail.test", text),
            )
        order_id = new_id()
        await owner.execute(
            'INSERT INTO "order" (tenant_id, id, kind, currency_code, item_total, total, units)'
            " VALUES ($1, $2, 'return', 'eur', -500, -500, -1)",
            *(shop.tenant, order_id),
        )
        # The owner's rows are on every node once a later commit is.
        assert (await shop.product())["id"]
        rows = await table(client, shop.admin, "customers", order="email")
        assert [row["last_name"] for row in rows] == [
            *(f"'{text}" for text in risky),
            *texts[len(risky) :],
        ]
        headers = {**shop.admin, "accept": "text/csv"}
        written = (await client.get(f"{EXPORTS}/customers", headers=headers)).text
        # Where a semicolon divides cells, it must not divide this one.
        assert '"a;=1+1"' in written
        (row,) = await table(client, shop.admin, "orders", kind="return")
        assert (row["total"], row["item_total"]) == ("-500", "-500")


class TestHow:
    @pytest.mark.parametrize(
        ("accept", "format", "kind"),
        [
            ("*/*", None, "application/x-ndjson"),
            ("text/csv", None, "text/csv"),
            ("application/json, text/csv;q=0.5", None, "text/csv"),
            ("text/csv;q=0", None, "application/x-ndjson"),
            ("text/csv;q=0.1, application/x-ndjson;q=0.2", None, "application/x-ndjson"),
            ("*/*, text/csv;q=0.9", None, "application/x-ndjson"),
            ("text/csv", "ndjson", "application/x-ndjson"),
            ("application/x-ndjson", "csv", "text/csv"),
        ],
    )
    async def test_the_format(
        self, client: httpx.AsyncClient, shop: Shop, accept: str, format: str | None, kind: str
    ) -> None:
        response = await client.get(
            f"{EXPORTS}/products",
            headers={**shop.admin, "accept": accept},
            params={"format": format} if format else {},
        )
        assert response.headers["content-type"].partition(";")[0] == kind
        name = "csv" if kind == "text/csv" else "ndjson"
        assert response.headers["content-disposition"] == f'attachment; filename="products.{name}"'
        assert "accept" in response.headers["vary"]
        assert response.headers["cache-control"] == "no-store"

    async def test_packed_for_who_takes_it(
        self, client: httpx.AsyncClient, shop: Shop, sold: Any
    ) -> None:
        texts = []
        for coding in ("gzip", "zstd", "identity"):
            headers = {**shop.admin, "accept-encoding": coding}
            async with client.stream("GET", f"{EXPORTS}/orders", headers=headers) as response:
                assert response.headers.get("content-encoding", "identity") == coding
                assert "content-length" not in response.headers
                raw = b"".join([part async for part in response.aiter_raw()])
            unpack = {"gzip": gzip.decompress, "zstd": zstd.decompress}.get(coding, bytes)
            texts.append(unpack(raw))
        assert texts[0] == texts[1] == texts[2] != b""

    async def test_the_description_names_the_formats(self, client: httpx.AsyncClient) -> None:
        paths = (await client.get("/schema/openapi.json")).json()["paths"]
        files = {"application/x-ndjson", "text/csv"}
        for path in (*(f"{EXPORTS}/{name}" for name in PERMISSIONS), "/admin/audit-logs/export"):
            assert set(paths[path]["get"]["responses"]["200"]["content"]) == files, path
        report = paths["/admin/reports/sales"]["get"]["responses"]["200"]["content"]
        assert set(report) == {
            "application/json",
            "text/csv",
            "application/vnd.apache.parquet",
        }

    async def test_head(self, client: httpx.AsyncClient, shop: Shop, sold: Any) -> None:
        response = await client.head(f"{EXPORTS}/orders", headers=shop.admin)
        assert (response.status_code, response.content) == (200, b"")

    async def test_one_reads_what_one_wrote(self, client: httpx.AsyncClient, shop: Shop) -> None:
        for number in range(10):
            made = await shop.product()
            rows = await ndjson(client, shop.admin, "products", order="-created_at")
            assert (rows[0]["id"], len(rows)) == (made["id"], number + 1)

    async def test_it_is_recorded(
        self,
        client: httpx.AsyncClient,
        shop: Shop,
        sold: Any,
        runtime: Runtime,
        owner: asyncpg.Connection,
    ) -> None:
        query = {"status": "pending", "order": "created_at", "format": "csv"}
        await table(client, shop.admin, "orders", **query)
        refused(await client.get(f"{EXPORTS}/orders?order=x", headers=shop.admin), 400)
        await runtime.events.flush()
        recorded = [c for c in await changes(owner, shop.tenant) if c["table_name"] == "export"]
        assert [(c["row_id"], c["action"]) for c in recorded] == [
            ("orders", "started"),
            ("orders", "ended"),
        ]
        asked = {"format": "csv", "order": "created_at", "filters": {"status": ["pending"]}}
        assert recorded[0]["after"] == asked
        assert recorded[1]["after"] == {**asked, "rows": 1, "complete": True}
        assert {c["actor"] for c in recorded} == {f"user:{shop.owner_id}"}


class TestBatches:
    async def test_they_are_bounded_by_bytes(
        self, endpoints: Endpoints, runtime: Runtime, shop: Shop
    ) -> None:
        await fill(endpoints, runtime, shop, 3000, 1000)
        cursor, values = customers.customers.cursor(None, {})
        sizes, counts, ids = [], [], set()
        async with runtime.database.read(shop.context()) as session:
            async for batch in batches(session, cursor, most=65_536, **values):
                sizes.append(sum(map(len, batch)))
                counts.append(len(batch))
                ids |= {json.loads(body)["id"] for body in batch}
        assert len(ids) == sum(counts) == 3000
        # The first is of a fixed number of rows; it told how long they are.
        assert counts[0] == 64
        assert max(sizes[1:]) <= 65_536
        assert len(counts) <= 100

    async def test_rows_of_any_length(
        self, endpoints: Endpoints, runtime: Runtime, shop: Shop
    ) -> None:
        await fill(endpoints, runtime, shop, 100, 200_000)
        cursor, values = customers.customers.cursor(None, {})
        async with runtime.database.read(shop.context()) as session:
            counts = [len(batch) async for batch in batches(session, cursor, **values)]
        assert counts[0] == 64
        assert set(counts[1:]) == {1}

    async def test_no_rows(self, runtime: Runtime, shop: Shop) -> None:
        cursor, values = catalog.products.cursor(None, {"q": None})
        async with runtime.database.read(shop.context()) as session:
            assert [batch async for batch in batches(session, cursor, **values)] == []

    async def test_all_rows_are_of_one_moment(
        self, endpoints: Endpoints, runtime: Runtime, shop: Shop, owner: asyncpg.Connection
    ) -> None:
        await fill(endpoints, runtime, shop, 500, 10)
        rows = rows_of(customers.customers, runtime, shop.context(), None, {})
        async with aclosing(rows()) as found:
            names = [json.loads(body)["first_name"] for body in await anext(found)]
            new = f"Renamed {secrets.token_hex(4)}"
            await owner.execute(
                "UPDATE customer SET first_name = $2 WHERE tenant_id = $1", shop.tenant, new
            )
            async for batch in found:
                names += [json.loads(body)["first_name"] for body in batch]
        assert len(names) == 500
        assert new not in names
        assert sum(node.busy for node in runtime.database.nodes.nodes) == 0
