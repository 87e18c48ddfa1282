"""Starting, recognising and ending processes, by process id alone."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from impact.stack._errors import StackError
from impact.stack._user import Account

# `&` gives the server a parent that ends at once, so it outlives us and leaves no zombie to us.
_DETACH = 'log=$1 note=$2; shift 2; "$@" </dev/null >>"$log" 2>&1 & echo $! | tee "$note"'
_POLL_SECONDS = 0.02
_SETTLE_SECONDS = 15  # of a loaded machine
_LOG_TAIL_BYTES = 16_384
_KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD


def run(
    argv: Sequence[str | Path],
    *,
    account: Account | None,
    cwd: Path,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    new_session: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run to the end as `account` (None: as oneself) with a small, predictable environment.

    A user's own PG* variables must not reach the tools; messages stay in English.
    """
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "TMPDIR")}
    try:
        return subprocess.run(  # noqa: S603 (the programs are found by us; no shell sees a value)
            [str(a) for a in argv],
            cwd=cwd,
            env={**kept, "LC_ALL": "C", **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=new_session,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError as error:
        raise StackError(f"Cannot run {argv[0]}: {error.strerror}") from error


def spawn(
    argv: Sequence[str | Path],
    *,
    account: Account | None,
    cwd: Path,
    log: Path,
    note: Path = Path(os.devnull),
) -> int:
    """Start a server in a session of its own, its output appended to `log`; its process id.

    The id is also in `note`, even if we are ended before we have seen it.
    """
    detach = ["/bin/sh", "-c", _DETACH, "sh", log, note, *argv]
    result = run(detach, account=account, cwd=cwd, new_session=True)
    if result.returncode:
        raise StackError(f"Cannot start {argv[0]}: {result.stderr.strip()}")
    return int(result.stdout)


def error_in(output: str) -> str:
    """The first error among what a program of PostgreSQL said, else its first line."""
    found = re.search(r"(?:ERROR|FATAL|PANIC|error): +(.+)", output)
    return found.group(1) if found else (output.strip().splitlines() or ["no message"])[0]


def said_since(log: Path, offset: int) -> str:
    """What a server has written to its log after `offset` bytes; of much, the end."""
    try:
        with log.open("rb") as file:
            file.seek(max(offset, os.fstat(file.fileno()).st_size - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def log_size(log: Path) -> int:
    """In bytes; 0 when there is none yet."""
    return log.stat().st_size if log.exists() else 0


def arguments(pid: int) -> list[str]:
    """The command line of a live process; empty when there is none, or only a zombie.

    /proc/PID/cwd would be firmer, but root in a container may not read it of another user.
    """
    if not Path("/proc/self/stat").exists():
        shown = run(["ps", "-ww", "-o", "command=", "-p", str(pid)], account=None, cwd=Path("/"))
        return shown.stdout.split()
    words: list[str] = []

    def settled() -> bool:
        nonlocal words
        try:
            words = [w for w in _read(pid, "cmdline").split("\0") if w]
            # Empty for a moment in the midst of exec, and of exit, which still holds its ports.
            state, *numbers = _read(pid, "stat").rpartition(")")[2].split()
            return bool(words) or state in "ZX" or bool(int(numbers[5]) & _KERNEL_THREAD)
        except OSError:
            words = []
            return True

    wait_for(settled, _SETTLE_SECONDS)
    return words


def _read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(errors="replace")


def is_server(pid: int, directory: Path) -> bool:
    """Whether `pid` is alive and was started on `directory`, so that a reused id is not ours."""
    given = " ".join(["", *arguments(pid)[1:]])
    return re.search(rf" {re.escape(str(directory))}(?:/| |$)", given) is not None


def signal_server(pid: int, number: int) -> None:
    """Send a signal; a process that has just ended is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise StackError(
            f"Process {pid} belongs to another user; run this as the user who started it"
        ) from error


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until `condition` holds; False when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
