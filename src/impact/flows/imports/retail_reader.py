"""Reads an online-retail file row by row, with counts that account for each of them."""

from collections.abc import Iterator
from typing import Any

from impact.context import HEADQUARTERS
from impact.flows.imports.rejects import Rejected, RejectsFile
from impact.flows.imports.retail_rows import amount_of, classify
from impact.flows.imports.retail_statements import CURRENCY
from impact.flows.imports.source import CsvSource
from impact.flows.imports.summary import Progress, RetailSummary, Share
from impact.flows.imports.text import slug

_REPORT_EVERY = 5000
_RESERVED = frozenset({HEADQUARTERS})


def country_tenant(country: str) -> str | None:
    """The slug of a country's tenant; None for one that cannot name a tenant."""
    name = slug(country)
    return name if name[:1].isalpha() and len(name) <= 63 and name not in _RESERVED else None


class RetailReader:
    """Iterates over the file's good rows, for COPY; counts them, and lists the others.

    ``tenant`` is whose they are, None for one tenant per country.
    """

    def __init__(
        self, source: CsvSource, rejects: RejectsFile, tenant: str | None, progress: Progress
    ) -> None:
        self._source = source
        self._rejects = rejects
        self._progress = progress
        self._tenant = tenant
        self._countries: dict[str, str | None] = {}
        self._read, self._rejected = Share(), Share()
        self.accepted = [0, 0]
        """Rows, and their sum in minor units."""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        positions = self._source.positions()
        width = len(self._source.header)
        self._rejects.begin(self._source.header)
        for number, (line, record) in enumerate(self._source.records()):
            if number % _REPORT_EVERY == 0:
                self._progress("reading", self._source.fraction)
            fields = [record[place] for place in positions] if len(record) == width else []
            amount = amount_of(fields)
            self._read.add(amount)
            row = classify(line, fields, self._tenant_of)
            if isinstance(row, Rejected):
                self._rejected.add(amount)
                self._rejects.add(line, row, record)
                continue
            self.accepted[0] += 1
            self.accepted[1] += row.quantity * row.unit_price
            yield row

    def _tenant_of(self, country: str) -> str | None:
        if self._tenant is not None:
            return self._tenant
        if country not in self._countries:
            self._countries[country] = country_tenant(country)
        return self._countries[country]

    def summary(self) -> RetailSummary:
        return RetailSummary(
            file=str(self._source.path),
            rejects_file=str(self._rejects.path),
            currency_code=CURRENCY,
            read=self._read,
            imported=Share(),
            present=Share(),
            rejected=self._rejected,
            reasons=self._rejects.reasons,
            tenants=[],
        )
