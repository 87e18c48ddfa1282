"""Events on disk: whole batches in files of their own, until the database has them.

A file is written under another name, synced and renamed, so what stands in the spool is complete.
One process at a time takes files out; the kernel frees the lock of one that was killed.
"""

import contextlib
import datetime as dt
import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

logger = logging.getLogger(__name__)

_SUFFIX = ".events"


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened without changing a row, as the change record will say it."""

    tenant: str
    occurred_at: dt.datetime
    table_name: str
    action: str
    row_id: str | None = None
    after: dict[str, Any] | None = None
    actor: str | None = None
    request_id: str | None = None


class Batch(msgspec.Struct, frozen=True):
    """Events that are stored in one transaction. ``id`` is what makes a second try harmless."""

    id: UUID
    events: Sequence[Event]


class Spool:
    """A directory of batches. All methods block on the disk: call them in a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, batch: Batch) -> None:
        """Returns once the batch is on the disk. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        final = self._path(batch.id)
        draft = final.with_suffix(f".{os.getpid()}.new")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
                f.write(msgspec.json.encode(batch))
                f.flush()
                os.fsync(f.fileno())
            draft.rename(final)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        self._sync()

    def waiting(self) -> list[Path]:
        """The files that wait, the oldest first."""
        return sorted(self._directory.glob(f"*{_SUFFIX}"))

    def read(self, path: Path) -> Batch | None:
        """The batch of a file; None where it is gone, or damaged and so set aside."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=Batch)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.set_aside(path, str(error))
            return None

    def set_aside(self, path: Path, reason: str) -> None:
        """Keep a file that nothing can be done with out of the way."""
        aside = path.with_suffix(".refused")
        path.rename(aside)
        logger.error("%s was renamed to %s: %s", path, aside.name, reason)

    def remove(self, id: UUID) -> None:
        """Returns once the file cannot come back after a power failure."""
        self._path(id).unlink(missing_ok=True)
        self._sync()

    @contextlib.contextmanager
    def emptying(self) -> Iterator[bool]:
        """Whether this process may take files out, for as long as the block lasts."""
        if not self._directory.is_dir():
            yield False
            return
        with (self._directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _path(self, id: UUID) -> Path:
        return self._directory / f"{id}{_SUFFIX}"

    def _sync(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
