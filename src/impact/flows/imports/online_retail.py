"""Imports the orders of an online-retail file (UCI "Online Retail", one row per order line).

    invoice    -> order, kind sale, return ("C...") or adjustment ("A..."), completed
    row        -> order line: a product, or a charge for the codes in CHARGE_CODES
    StockCode  -> product with one variant and one price; upper-cased, as the file spells the
                  same article both ways
    CustomerID -> customer without an account; a row without one belongs to a guest's order

A second run finds every row present and changes nothing. Of a longer file the rows that are
new are added, also to invoices that the shorter one cut off.
"""

import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from impact.engine.db.session import Database, WriteSession
from impact.errors import ImpactError
from impact.flows.imports import retail_statements as sql
from impact.flows.imports import work
from impact.flows.imports.rejects import RejectsFile
from impact.flows.imports.retail_reader import RetailReader
from impact.flows.imports.retail_rows import COLUMNS
from impact.flows.imports.source import CsvSource
from impact.flows.imports.summary import EXACT, Progress, RetailSummary, Share, no_progress
from impact.reporting.sales import sales


class ReconciliationError(ImpactError):
    """The numbers of an import do not add up; it was rolled back."""

    code = "reconciliation_failed"


@dataclass(frozen=True, slots=True)
class RetailOptions:
    """``tenant`` is None for one tenant per country. ``max_rejects`` is the share of malformed
    rows, in percent, above which the file is taken to be a wrong one."""

    tenant: str | None
    create_tenant: bool = False
    max_rejects: float = 10.0


async def import_online_retail(
    database: Database,
    path: Path,
    options: RetailOptions,
    rejects_path: Path,
    progress: Progress = no_progress,
) -> RetailSummary:
    """Import the file in one transaction and answer what was done.

    Raises SourceError for a file that is none, NotFoundError for a tenant that is none, and
    ReconciliationError should a row or a penny be missing at the end. In each case the
    database and the rejects file are as they were before.
    """
    started = time.monotonic()
    with CsvSource(path, COLUMNS) as source, RejectsFile(rejects_path) as rejects:
        rows = RetailReader(source, rejects, options.tenant, progress)
        async with work.import_transaction(
            database, f"import online-retail {path.name}"
        ) as session:
            created = 0
            if options.tenant is not None:
                # Before the file is read: a misspelt tenant should not take that long to say.
                created += await _open(session, options, options.tenant, options.tenant)
            await work.run(session, sql.CREATE_STAGING)
            await session.driver.copy_records_to_table(
                sql.STAGING_TABLE, records=rows, timeout=work.LONGEST_STATEMENT
            )
            summary = rows.summary()
            rejects.check(path, summary.read.rows, options.max_rejects)
            await work.run(session, sql.ANALYZE_ROWS)
            if options.tenant is None:
                await work.run(session, sql.INDEX_ROWS)
            summary.tenants_created = created
            tenants = await session.fetch(sql.LIST_TENANTS)
            for tenant in tenants:
                name = str(tenant["tenant_id"])
                if options.tenant is None:
                    summary.tenants_created += await _open(
                        session, options, name, tenant["country"]
                    )
                else:
                    await session.switch_tenant(name)
                summary.tenants.append(name)
                await _import_tenant(session, summary, progress)
            _reconcile(summary, rows.accepted)
            await work.run(session, sql.DROP_STAGING)
            rejects.seal()
        rejects.publish()
    summary.seconds = round(time.monotonic() - started, 2)
    return summary


async def _open(session: WriteSession, options: RetailOptions, tenant: str, name: str) -> bool:
    """Go on as the tenant; answers whether it was created."""
    opened = await work.open_tenant(
        session,
        tenant,
        create=options.create_tenant or options.tenant is None,
        name=name,
        currency=sql.CURRENCY,
    )
    return opened.created


async def _import_tenant(session: WriteSession, summary: RetailSummary, progress: Progress) -> None:
    """Insert what is new of the session's tenant, and hold the sales report to it."""
    before = await _net_sales(session)
    progress("comparing", None)
    await work.run(session, sql.FIND_ORDERS)
    await work.run(session, sql.ANALYZE_ORDERS)
    present = await work.fetch_row(session, sql.DROP_PRESENT)
    progress("customers and products", None)
    customers = await work.run(session, sql.INSERT_CUSTOMERS)
    await work.run(session, sql.FIND_PRODUCTS)
    await work.run(session, sql.ANALYZE_PRODUCTS)
    products = await work.run(session, sql.INSERT_PRODUCTS)
    await work.run_all(session, (sql.INSERT_VARIANTS, sql.INSERT_PRICES, sql.INSERT_LEVELS))
    await work.plan_anew(session, customers + products)
    progress("orders", None)
    orders = await work.run(session, sql.INSERT_ORDERS)
    summary.orders_extended += await work.run(session, sql.EXTEND_ORDERS)
    await work.plan_anew(session, orders)
    summary.customers += customers
    summary.products += products
    summary.orders += orders
    progress("order lines", None)
    lines = await work.run(session, sql.INSERT_LINES)
    summary.lines += lines
    progress("reconciling", None)
    amount = await _net_sales(session) - before
    _count(summary.imported, lines, amount)
    _count(summary.present, present["rows"], present["amount"])


async def _net_sales(session: WriteSession) -> int:
    """The tenant's sales report, all time, in minor units of the file's currency."""
    report = await sales.load(session, interval="month", start=None, end=None)
    return sum(total.net for total in report.totals if total.currency_code == sql.CURRENCY)


def _count(share: Share, rows: int, minor_units: int) -> None:
    share.rows += rows
    share.amount = EXACT.add(share.amount, EXACT.scaleb(Decimal(minor_units), -2))


def _reconcile(summary: RetailSummary, accepted: list[int]) -> None:
    """Raise ReconciliationError unless every row and penny read is imported, present or rejected.

    ``imported`` is by how much the database's own sales report has changed, ``read`` is the sum
    of the file's decimals, and ``accepted`` the sum of the minor units sent: three ways apart.
    """
    kept = Share()
    _count(kept, accepted[0], accepted[1])
    for share in (summary.imported, summary.present):
        kept.rows -= share.rows
        kept.amount = EXACT.subtract(kept.amount, share.amount)
    if kept.rows or kept.amount:
        raise ReconciliationError(
            f"{summary.file}: rolled back: the database's sales report differs from the imported"
            f" rows by {kept.rows} rows and {kept.amount} {summary.currency_code}"
        )
    rest = summary.read.amount
    for share in (summary.imported, summary.present, summary.rejected):
        rest = EXACT.subtract(rest, share.amount)
    if rest:
        raise ReconciliationError(
            f"{summary.file}: rolled back: {rest} {summary.currency_code} of the file are neither"
            " imported nor rejected"
        )
