"""Files and directories that are whole or not there at all, whenever we are interrupted."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from impact.stack._errors import StackError
from impact.stack._process import wait_for
from impact.stack._user import Account, give

_BUILDING = ".building-"
_DISCARDED = ".discarded-"
_LOCK_SECONDS = 300


def write_private(path: Path, text: str, account: Account | None = None) -> None:
    """Replace a file as a whole, readable by its owner alone."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        give(temporary, account)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def whole(final: Path, account: Account | None) -> Iterator[Path]:
    """An empty directory to fill, put at `final` at the end: what stands there is complete."""
    directory = final.with_name(f"{_BUILDING}{final.name}-{secrets.token_hex(4)}")
    directory.mkdir(mode=0o700)
    try:
        give(directory, account)
        yield directory
        directory.rename(final)
    except BaseException:
        discard(directory)
        raise
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(directory: Path) -> None:
    """Remove a directory; renamed first, so that half of it is never taken for the whole."""
    if directory.exists():
        trash = directory.with_name(f"{_DISCARDED}{directory.name}-{secrets.token_hex(4)}")
        directory.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def sweep(directory: Path) -> bool:
    """Remove what an interrupted start left behind; whether there was any."""
    remains = [p for prefix in (_BUILDING, _DISCARDED) for p in directory.glob(f"{prefix}*")]
    for path in remains:
        # An orphaned initdb may still write into it: what remains goes the next time.
        shutil.rmtree(path, ignore_errors=True)
    return bool(remains)


@contextmanager
def locked(directory: Path, log: Callable[[str], None]) -> Iterator[None]:
    """One start or stop of a stack at a time; the kernel frees the lock of a killed process."""
    path = directory / "stack.lock"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:

        def acquire() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not acquire():
            log("waiting for another start or stop to end")
            if not wait_for(acquire, _LOCK_SECONDS):
                raise StackError(f"Another start or stop in {directory} does not end")
        yield
