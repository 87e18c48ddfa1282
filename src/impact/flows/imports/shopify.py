"""Imports the products of a Shopify product CSV.

    Handle    -> product; one the shop has already is left as it is
    Type      -> category, made when the shop has none of that handle
    Variant * -> variant with its price, stock and options
    Image Src -> image; the first is the thumbnail

Stock is managed where the file names a tracker or a quantity. Compare-at prices are kept in the
variant's metadata, in minor units.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from impact.engine.db.base import new_id
from impact.engine.db.session import Database, WriteSession
from impact.engine.db.statements import Statement
from impact.flows.imports import shopify_statements as sql
from impact.flows.imports import work
from impact.flows.imports.rejects import Rejected, RejectsFile
from impact.flows.imports.shopify_rows import (
    COLUMNS,
    Entry,
    Product,
    RowError,
    check_handle,
    minor_digits,
    product_of,
)
from impact.flows.imports.source import CsvSource
from impact.flows.imports.summary import CatalogSummary, Progress, no_progress

_BATCH = 500
"""Products sent at a time: what bounds memory."""
_DEFAULT_CURRENCY = "eur"


@dataclass(frozen=True, slots=True)
class ShopifyOptions:
    """``currency`` None takes the shop's. ``max_rejects`` is the share of malformed rows, in
    percent, above which the file is taken to be a wrong one."""

    tenant: str
    currency: str | None = None
    create_tenant: bool = False
    max_rejects: float = 10.0


async def import_shopify(
    database: Database,
    path: Path,
    options: ShopifyOptions,
    rejects_path: Path,
    progress: Progress = no_progress,
) -> CatalogSummary:
    """Import the file in one transaction and answer what was done.

    Raises SourceError for a file that is none, and NotFoundError for a tenant that is none; the
    database and the rejects file are then as they were before.
    """
    started = time.monotonic()
    with CsvSource(path, COLUMNS) as source, RejectsFile(rejects_path) as rejects:
        async with work.import_transaction(database, f"import shopify {path.name}") as session:
            tenant = await work.open_tenant(
                session,
                options.tenant,
                create=options.create_tenant,
                name=options.tenant,
                currency=options.currency or _DEFAULT_CURRENCY,
            )
            summary = CatalogSummary(
                file=str(path),
                rejects_file=str(rejects_path),
                tenant=options.tenant,
                currency_code=options.currency or tenant.currency,
                tenants_created=int(tenant.created),
                reasons={},
            )
            catalog = _Catalog(source, rejects, summary)
            planned = work.WORTH_PLANNING // 2
            for batch in catalog.batches():
                progress("products", source.fraction)
                await catalog.insert(session, batch)
                # A table outgrows its plans when it has doubled.
                if summary.products >= 2 * planned:
                    planned = summary.products
                    await work.plan_anew(session, planned)
            rejects.check(path, summary.rows, options.max_rejects)
            summary.reasons = rejects.reasons
            rejects.seal()
        rejects.publish()
    summary.seconds = round(time.monotonic() - started, 2)
    return summary


Group = tuple[list[Entry], Product]


class _Catalog:
    """Reads products in batches, inserts them, and keeps the counts."""

    def __init__(self, source: CsvSource, rejects: RejectsFile, summary: CatalogSummary) -> None:
        self._source = source
        self._rejects = rejects
        self._summary = summary
        self._digits = minor_digits(summary.currency_code)
        self._handles: set[str] = set()
        self._skus: set[str] = set()

    def batches(self) -> Iterator[list[Group]]:
        batch: list[Group] = []
        self._rejects.begin(self._source.header)
        for entries in self._groups():
            try:
                batch.append((entries, product_of(entries, self._digits)))
            except RowError as error:
                self._reject_product(entries, error)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _groups(self) -> Iterator[list[Entry]]:
        """The rows of each handle, which stand together; a handle that comes back is rejected."""
        group: list[Entry] = []
        header = self._source.header
        for line, record in self._source.records():
            self._summary.rows += 1
            if len(record) != len(header):
                self._reject(line, record, Rejected("wrong_number_of_fields"))
                continue
            entry = Entry(line, record, dict(zip(header, record, strict=True)))
            handle = entry.get("Handle")
            if group and group[0].get("Handle") != handle:
                yield group
                group = []
            wrong = check_handle(entry)
            if wrong is None and not group and handle in self._handles:
                wrong = Rejected("repeated_handle")
            if wrong is not None:
                self._reject(line, record, wrong)
                continue
            self._handles.add(handle)
            group.append(entry)
        if group:
            yield group

    async def insert(self, session: WriteSession, batch: Sequence[Group]) -> None:
        """Insert the batch's products that the shop does not have."""
        summary = self._summary
        handles = [product.handle for _, product in batch]
        present = {row[0] for row in await session.fetch(sql.FIND_HANDLES, handles=handles)}
        skus = [variant.sku for _, product in batch for variant in product.variants if variant.sku]
        self._skus |= {row[0] for row in await session.fetch(sql.FIND_SKUS, skus=skus)}
        products: list[Product] = []
        for entries, product in batch:
            if product.handle in present:
                summary.products_present += 1
                summary.rows_present += len(entries)
                continue
            own = [variant.sku for variant in product.variants if variant.sku]
            if len(set(own)) < len(own) or not self._skus.isdisjoint(own):
                taken = Rejected("sku_taken", malformed=False)
                self._reject_product(entries, RowError(entries[0].line, taken))
                continue
            self._skus.update(own)
            summary.rows_imported += len(entries)
            products.append(product)
        await self._send(session, products)

    async def _send(self, session: WriteSession, products: list[Product]) -> None:
        summary = self._summary
        categories = {
            product.category_handle: product.category
            for product in products
            if product.category_handle
        }
        variants = [variant for product in products for variant in product.variants]
        summary.categories += await _insert(
            session,
            sql.INSERT_CATEGORIES,
            [
                {"id": new_id(), "name": name, "handle": handle}
                for handle, name in categories.items()
            ],
        )
        summary.products += await _insert(session, sql.INSERT_PRODUCTS, products)
        await _insert(session, sql.LINK_CATEGORIES, products)
        options = [option for product in products for option in product.options]
        await _insert(session, sql.INSERT_OPTIONS, options)
        summary.variants += await _insert(session, sql.INSERT_VARIANTS, variants)
        await _insert(session, sql.INSERT_PRICES, variants, currency=summary.currency_code)
        await _insert(session, sql.INSERT_LEVELS, variants)
        images = [image for product in products for image in product.images]
        summary.images += await _insert(session, sql.INSERT_IMAGES, images)

    def _reject_product(self, entries: list[Entry], error: RowError) -> None:
        """List all rows of the product: the wrong one with its reason, the others with it."""
        for entry in entries:
            wrong = entry.line == error.line
            why = error.rejected if wrong else Rejected("product_rejected", malformed=False)
            self._reject(entry.line, entry.record, why)

    def _reject(self, line: int, record: list[str], why: Rejected) -> None:
        self._summary.rows_rejected += 1
        self._rejects.add(line, why, record)


async def _insert(
    session: WriteSession, statement: Statement, rows: Sequence[Any], **values: Any
) -> int:
    if not rows:
        return 0
    return await work.run(session, statement, rows=msgspec.json.encode(rows).decode(), **values)
