"""Reading and classifying rows never loses one of them, nor a penny."""

import csv
import io
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from impact.flows.imports.rejects import Rejected, RejectsFile
from impact.flows.imports.retail_reader import RetailReader, country_tenant
from impact.flows.imports.retail_rows import COLUMNS, RetailRow, amount_of, classify, parse_time
from impact.flows.imports.source import CsvSource
from impact.flows.imports.summary import no_progress

GOOD = ["536365", "85123A", "HEART", "6", "2010-12-01 08:26:00", "2.55", "17850", "France"]

junk = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)
number = st.integers(-(10**11), 10**11).map(str)
price = st.decimals(-(10**6), 10**6, places=3).map(str) | st.decimals(0, 100, places=2).map(str)
rows = st.tuples(
    st.sampled_from(["536365", "C536379", "A563185", "c1", ""]) | junk,
    st.sampled_from(["85123a", "POST", "D", "B", ""]) | junk,
    junk,
    st.integers(-100, 100).map(str) | number | junk,
    st.sampled_from(["2010-12-01 08:26:00", "1969-12-31", "2011-01-01T00:00:00+14:00"]) | junk,
    price | st.sampled_from(["0.0", "-0.00", "0.001", "NaN", "1e3", "Infinity"]) | number | junk,
    st.sampled_from(["", "17850", "17850.0"]) | junk,
    st.sampled_from(["France", "hq", "EIRE"]) | junk,
)


def change(**fields: str) -> list[str]:
    return [fields.get(column, value) for column, value in zip(COLUMNS, GOOD, strict=True)]


@given(rows)
@example(tuple(change(UnitPrice="0.005", Quantity="200")))
def test_a_row_is_worth_what_the_file_says(row: tuple[str, ...]) -> None:
    found = classify(2, row, country_tenant)
    amount = amount_of(row)
    if isinstance(found, RetailRow):
        assert amount is not None
        assert Fraction(found.quantity * found.unit_price, 100) == Fraction(amount)
    elif amount is None:
        # A rejected row without an amount says that it is malformed.
        assert found.malformed


@settings(deadline=None)
@given(st.lists(rows | st.lists(junk, min_size=1, max_size=9).map(tuple), max_size=20))
def test_a_file_is_accounted_for_row_by_row(content: list[tuple[str, ...]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
    writer.writerows([COLUMNS, *content])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "f.csv")
        path.write_bytes(stream.getvalue().encode())
        with CsvSource(path, COLUMNS) as source, RejectsFile(Path(folder, "r.csv")) as rejects:
            reader = RetailReader(source, rejects, "t", no_progress)
            accepted = list(reader)
            summary = reader.summary()
            rejects.seal()
            rejects.publish()
        with Path(folder, "r.csv").open(encoding="utf-8", newline="") as listed:
            _, *rejected = csv.reader(listed)
    assert summary.read.rows == len(content) == len(accepted) + len(rejected)
    assert sum(summary.reasons.values()) == len(rejected) == summary.rejected.rows
    pennies = sum(row[7] * row[8] for row in accepted)
    assert Fraction(summary.read.amount) == Fraction(summary.rejected.amount) + Fraction(
        pennies, 100
    )
    # What is listed is what was read.
    assert all(tuple(row[2:]) in content for row in rejected)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"InvoiceNo": "X1"}, "bad_invoice"),
        ({"StockCode": " "}, "missing_stock_code"),
        ({"Quantity": "1_000"}, "bad_quantity"),
        ({"Quantity": "0"}, "zero_quantity"),
        ({"Quantity": "3000000000"}, "amount_out_of_range"),
        ({"UnitPrice": "1,50"}, "bad_price"),
        ({"UnitPrice": "0.001"}, "sub_penny"),
        ({"UnitPrice": "0", "CustomerID": ""}, "stock_adjustment"),
        ({"InvoiceDate": "yesterday"}, "bad_date"),
        ({"InvoiceDate": "1969-12-31 23:59:59"}, "bad_date"),
        ({"Country": "!"}, "bad_country"),
        ({"Country": "HQ"}, "bad_country"),
        ({"Description": "a\0b"}, "nul_character"),
        ({"Description": "x" * 501}, "text_too_long"),
    ],
)
def test_reasons(fields: dict[str, str], reason: str) -> None:
    found = classify(2, change(**fields), country_tenant)
    assert isinstance(found, Rejected)
    assert found.reason == reason


@pytest.mark.parametrize("name", ["Description", "Quantity", "UnitPrice", "InvoiceNo"])
def test_a_text_that_is_mostly_space_is_not_remembered(name: str) -> None:
    """Neither way of counting takes it: what is remembered of a file stays bounded."""
    fields = change(**{name: "1" + " " * 2000})
    found = classify(2, fields, country_tenant)
    assert isinstance(found, Rejected)
    assert found.reason == "text_too_long"
    assert amount_of(fields) is None


@pytest.mark.parametrize(
    ("invoice", "code", "kind", "is_charge"),
    [
        ("536365", "85123A", "sale", False),
        ("536365", "POST", "sale", True),
        ("536365", "m", "sale", True),
        ("536365", "PADS", "sale", False),
        ("536365", "gift_0001_20", "sale", False),
        ("C536365", "D", "return", True),
        ("C536365", "85123A", "return", False),
        ("A536365", "B", "adjustment", True),
        ("A536365", "85123A", "adjustment", True),
    ],
)
def test_kinds(invoice: str, code: str, kind: str, is_charge: bool) -> None:
    found = classify(2, change(InvoiceNo=invoice, StockCode=code), lambda _: "t")
    assert isinstance(found, RetailRow)
    assert (found.kind, found.is_charge) == (kind, is_charge)


def test_times_without_an_offset_are_utc() -> None:
    assert parse_time("2010-12-01 08:26") == parse_time("2010-12-01T09:26+01:00")


def test_amounts_are_exact() -> None:
    """The widest numbers a row may hold have more digits than a Decimal keeps by default."""
    amount = amount_of(change(Quantity="2147483647", UnitPrice="999999999999.123456789012"))
    assert amount is not None
    assert Fraction(amount) == 2147483647 * Fraction("999999999999.123456789012")
