"""What an import did, in numbers that add up."""

from collections.abc import Callable
from decimal import Context, Decimal

import msgspec

EXACT = Context(prec=80)
"""Arithmetic for sums: wide enough that nothing a row may hold is ever rounded."""

Progress = Callable[[str, float | None], None]
"""Told the step an import is at, and how much of that step is done (0 to 1, None: unknown)."""


def no_progress(step: str, fraction: float | None) -> None:
    """For callers that watch nothing."""


class Share(msgspec.Struct):
    """A part of the file: its rows, and the sum of quantity times unit price in major units."""

    rows: int = 0
    amount: Decimal = Decimal(0)

    def add(self, amount: Decimal | None) -> None:
        """Count a row; None stands for an amount that cannot be read."""
        self.rows += 1
        if amount is not None:
            self.amount = EXACT.add(self.amount, amount)


class RetailSummary(msgspec.Struct, kw_only=True):
    """``read`` is ``imported`` + ``present`` + ``rejected``, in rows and in money.

    ``present`` was in the database before. A row whose amount cannot be read counts as a row
    and adds no money on either side.
    """

    file: str
    rejects_file: str
    currency_code: str
    read: Share
    imported: Share
    present: Share
    rejected: Share
    reasons: dict[str, int]
    tenants: list[str]
    tenants_created: int = 0
    orders: int = 0
    orders_extended: int = 0
    lines: int = 0
    products: int = 0
    customers: int = 0
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        return bool(self.lines or self.tenants_created)


class CatalogSummary(msgspec.Struct, kw_only=True):
    """Rows and products of a catalogue: read = imported + present + rejected for both."""

    file: str
    rejects_file: str
    tenant: str
    currency_code: str
    rows: int = 0
    rows_imported: int = 0
    rows_present: int = 0
    rows_rejected: int = 0
    reasons: dict[str, int]
    products: int = 0
    products_present: int = 0
    variants: int = 0
    images: int = 0
    categories: int = 0
    tenants_created: int = 0
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        return bool(self.products or self.tenants_created)
