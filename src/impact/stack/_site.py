"""What the servers of one stack share: the data directory, its record, its owner, the programs."""

import os
import secrets
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import msgspec

from impact.stack import _elsewhere as elsewhere
from impact.stack._binaries import Postgres, Redis, find_postgres, find_redis
from impact.stack._errors import StackError
from impact.stack._files import write_private
from impact.stack._user import Account, give, server_account

SUPERUSER = "postgres"
OWNER = "impact_owner"
APP = "impact_app"
REPLICATOR = "impact_replicator"
REDIS = "redis"


class Record(msgspec.Struct):
    """stack.json: what must be the same at the next start. Mode 0600, it holds the passwords."""

    replicas: int = 0
    ports: dict[str, int] = {}
    passwords: dict[str, str] = {}


class Site:
    def __init__(self, data_dir: Path, *, durable: bool, log: Callable[[str], None]) -> None:
        self.data_dir = data_dir
        self.durable = durable
        self.log = log
        self._record: Record | None = None

    @cached_property
    def account(self) -> Account | None:
        return server_account()

    @property
    def home(self) -> Path:
        """Below which the servers' files are: the data directory, or where that leads."""
        return elsewhere.home(self.data_dir)

    @cached_property
    def redis(self) -> Redis | None:
        """Raises StackError when the servers' user cannot run it."""
        found = find_redis(self._can_run)
        if found is None or self.account is None:
            return found
        name = f"redis-{found.version}"
        server = elsewhere.runnable(found.server, name, found.wheel, self.account, self.log)
        return found._replace(server=server)

    @cached_property
    def postgres(self) -> Postgres:
        """Programs of the version that made the data. Raises StackError when there are none."""
        found = find_postgres(self.data_major, self._can_run)
        if self.account is None:
            return found
        program, name = found.bindir / "postgres", f"postgres-{found.version}"
        program = elsewhere.runnable(program, name, found.wheel, self.account, self.log)
        return found._replace(bindir=program.parent)

    @property
    def data_major(self) -> int | None:
        """The major version of PostgreSQL that made the data; None when there is no data yet."""
        primary = self.home / "primary"
        if not primary.exists():
            return None
        try:
            return int((primary / "PG_VERSION").read_text().split(".")[0])
        except (FileNotFoundError, ValueError) as error:
            raise StackError(
                f"{primary} is not the data of PostgreSQL; move it away and start again"
            ) from error

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def record(self) -> Record:
        """Raises StackError when this stack was never started."""
        if self._record is None:
            self._record = self.read_record()
        if self._record is None:
            raise StackError(f"No stack in {self.data_dir}: start it with 'impact stack up'")
        return self._record

    def read_record(self) -> Record | None:
        path = self.data_dir / "stack.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise StackError(f"{path} belongs to another user; run this as its owner") from error
        except (msgspec.DecodeError, NotADirectoryError) as error:
            raise StackError(f"{path} cannot be read ({error}); restore it or move it away") from (
                error
            )

    def load_record(self) -> Record:
        """Read stack.json anew, or make the first one, with the passwords.

        Raises StackError when there is data whose passwords are lost.
        """
        self._record = self.read_record()
        if self._record is None and (self.home / "primary").exists():
            raise StackError(
                f"{self.data_dir} holds data but no stack.json with its passwords;"
                f" restore that file, or choose another --data-dir"
            )
        if self._record is None:
            self._record = Record()
        for role in (SUPERUSER, OWNER, APP, REPLICATOR, REDIS):
            self._record.passwords.setdefault(role, secrets.token_urlsafe(24))
        self.save_record()
        return self._record

    def save_record(self) -> None:
        encoded = msgspec.json.format(msgspec.json.encode(self.record)).decode()
        path = self.data_dir / "stack.json"
        if not path.exists() or path.read_text() != encoded:
            write_private(path, encoded)

    def prepare(self) -> None:
        """Make the data directory, as root for the servers to pass through, not to list.

        Raises StackError when it cannot be made or written to.
        """
        try:
            self.data_dir.mkdir(mode=0o700 if self.account is None else 0o711, parents=True)
            if self.account is not None:
                self.data_dir.chmod(0o711)
        except FileExistsError:
            pass
        except OSError as error:
            raise StackError(
                f"Cannot make {self.data_dir}: {error.strerror}; choose another --data-dir"
            ) from error
        if not os.access(self.data_dir, os.W_OK | os.X_OK):
            raise StackError(
                f"{self.data_dir} is not writable; choose another --data-dir, or change its owner"
            )

    def settle(self) -> None:
        """Decide where the servers' files are. Raises StackError when that place is no use."""
        self._require_same_owner()
        if self.account is not None:
            elsewhere.settle(self.data_dir, self.account, self.log)
            elsewhere.end_orphans(self.log)
        self.logs.mkdir(mode=0o700, exist_ok=True)
        give(self.logs, self.account)

    def _can_run(self, program: Path) -> bool:
        return elsewhere.can_run(program, self.account)

    def _require_same_owner(self) -> None:
        """Data made as an ordinary user cannot be served by the system user, nor back again."""
        primary = self.home / "primary"
        mine = self.account.uid if self.account else os.geteuid()
        if primary.exists() and primary.stat().st_uid != mine:
            raise StackError(
                f"{primary} belongs to user {primary.owner()}, who made it; run this as that user,"
                f" or choose another --data-dir"
            )

    def url(self, role: str, port: int, database: str) -> str:
        return f"postgresql://{role}:{self.record.passwords[role]}@127.0.0.1:{port}/{database}"
