"""Places of the servers' user's own, for what lies where it cannot go.

As root the servers run as a system user, who cannot enter `mktemp -d` or /root. A data directory
there keeps its record and holds a link to the servers' files; closed programs are copied, once.
"""

import hashlib
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from impact.stack._binaries import Wheel
from impact.stack._errors import StackError
from impact.stack._files import discard, locked, sweep, whole, write_private
from impact.stack._process import is_server, run, signal_server, wait_for
from impact.stack._user import Account

BASE = Path("/var/lib/impact")
_LINK = "servers"
_OWNER = "data-dir"
# A data directory that was moved rather than deleted is known again at its next start.
_KEEP_SECONDS = 7 * 24 * 3600
_STOP_SECONDS = 90

Log = Callable[[str], None]


def home(data_dir: Path) -> Path:
    """Where the servers' files are: the data directory itself, or where its link leads."""
    try:
        place = (data_dir / _LINK).readlink()
    except OSError:
        return data_dir
    return place if place.parent == BASE else data_dir


def settle(data_dir: Path, account: Account, log: Log) -> None:
    """Make sure that `account` can enter the home of this data directory, if need be elsewhere.

    Raises StackError when that cannot be.
    """
    if home(data_dir) != data_dir:
        _return_to(data_dir, log)
    elif (closed := _closed_on_way(data_dir, account)) is not None:
        if (data_dir / "primary").exists():
            raise _refusal(data_dir, closed, account)
        try:
            place = _make_home(data_dir, log)
        except OSError as error:
            raise _refusal(data_dir, closed, account, error) from error
        log(
            f"the servers' files are in {place}: user '{account.name}', who runs them because"
            f" root may not, cannot enter {closed}"
        )
    place = home(data_dir)
    closed = _closed_on_way(place, account)
    if closed is not None:
        raise _refusal(place, closed, account)


def end_orphans(log: Log) -> None:
    """Stop the servers whose data directory is gone, and later remove their files."""
    if not (BASE.is_dir() and _is_roots_alone(BASE)):
        return
    with _base(log):
        for place in BASE.glob("stack-*"):
            owner = _owner(place)
            if owner is not None and home(owner) != place:
                _stop_servers(place)
                if time.time() - (place / _OWNER).stat().st_mtime > _KEEP_SECONDS:
                    log(f"removing {place}: its data directory {owner} is gone")
                    discard(place)


def can_run(program: Path, account: Account | None) -> bool:
    return account is None or _closed_on_way(program, account) is None


def runnable(program: Path, name: str, wheel: Wheel | None, account: Account, log: Log) -> Path:
    """The program itself, or its copy when the account cannot run it.

    Raises StackError when it cannot be copied.
    """
    closed = _closed_on_way(program, account)
    if closed is None:
        return program
    if wheel is None:
        raise _refusal(program, closed, account)
    place = BASE / f"servers-{name}-{_digest(wheel)}"
    copy = place / program.relative_to(wheel.root)
    if not copy.exists():
        try:
            _copy(wheel, place, log)
        except OSError as error:
            raise _refusal(program, closed, account, error) from error
        log(f"{name} runs from {place}: user '{account.name}' cannot enter {closed}")
    closed = _closed_on_way(copy, account)
    if closed is not None:
        raise _refusal(copy, closed, account)
    return copy


@contextmanager
def _base(log: Log) -> Iterator[None]:
    """Make BASE and hold its lock. Raises OSError when others could plant files for root there."""
    try:
        BASE.mkdir(parents=True)
        BASE.chmod(0o711)
    except FileExistsError:
        if not _is_roots_alone(BASE):
            raise PermissionError(f"{BASE} is not root's alone") from None
    with locked(BASE, log):
        sweep(BASE)
        yield


def _is_roots_alone(path: Path) -> bool:
    found = path.stat()
    return found.st_uid == 0 and not found.st_mode & 0o022


def _make_home(data_dir: Path, log: Log) -> Path:
    # A name never used before: a data directory made anew must not find the files of an old one.
    place = BASE / f"stack-{secrets.token_hex(6)}"
    with _base(log):
        with whole(place, None) as directory:
            write_private(directory / _OWNER, str(data_dir))
            directory.chmod(0o711)
        (data_dir / _LINK).symlink_to(place)
    return place


def _return_to(data_dir: Path, log: Log) -> None:
    """Note where the data directory is now; one that was copied shares no servers."""
    place, link = home(data_dir), data_dir / _LINK
    if not place.is_dir():
        raise StackError(
            f"{link} leads to {place}, which is gone; remove the link to start with empty servers"
        )
    with _base(log):
        owner = _owner(place)
        if owner not in (None, data_dir) and home(owner) == place:
            raise StackError(
                f"{place} belongs to the stack in {owner}, of which {data_dir} is a copy;"
                f" remove {link} to start with empty servers"
            )
        write_private(place / _OWNER, str(data_dir))


def _owner(place: Path) -> Path | None:
    try:
        return Path((place / _OWNER).read_text())
    except FileNotFoundError:
        return None


def _stop_servers(place: Path) -> None:
    pids: list[tuple[int, Path]] = []
    for pid_file in (*place.glob("*/postmaster.pid"), *place.glob("*/redis.pid")):
        first = pid_file.read_text().partition("\n")[0].strip()
        if first.isdigit() and is_server(int(first), pid_file.parent):
            pids.append((int(first), pid_file.parent))
            signal_server(int(first), signal.SIGINT)
    wait_for(lambda: not any(is_server(*found) for found in pids), _STOP_SECONDS)


def _copy(wheel: Wheel, place: Path, log: Log) -> None:
    with _base(log):
        if place.exists():
            return
        with whole(place, None) as directory:
            for part in wheel.parts:
                if (wheel.root / part).is_dir():
                    shutil.copytree(wheel.root / part, directory / part, symlinks=True)
            # A careful umask, such as root's 077, has closed what it made to everyone else.
            for path in (directory, *directory.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            os.sync()


def _digest(wheel: Wheel) -> str:
    """Of the names and contents: a reinstalled wheel finds its copy, another build does not."""
    total = hashlib.blake2b(digest_size=6)
    for part in wheel.parts:
        for path in sorted((wheel.root / part).rglob("*")):
            if path.is_file():
                total.update(f"\0{path.relative_to(wheel.root)}\0".encode())
                total.update(path.read_bytes())
    return total.hexdigest()


def _closed_on_way(path: Path, account: Account) -> Path | None:
    """The first directory on the way to `path`, or itself, that the account cannot enter or run."""
    # Asking the kernel as that user counts ACLs and mounts too.
    ask = 'for p; do test -x "$p" || { printf %s "$p"; exit; }; done'
    way = (*reversed(path.parents), path)
    asked = run(["/bin/sh", "-c", ask, "sh", *way], account=account, cwd=Path("/"))
    if asked.returncode:
        raise StackError(f"User '{account.name}' cannot run /bin/sh: {asked.stderr.strip()}")
    return Path(asked.stdout) if asked.stdout else None


def _refusal(
    path: Path, closed: Path, account: Account, error: OSError | None = None
) -> StackError:
    why = f" ({BASE} cannot be used instead: {error.strerror or error})" if error else ""
    return StackError(
        f"User '{account.name}', who runs the servers because root may not, cannot enter"
        f" {closed} on the way to {path}; allow it with 'chmod o+x {closed}',"
        f" or choose another place{why}"
    )
