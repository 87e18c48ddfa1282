"""A Shopify product CSV: the rows of one handle are one product with its variants and images.

Pure functions. A product is taken whole or not at all, so that no shop sells half of one.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from impact.engine.db.base import new_id
from impact.flows.imports.rejects import Rejected
from impact.flows.imports.text import slug, tidy

COLUMNS = ("Handle", "Title", "Variant Price")
"""What the file must have. All other columns of Shopify's format may be missing."""

_HANDLE = re.compile(r"[^\s/?#]{1,255}")
_PRICE = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))?", re.ASCII)
_QUANTITY = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_GRAMS = re.compile(r"([0-9]{1,9})(?:\.[0-9]+)?", re.ASCII)
_LONGEST = 500
_DEFAULT = ("Title", "Default Title")
"""What Shopify writes for a product without options."""

_NO_DIGITS = re.compile("bif|clp|djf|gnf|isk|jpy|kmf|krw|pyg|rwf|ugx|vnd|vuv|xaf|xof|xpf")
_THREE_DIGITS = re.compile("bhd|iqd|jod|kwd|lyd|omr|tnd")


class Entry(NamedTuple):
    """A record of the file: its line, the record as read, and its values by column."""

    line: int
    record: list[str]
    values: dict[str, str]

    def get(self, column: str) -> str:
        return self.values.get(column, "").strip()


class Option(msgspec.Struct):
    id: UUID
    product_id: UUID
    title: str
    values: list[str]
    rank: int


class Variant(msgspec.Struct):
    """``amount`` is in minor units, ``weight`` in grams."""

    id: UUID
    product_id: UUID
    title: str
    sku: str | None
    barcode: str | None
    options: dict[str, str]
    variant_rank: int
    manage_inventory: bool
    allow_backorder: bool
    weight: int | None
    amount: int
    stock: int
    metadata: dict[str, int] | None


class Image(msgspec.Struct):
    id: UUID
    product_id: UUID
    url: str
    rank: int


class Product(msgspec.Struct):
    id: UUID
    handle: str
    title: str
    description: str | None
    vendor: str | None
    status: str
    thumbnail: str | None
    is_giftcard: bool
    tags: list[str]
    category: str | None
    category_handle: str | None
    options: list[Option]
    variants: list[Variant]
    images: list[Image]


class RowError(Exception):
    """One row of a product is wrong."""

    def __init__(self, line: int, rejected: Rejected) -> None:
        super().__init__(rejected.reason)
        self.line = line
        self.rejected = rejected


def minor_digits(currency: str) -> int:
    """Decimal places of a currency (ISO 4217)."""
    if _NO_DIGITS.fullmatch(currency):
        return 0
    return 3 if _THREE_DIGITS.fullmatch(currency) else 2


def parse_price(text: str, digits: int) -> int | Rejected:
    """A price in minor units of a currency with ``digits`` decimal places."""
    match = _PRICE.fullmatch(text)
    if match is None:
        return Rejected("bad_price")
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > digits:
        return Rejected("sub_penny", malformed=False)
    return int(match[1] + fraction.ljust(digits, "0"))


def check_handle(entry: Entry) -> Rejected | None:
    handle = entry.get("Handle")
    if "\0" in "".join(entry.record):
        return Rejected("nul_character")
    if not handle:
        return Rejected("missing_handle")
    return None if _HANDLE.fullmatch(handle) else Rejected("bad_handle")


def product_of(entries: Sequence[Entry], digits: int) -> Product:
    """The product of one handle's rows, or a RowError for the first wrong one."""
    first = entries[0]
    product_id = new_id()
    title, kind = tidy(first.get("Title")), tidy(first.get("Type"))
    if not title:
        raise RowError(first.line, Rejected("missing_title"))
    if max(map(len, (title, kind, first.get("Vendor"), first.get("Tags")))) > _LONGEST:
        raise RowError(first.line, Rejected("text_too_long"))
    names = _option_names(first)
    variants: list[Variant] = []
    urls: dict[str, int] = {}
    for entry in entries:
        if entry is first or entry.get("Variant Price") or entry.get("Option1 Value"):
            variant = _variant(entry, product_id, names, digits, len(variants))
            if any(other.options == variant.options for other in variants):
                raise RowError(entry.line, Rejected("repeated_variant"))
            variants.append(variant)
        url = entry.get("Image Src")
        if url and url not in urls:
            position = entry.get("Image Position")
            urls[url] = int(position) if _QUANTITY.fullmatch(position) else len(urls) + 1
    images = sorted(urls, key=lambda url: urls[url])
    return Product(
        id=product_id,
        handle=first.get("Handle"),
        title=title,
        description=first.get("Body (HTML)") or None,
        vendor=first.get("Vendor") or None,
        status="published" if _is_published(first) else "draft",
        thumbnail=images[0] if images else None,
        is_giftcard=first.get("Gift Card").lower() == "true",
        tags=list(dict.fromkeys(filter(None, map(str.strip, first.get("Tags").split(","))))),
        category=kind if slug(kind) else None,
        category_handle=slug(kind) or None,
        options=[
            Option(
                id=new_id(),
                product_id=product_id,
                title=name,
                values=list(dict.fromkeys(variant.options[name] for variant in variants)),
                rank=rank,
            )
            for rank, name in enumerate(names.values())
        ],
        variants=variants,
        images=[
            Image(id=new_id(), product_id=product_id, url=url, rank=rank)
            for rank, url in enumerate(images)
        ],
    )


def _is_published(first: Entry) -> bool:
    """A later form of the file has a Status beside Published; draft and archived are unsold."""
    return first.get("Published").lower() == "true" and first.get("Status") in {"", "active"}


def _option_names(first: Entry) -> dict[int, str]:
    """The options by their number in the file; none for a product of one plain variant."""
    if (first.get("Option1 Name"), first.get("Option1 Value")) == _DEFAULT:
        return {}
    names = {n: tidy(first.get(f"Option{n} Name")) for n in (1, 2, 3)}
    names = {n: name for n, name in names.items() if name}
    if len(set(names.values())) != len(names):
        raise RowError(first.line, Rejected("repeated_option"))
    return names


def _variant(
    entry: Entry, product_id: UUID, names: dict[int, str], digits: int, rank: int
) -> Variant:
    price = parse_price(entry.get("Variant Price"), digits)
    if isinstance(price, Rejected):
        raise RowError(entry.line, price)
    options = {name: tidy(entry.get(f"Option{n} Value")) for n, name in names.items()}
    if not all(options.values()):
        raise RowError(entry.line, Rejected("missing_option_value"))
    stock, grams = entry.get("Variant Inventory Qty"), entry.get("Variant Grams")
    if stock and not _QUANTITY.fullmatch(stock):
        raise RowError(entry.line, Rejected("bad_quantity"))
    weight = _GRAMS.fullmatch(grams)
    if grams and weight is None:
        raise RowError(entry.line, Rejected("bad_weight"))
    if max(map(len, (*options.values(), entry.get("Variant SKU")))) > _LONGEST:
        raise RowError(entry.line, Rejected("text_too_long"))
    compare_at = parse_price(entry.get("Variant Compare At Price"), digits)
    return Variant(
        id=new_id(),
        product_id=product_id,
        title=" / ".join(options.values()) or "Default",
        # Shopify puts an apostrophe before a code that a spreadsheet would take for a number.
        sku=entry.get("Variant SKU").removeprefix("'") or None,
        barcode=entry.get("Variant Barcode").removeprefix("'") or None,
        options=options,
        variant_rank=rank,
        manage_inventory=bool(stock or entry.get("Variant Inventory Tracker")),
        allow_backorder=entry.get("Variant Inventory Policy").lower() == "continue",
        weight=int(weight[1]) if weight else None,
        amount=price,
        # Oversold stock is negative there; here a level starts at nothing.
        stock=max(int(stock or 0), 0),
        metadata=None if isinstance(compare_at, Rejected) else {"compare_at_price": compare_at},
    )
