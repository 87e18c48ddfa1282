"""A migrated database for the imports, and small files to import."""

import csv
import gzip
import io
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from impact.engine.db.monitor import Monitor
from impact.engine.db.nodes import NodeSet
from impact.engine.db.session import Database
from impact.engine.runtime import open_versions
from impact.engine.telemetry.telemetry import Telemetry
from impact.flows.imports.online_retail import RetailOptions, import_online_retail
from impact.flows.imports.summary import RetailSummary
from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Stack

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


@dataclass(frozen=True)
class ImportUrls:
    admin: str
    app: str


@pytest.fixture(scope="session")
def import_urls(stack: Stack, worker_id: str) -> Iterator[ImportUrls]:
    """A database of its own: whole files are imported here, and every row is counted."""
    name = f"imports_{worker_id}"
    made = stack.create_database(name)
    migrations.upgrade(made.owner_url)
    yield ImportUrls(admin=made.admin_url, app=made.primary_url)
    stack.drop_database(name)


@pytest.fixture(scope="session")
async def database(import_urls: ImportUrls) -> AsyncIterator[Database]:
    settings = Settings(primary_url=import_urls.app, signing_keys="k:" + "x" * 32)
    nodes = NodeSet(settings)
    async with Monitor(nodes), open_versions(settings) as versions:
        yield Database(nodes, versions, Telemetry(settings))
    await nodes.close()


@pytest.fixture
def tenant() -> str:
    """The name of a tenant that no other test uses, and that does not exist yet."""
    return f"t-{uuid.uuid4().hex[:12]}"


Query = Callable[..., Any]


@pytest.fixture
async def query(import_urls: ImportUrls) -> AsyncIterator[Query]:
    """``await query(tenant, sql)``: all rows that the application's role sees as that tenant."""
    connection = await asyncpg.connect(import_urls.app)

    async def run(tenant: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        await connection.execute("SELECT set_config('impact.tenant_id', $1, false)", tenant)
        return [tuple(record) for record in await connection.fetch(sql, *values)]

    yield run
    await connection.close()


@pytest.fixture
def retail_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines of CSV (below the header of an online-retail file) and answers the path."""

    def write(rows: Sequence[str], *, name: str = "retail.csv", compress: bool = False) -> Path:
        path = tmp_path / name
        data = "\n".join([HEADER, *rows, ""]).encode()
        path.write_bytes(gzip.compress(data) if compress else data)
        return path

    return write


@pytest.fixture
def shopify_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a Shopify file of rows given as dicts and answers the path."""

    def write(rows: Sequence[dict[str, str]], *, name: str = "shopify.csv") -> Path:
        columns = list(
            dict.fromkeys(["Handle", "Title", "Variant Price", *(k for r in rows for k in r)])
        )
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        path = tmp_path / name
        path.write_text(stream.getvalue(), encoding="utf-8")
        return path

    return write


@pytest.fixture
def cli_environment(import_urls: ImportUrls) -> dict[str, str]:
    """What a command needs to find the database."""
    return {"IMPACT_PRIMARY_URL": import_urls.app, "IMPACT_SIGNING_KEYS": "k:" + "x" * 32}


@pytest.fixture
async def shop(tenant: str, query: Query) -> str:
    """A tenant that exists; its currency is the euro."""
    await query("hq", "INSERT INTO tenant (id, name) VALUES ($1, $1)", tenant)
    return tenant


@pytest.fixture
def run_retail(database: Database, tmp_path: Path) -> Callable[..., Any]:
    async def run(path: Path, tenant: str | None, **options: Any) -> RetailSummary:
        chosen = RetailOptions(
            **{"tenant": tenant, "create_tenant": True, "max_rejects": 20, **options}
        )
        return await import_online_retail(database, path, chosen, tmp_path / "rejects.csv")

    return run
