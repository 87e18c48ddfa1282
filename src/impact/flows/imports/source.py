"""A CSV file as a stream of records, each with the line it starts on.

Whatever is wrong with the file as a whole (absent, not readable, truncated, not text) becomes a
SourceError that names the file and the line. Memory stays bounded whatever the file holds.
"""

import contextlib
import csv
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from impact.errors import InvalidDataError

_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"
_LONGEST_LINE = 1 << 20
"""Bytes; a longer line is no CSV, and must not be read into memory."""


class SourceError(InvalidDataError):
    """The file cannot be imported. The message names it and, where there is one, the line."""

    code = "invalid_file"

    def __init__(self, path: Path, message: str, line: int | None = None) -> None:
        place = str(path) if line is None else f"{path}, line {line}"
        super().__init__(f"{place}: {message}")
        self.path = path
        self.line = line


class CsvSource:
    """A CSV file, plain or gzip (told by its first bytes), in UTF-8 with or without a BOM.

    A context manager; the header is read and checked on entering. ``columns`` must all be in
    it, in any order; others are allowed.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.header: list[str] = []
        self._columns = columns
        self._lines_read = 0
        self._raw: BinaryIO | None = None
        self._size = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            with contextlib.ExitStack() as stack:
                stream = self._open(stack)
                self._reader = csv.reader(self._lines(stream), strict=True)
                self._read_header()
                self._stack = stack.pop_all()
        except OSError as error:
            raise SourceError(self.path, _reason(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def fraction(self) -> float | None:
        """How much of the file has been read, 0 to 1; None where its size is not known."""
        if self._raw is None or not self._size:
            return None
        return min(self._raw.tell() / self._size, 1.0)

    def positions(self) -> list[int]:
        """Where each of the required columns stands in a record."""
        return [self.header.index(column) for column in self._columns]

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Each record after the header as (line, fields). Blank lines are no records.

        Raises SourceError where the file breaks off or is not CSV.
        """
        while True:
            line = self._lines_read + 1
            fields = self._next()
            if fields is None:
                return
            if fields:
                yield line, fields

    def _open(self, stack: contextlib.ExitStack) -> BinaryIO:
        raw = stack.enter_context(self.path.open("rb"))
        status = os.fstat(raw.fileno())
        if stat.S_ISREG(status.st_mode):
            self._raw, self._size = raw, status.st_size
        magic = raw.peek(4)[:4]
        if magic.startswith(_ZIP_MAGIC):
            raise SourceError(self.path, "is a ZIP archive or a workbook; give CSV or gzip")
        if magic.startswith(_GZIP_MAGIC):
            unpacked = stack.enter_context(gzip.GzipFile(fileobj=raw))
            return stack.enter_context(io.BufferedReader(unpacked, 1 << 17))
        return raw

    def _lines(self, stream: BinaryIO) -> Iterator[str]:
        encoding = "utf-8-sig"
        while True:
            line = self._lines_read + 1
            try:
                raw = stream.readline(_LONGEST_LINE)
            except EOFError:
                raise SourceError(
                    self.path, "the gzip data breaks off; the file is truncated", line
                ) from None
            except (gzip.BadGzipFile, zlib.error) as error:
                raise SourceError(self.path, f"the gzip data is damaged ({error})", line) from error
            except OSError as error:
                raise SourceError(self.path, _reason(error), line) from error
            if not raw:
                return
            if len(raw) == _LONGEST_LINE:
                raise SourceError(self.path, "the line is longer than 1 MiB; not a CSV file", line)
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError as error:
                bad = raw[error.start]
                raise SourceError(
                    self.path, f"byte 0x{bad:02x} at column {error.start + 1} is not UTF-8", line
                ) from None
            encoding = "utf-8"
            self._lines_read = line
            yield text

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            message = f"not valid CSV ({error})"
            raise SourceError(self.path, message, self._lines_read) from error

    def _read_header(self) -> None:
        header = self._next()
        if header is None:
            raise SourceError(self.path, "is empty")
        self.header = [name.strip() for name in header]
        missing = [name for name in self._columns if name not in self.header]
        if missing:
            raise SourceError(self.path, f"the header has no column {', '.join(missing)}", 1)
        twice = [name for name in self._columns if self.header.count(name) > 1]
        if twice:
            raise SourceError(self.path, f"the header repeats column {', '.join(twice)}", 1)


def _reason(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "no such file"
        case IsADirectoryError():
            return "is a directory, not a file"
        case PermissionError():
            return "may not be read (permission denied)"
        case _:
            return f"cannot be read ({error.strerror or error})"
