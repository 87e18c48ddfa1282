"""Rows of JSON as newline-delimited JSON or as CSV.

CSV follows RFC 4180: a header, CRLF after each record. Each text is in quotes, so that no other
separator of a spreadsheet's divides it, and one that a spreadsheet would take for a formula begins
with an apostrophe (OWASP, CSV injection); numbers, negative ones too, stay numbers. What is nested
is JSON in its cell, what is null an empty text.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from impact.engine.http.accept import preferred

Format = Literal["ndjson", "csv"]
MEDIA_TYPES = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; header=present",
    "parquet": "application/vnd.apache.parquet",
}
FILES = (MEDIA_TYPES["ndjson"], "text/csv")
"""What an export may be sent as."""
TABLES = ("application/json", "text/csv", MEDIA_TYPES["parquet"])
"""What a report may be sent as."""
_FORMULA = frozenset("=+-@")
_CONTROL = ("\t", "\r", "\n")
_UNSEEN = " \u00a0\u200b\u200c\u200d\u2060\ufeff"
"""What may stand before a formula without being seen."""
_ROWS: Mapping[str, Format] = {"application/x-ndjson": "ndjson", "text/csv": "csv"}
_row = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_number = msgspec.json.Decoder(int | float)
_DIGITS = frozenset(bytes([digit]) for digit in b"-0123456789")


class Encoder(Protocol):
    """Makes bytes of rows, each of which is the text of one JSON object."""

    def head(self) -> bytes: ...

    def rows(self, bodies: Iterable[str]) -> bytes: ...


class Ndjson:
    def head(self) -> bytes:
        return b""

    def rows(self, bodies: Iterable[str]) -> bytes:
        # PostgreSQL's JSON has no line breaks between its parts, and escapes those within them.
        return "".join(f"{body}\n" for body in bodies).encode()


class Csv:
    """``columns`` are the members of each object, in their order."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def head(self) -> bytes:
        return written([self._columns])

    def rows(self, bodies: Iterable[str]) -> bytes:
        decoded = map(_row.decode, bodies)
        return written([[_of_json(row[name]) for name in self._columns] for row in decoded])


def encoder(format: Format, columns: Sequence[str]) -> Encoder:
    return Csv(columns) if format == "csv" else Ndjson()


def written(records: Iterable[Sequence[Any]]) -> bytes:
    """The records as CSV."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_NONNUMERIC).writerows(records)
    return text.getvalue().encode()


def harmless(text: str) -> str:
    """The text as a cell that no spreadsheet runs."""
    first = text[:1]
    if first.isascii() and first.isalnum():
        return text
    # A full-width sign is one, too.
    seen = unicodedata.normalize("NFKC", text.lstrip(_UNSEEN)[:1])
    return f"'{text}" if seen in _FORMULA or text.startswith(_CONTROL) else text


def _of_json(value: msgspec.Raw) -> str | int | float:
    raw = bytes(value)
    if raw.startswith(b'"'):
        return harmless(_text.decode(raw))
    if raw[:1] in _DIGITS:
        number: int | float = _number.decode(raw)
        return number
    return "" if raw == b"null" else raw.decode()


def chosen(format: Format | None, accept: str) -> Format:
    """The format of an export: by parameter before header; NDJSON where neither names one."""
    return format or preferred(accept, _ROWS) or "ndjson"
