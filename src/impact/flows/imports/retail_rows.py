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
_LONGEST_RECORD = 2000
"""Characters, of which spaces may be more than a text keeps; what is remembered is bounded."""
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
    if len(fields) != len(COLUMNS) or len("".join(fields)) > _LONGEST_RECORD:
        return None
    return _amount(fields[3], fields[5])


_remembered = functools.lru_cache(maxsize=1 << 15)
"""Few of a file's texts are new: a shop has a few thousand articles, each at a few prices."""


@_remembered
def _amount(quantity: str, price: str) -> Decimal | None:
    quantity, price = quantity.strip(), price.strip()
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
    text = "".join(fields)
    if "\0" in text:
        return Rejected("nul_character")
    if len(text) > _LONGEST_RECORD:
        return Rejected("text_too_long")
    invoice, sku, title, quantity_text, date, price_text, customer, country = fields
    invoice, kind = _invoice(invoice)
    sku, title = _article(sku, title)
    customer, country = customer.strip().removesuffix(".0"), country.strip()
    if not kind:
        return Rejected("bad_invoice")
    if not sku:
        return Rejected("missing_stock_code")
    if len(sku + customer + country) > _LONGEST_CODES or len(title) > _LONGEST_TEXT:
        return Rejected("text_too_long")
    quantity = _quantity(quantity_text)
    if quantity is None:
        return Rejected("bad_quantity")
    price = _price(price_text)
    if price is None:
        return Rejected("bad_price")
    placed_at = parse_time(date.strip())
    if placed_at is None:
        return Rejected("bad_date")
    tenant = tenant_of(country)
    if tenant is None:
        return Rejected("bad_country")
    unit_price = price.minor_units
    refusal = _refusal(quantity, unit_price, customer)
    if refusal is not None or unit_price is None:
        return refusal or Rejected("sub_penny", malformed=False)
    return RetailRow(
        line,
        tenant,
        invoice,
        kind,
        kind == "adjustment" or sku in CHARGE_CODES,
        sku,
        title or None,
        quantity,
        unit_price,
        placed_at,
        customer or None,
        country or None,
    )


@_remembered
def _invoice(text: str) -> tuple[str, str]:
    """Its number and what kind of order it is; that is empty for one that is no invoice."""
    invoice = text.strip().upper()
    if not _INVOICE.fullmatch(invoice):
        return invoice, ""
    return invoice, {"C": "return", "A": "adjustment"}.get(invoice[0], "sale")


@_remembered
def _article(sku: str, title: str) -> tuple[str, str]:
    return tidy(sku).upper(), tidy(title)


@_remembered
def _quantity(text: str) -> int | None:
    text = text.strip()
    return int(text) if _QUANTITY.fullmatch(text) else None


class _Price(NamedTuple):
    minor_units: int | None
    """None for one finer than a minor unit, which no order line can hold."""


@_remembered
def _price(text: str) -> _Price | None:
    """None for a text that is no price."""
    found = _PRICE.fullmatch(text.strip())
    if found is None:
        return None
    sign, whole, fraction = found.groups(default="")
    fraction = fraction.rstrip("0")
    if len(fraction) > 2:
        return _Price(None)
    minor = int(whole + fraction.ljust(2, "0"))
    return _Price(-minor if sign else minor)


def _refusal(quantity: int, unit_price: int | None, customer: str) -> Rejected | None:
    if unit_price == 0 and not customer:
        return Rejected("stock_adjustment", malformed=False)
    if quantity == 0:
        return Rejected("zero_quantity", malformed=False)
    if abs(quantity) > _LARGEST_QUANTITY or abs(quantity * (unit_price or 0)) > _LARGEST_TOTAL:
        return Rejected("amount_out_of_range")
    return None


@_remembered
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
