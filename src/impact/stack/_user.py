"""The system user that runs the servers when we are root, which PostgreSQL refuses to be."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from impact.stack._errors import StackError

USER = "impact"


class Account(NamedTuple):
    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """Who runs the servers; None means oneself. As root, the system user is made when absent."""
    if os.geteuid() != 0:
        return None
    account = _find()
    if account is None:
        _create()
        account = _find()
    if account is None:
        raise StackError(
            f"PostgreSQL does not run as root and the system user '{USER}' cannot be made;"
            f" make it by hand, or run as an ordinary user"
        )
    return account


def _find() -> Account | None:
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return None
    return Account(USER, entry.pw_uid, entry.pw_gid)


def _create() -> None:
    """A system user: logind removes the shared memory of ordinary users when they log out.

    The outcome is not looked at: another stack may have made the user in the meantime.
    """
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        return
    subprocess.run(  # noqa: S603 (constant arguments)
        [
            *(useradd, "--system", "--user-group", "--no-create-home"),
            *("--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", USER),
        ],
        capture_output=True,
        check=False,
    )


def give(path: Path, account: Account | None) -> None:
    """Make `path` itself the servers' own."""
    if account is not None:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
