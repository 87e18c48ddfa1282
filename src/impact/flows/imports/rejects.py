"""The file that lists every row an import did not take, and why."""

import contextlib
import csv
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from impact.errors import InvalidDataError


class RejectsFile:
    """Line number, reason and the original columns of each rejected row, as CSV.

    Written beside its place and moved there by ``publish``, so that a reader sees the whole of
    the last import that succeeded, or nothing of this one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        try:
            descriptor, name = tempfile.mkstemp(
                dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".part"
            )
        except OSError as error:
            message = f"{self.path}: the rejects file cannot be written ({error.strerror})"
            raise InvalidDataError(message) from error
        self._part = Path(name)
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        with contextlib.suppress(FileNotFoundError):
            self._part.unlink()

    def begin(self, header: Sequence[str]) -> None:
        self._writer.writerow(["line", "reason", *header])

    def add(self, line: int, reason: str, fields: Sequence[str]) -> None:
        self._writer.writerow([line, reason, *fields])

    def publish(self) -> None:
        """Put the finished file in its place, readable as other new files are."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        self._part.chmod(0o666 & ~umask)
        self._part.replace(self.path)
