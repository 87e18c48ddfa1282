"""One row of an online-retail file: what it means, or why it cannot be taken.

Pure functions, no database: the property tests hold them to losing no row and no penny.
"""

import datetime as dt
import functools
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

from impact.flows.imports.rejects import Rejected
from impact.flows.imports.summary import EXACT
from impact.flows.imports.text import tidy

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)

CHARGE_CODES = frozenset(
    {"POST", "DOT", "C2", "M", "BANK CHARGES", "AMAZONFEE", "D", "S", "CRUK", "B"}
)
"""Stock codes of postage, carriage, manual entries, fees, discounts, samples, commission and
bad debt. All others are products, gift vouchers among them."""

_INVOICE = re.compile(r"[CA]?[0-9]{1,20}", re.ASCII)
_QUANTITY = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_PRICE = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,12}))?", re.ASCII)
_LONGEST_CODES = 200
_LONGEST_TEXT = 500
_LARGEST_QUANTITY = 2**31 - 1
_LARGEST_TOTAL = 10**15
"""Minor units; nine thousand lines of it still fit an order's 64-bit total."""


class RetailRow(NamedTuple):
    """A row that is imported, in the order of the staging table's columns.

    ``unit_price`` is in minor units. An adjustment is all charges: it moves money, no goods.
    """

    line: int
    tenant_id: str
    invoice: str
    kind: str
    is_charge: bool
    sku: str
    title: str | None
    quantity: int
    unit_price: int
    placed_at: dt.datetime
    customer: str | None
    country: str | None


def amount_of(fields: Sequence[str]) -> Decimal | None:
    """Quantity times unit price in major units, exact; None where either cannot be read.

    It is worked out in decimals apart from ``classify``'s minor units, so that the two check
    each other.
    """
    if len(fields) != len(COLUMNS):
        return None
    quantity, price = fields[3].strip(), fields[5].strip()
    if not _QUANTITY.fullmatch(quantity) or not _PRICE.fullmatch(price):
        return None
    return EXACT.multiply(Decimal(quantity), Decimal(price))


def classify(  # noqa: PLR0911 - one return a reason
    line: int, fields: Sequence[str], tenant_of: Callable[[str], str | None]
) -> RetailRow | Rejected:
    """The row of ``fields`` (in the order of COLUMNS), or why it is rejected.

    ``tenant_of`` names the tenant of a country, None where a country cannot name one.
    """
    if len(fields) != len(COLUMNS):
        return Rejected("wrong_number_of_fields")
    if "\0" in "".join(fields):
        return Rejected("nul_character")
    invoice, sku, title, quantity_text, date, price_text, customer, country = [
        field.strip() for field in fields
    ]
    invoice, sku, title = invoice.upper(), tidy(sku).upper(), tidy(title)
    if not _INVOICE.fullmatch(invoice):
        return Rejected("bad_invoice")
    if not sku:
        return Rejected("missing_stock_code")
    customer = customer.removesuffix(".0")
    if len(sku + customer + country) > _LONGEST_CODES or len(title) > _LONGEST_TEXT:
        return Rejected("text_too_long")
    if not _QUANTITY.fullmatch(quantity_text):
        return Rejected("bad_quantity")
    price = _PRICE.fullmatch(price_text)
    if price is None:
        return Rejected("bad_price")
    placed_at = parse_time(date)
    if placed_at is None:
        return Rejected("bad_date")
    tenant = tenant_of(country)
    if tenant is None:
        return Rejected("bad_country")
    unit_price = _minor_units(*price.groups(default=""))
    quantity = int(quantity_text)
    refusal = _refusal(quantity, unit_price, customer)
    if refusal is not None or unit_price is None:
        return refusal or Rejected("sub_penny", malformed=False)
    kind = {"C": "return", "A": "adjustment"}.get(invoice[0], "sale")
    return RetailRow(
        line=line,
        tenant_id=tenant,
        invoice=invoice,
        kind=kind,
        is_charge=kind == "adjustment" or sku in CHARGE_CODES,
        sku=sku,
        title=title or None,
        quantity=quantity,
        unit_price=unit_price,
        placed_at=placed_at,
        customer=customer or None,
        country=country or None,
    )


def _refusal(quantity: int, unit_price: int | None, customer: str) -> Rejected | None:
    if unit_price == 0 and not customer:
        return Rejected("stock_adjustment", malformed=False)
    if quantity == 0:
        return Rejected("zero_quantity", malformed=False)
    if abs(quantity) > _LARGEST_QUANTITY or abs(quantity * (unit_price or 0)) > _LARGEST_TOTAL:
        return Rejected("amount_out_of_range")
    return None


def _minor_units(sign: str, whole: str, fraction: str) -> int | None:
    """None for a price finer than a minor unit, which no order line can hold."""
    fraction = fraction.rstrip("0")
    if len(fraction) > 2:
        return None
    minor = int(whole + fraction.ljust(2, "0"))
    return -minor if sign else minor


@functools.lru_cache(maxsize=4096)
def parse_time(text: str) -> dt.datetime | None:
    """An ISO 8601 time, taken as UTC where it names no offset; None where it is none.

    Times before 1970 are refused: no UUIDv7 can carry them.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
        moment = (
            moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
        )
    except (ValueError, OverflowError):
        return None
    return moment if moment.year >= 1970 else None
