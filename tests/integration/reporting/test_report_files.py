"""Reports as CSV and as Parquet."""

import csv
import datetime as dt
import io
import sys

import httpx
import pytest
from pyarrow import parquet

from support.shapes import refused
from support.shops import Shop

SALES, POPULAR = "/admin/reports/sales", "/admin/reports/popular-products"
COLUMNS = ["period", "currency_code", "orders", "units", "gross", "returns", "charges", "net"]


@pytest.fixture
async def sold(shop: Shop) -> str:
    """The id of a product of which two were sold."""
    product = await shop.product(title="=Felt hat", handle="felt-hat", amount=1999)
    response = await shop.order(product["variants"][0]["id"], quantity=2)
    assert response.status_code == 200, response.text
    id: str = product["id"]
    return id


@pytest.mark.parametrize("path", [SALES, POPULAR])
@pytest.mark.parametrize("format", ["csv", "parquet"])
class TestAccess:
    async def test_anonymous(self, client: httpx.AsyncClient, path: str, format: str) -> None:
        refused(await client.get(path, params={"format": format}), 401)

    async def test_other_tenant(
        self, client: httpx.AsyncClient, sold: str, other_shop: Shop, path: str, format: str
    ) -> None:
        query = {"format": format}
        response = await client.get(path, headers=other_shop.admin, params=query)
        assert response.status_code == 200
        if format == "csv":
            assert response.text.count("\r\n") == 1
        else:
            assert parquet.read_table(io.BytesIO(response.content)).num_rows == 0

    async def test_permission(
        self, client: httpx.AsyncClient, shop: Shop, path: str, format: str
    ) -> None:
        headers = await shop.user("order:read")
        refused(await client.get(path, headers=headers, params={"format": format}), 403)


async def test_csv(client: httpx.AsyncClient, shop: Shop, sold: str) -> None:
    report = (await client.get(SALES, headers=shop.admin)).json()
    for query, accept in (({"format": "csv"}, "*/*"), ({}, "text/csv")):
        headers = {**shop.admin, "accept": accept}
        response = await client.get(SALES, headers=headers, params=query)
        assert response.headers["content-type"].startswith("text/csv")
        assert response.headers["content-disposition"] == 'attachment; filename="sales.csv"'
        assert response.headers["vary"] == "accept"
        head, *rows = csv.reader(io.StringIO(response.content.decode(), newline=""), strict=True)
        assert head == COLUMNS
        assert rows == [[str(row[name]) for name in COLUMNS] for row in report["rows"]]
        assert rows[0][4] == "3998"


async def test_parquet(client: httpx.AsyncClient, shop: Shop, sold: str) -> None:
    report = (await client.get(SALES, headers=shop.admin)).json()
    accept = "application/vnd.apache.parquet"
    response = await client.get(SALES, headers={**shop.admin, "accept": accept})
    assert response.headers["content-type"] == accept
    table = parquet.read_table(io.BytesIO(response.content))
    (row,) = table.to_pylist()
    assert list(row) == COLUMNS
    (expected,) = report["rows"]
    expected["period"] = dt.date.fromisoformat(expected["period"])
    assert row == expected
    as_of = dt.datetime.fromisoformat(table.schema.metadata[b"as_of"].decode())
    # A file is computed apart from the JSON, and what it holds may be newer.
    assert as_of >= dt.datetime.fromisoformat(report["as_of"])


async def test_texts_that_look_like_formulas(
    client: httpx.AsyncClient, shop: Shop, sold: str
) -> None:
    response = await client.get(POPULAR, headers=shop.admin, params={"format": "csv"})
    (row,) = csv.DictReader(io.StringIO(response.content.decode(), newline=""))
    assert (row["product_id"], row["title"], row["units"]) == (sold, "'=Felt hat", "2")
    # What no spreadsheet opens needs no apostrophe.
    response = await client.get(POPULAR, headers=shop.admin, params={"format": "parquet"})
    (row,) = parquet.read_table(io.BytesIO(response.content)).to_pylist()
    assert (row["product_id"], row["title"], row["units"]) == (sold, "=Felt hat", 2)


async def test_json_otherwise(client: httpx.AsyncClient, shop: Shop, sold: str) -> None:
    for accept in ("*/*", "application/json, text/csv", "text/html"):
        response = await client.get(SALES, headers={**shop.admin, "accept": accept})
        assert response.headers["content-type"] == "application/json"
    headers = {**shop.admin, "accept": "text/csv"}
    response = await client.get(SALES, headers=headers, params={"format": "json"})
    assert response.headers["content-type"] == "application/json"


async def test_without_pyarrow_parquet_says_what_is_missing(
    client: httpx.AsyncClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    response = await client.get(SALES, headers=shop.admin, params={"format": "parquet"})
    assert "impact[archive]" in refused(response, 406)
    response = await client.get(SALES, headers=shop.admin, params={"format": "csv"})
    assert response.status_code == 200


async def test_another_format_is_refused(client: httpx.AsyncClient, shop: Shop) -> None:
    response = await client.get(SALES, headers=shop.admin, params={"format": "xlsx"})
    refused(response, 400, place="format")
