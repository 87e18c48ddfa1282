"""The file that lists every row an import did not take, and why."""

import contextlib
import csv
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from impact.errors import InvalidDataError
from impact.flows.imports.source import SourceError


class Rejected(NamedTuple):
    """Why a row is not taken. ``malformed`` rows speak against the file; others are well formed
    and cannot be kept, or are no trade."""

    reason: str
    malformed: bool = True


class RejectsFile:
    """Line number, reason and the original columns of each rejected row, as CSV.

    Written beside its place, made durable by ``seal`` and moved there by ``publish``, so that a
    reader sees the whole of the last import that succeeded, or nothing of this one. A device or a
    pipe, ``/dev/null`` for example, is no place to move a file to: that is written to as rows come.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reasons: Counter[str] = Counter()
        self._malformed = 0
        self._first_malformed: tuple[int, str] | None = None

    def __enter__(self) -> Self:
        if self.path.is_dir():
            raise InvalidDataError(f"{self.path}: the rejects file cannot be a directory")
        # Of a link the file that it leads to is replaced.
        self._place = self.path.resolve()
        self._part: Path | None = None
        with self._writing():
            target: Path | int = self._place
            if not self._place.exists() or self._place.is_file():
                target, name = tempfile.mkstemp(
                    dir=self._place.parent, prefix=f".{self._place.name}.", suffix=".part"
                )
                self._part = Path(name)
            self._stream = open(target, "w", encoding="utf-8", newline="")  # noqa: PTH123
        self._writer = csv.writer(self._stream, lineterminator="\n")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)

    def begin(self, header: Sequence[str]) -> None:
        with self._writing():
            self._writer.writerow(["line", "reason", *header])

    def add(self, line: int, why: Rejected, fields: Sequence[str]) -> None:
        with self._writing():
            self._writer.writerow([line, why.reason, *fields])
        self._reasons[why.reason] += 1
        if why.malformed:
            self._malformed += 1
            self._first_malformed = self._first_malformed or (line, why.reason)

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows were rejected for each reason."""
        return dict(sorted(self._reasons.items()))

    def check(self, source: Path, rows: int, max_percent: float) -> None:
        """Raise SourceError for a file of no rows, or of more malformed ones than allowed."""
        if not rows:
            raise SourceError(source, "holds a header and no rows", 1)
        if self._first_malformed and self._malformed * 100 > max_percent * rows:
            line, reason = self._first_malformed
            raise SourceError(
                source,
                f"{reason}; {self._malformed} of {rows} rows are malformed, more than"
                f" {max_percent:g} %, so nothing was imported",
                line,
            )

    def seal(self) -> None:
        """Write all of it to disk. To be called before the import becomes final, so that a full
        disk stops it."""
        with self._writing():
            self._stream.flush()
            if self._part is None:
                return
            os.fsync(self._stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            self._part.chmod(0o666 & ~umask)

    def publish(self) -> None:
        """Put the sealed file in its place."""
        if self._part is not None:
            with self._writing():
                self._part.replace(self._place)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"{self.path}: the rejects file cannot be written ({error.strerror})"
            raise InvalidDataError(message) from error
