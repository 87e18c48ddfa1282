"""One PostgreSQL server, primary or replica: its process, its settings, statements to it."""

import contextlib
import re
import signal
from pathlib import Path
from typing import Literal

from impact.stack import _conf as conf
from impact.stack._errors import StackError
from impact.stack._files import write_private
from impact.stack._process import (
    error_in,
    is_server,
    log_size,
    run,
    said_since,
    signal_server,
    spawn,
    wait_for,
)
from impact.stack._site import REPLICATOR, SUPERUSER, Site

StopMode = Literal["smart", "fast", "immediate"]
_STOP_SIGNALS = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
_START_SECONDS = 600  # the recovery of a busy server after kill -9
_STOP_SECONDS = 90
_ORPHANS = "pre-existing shared memory block"
_ORPHAN_SECONDS = 15  # processes of a killed postmaster notice and leave
_LOG_BYTES = 32 * 1024 * 1024


class PostgresServer:
    """A server in `directory`; `primary_name` is None for the primary itself."""

    def __init__(self, site: Site, name: str, *, primary_name: str | None = None) -> None:
        self.site = site
        self.name = name
        self.primary_name = primary_name

    @property
    def directory(self) -> Path:
        return self.site.home / self.name

    @property
    def log_file(self) -> Path:
        return self.site.logs / f"{self.name}.log"

    @property
    def kind(self) -> str:
        return "replica" if self.primary_name else "primary"

    @property
    def slot(self) -> str:
        return self.name.replace("-", "_")

    @property
    def port(self) -> int:
        return self.site.record.ports[self.name]

    @property
    def exists(self) -> bool:
        """Whether there is data: initdb and pg_basebackup work elsewhere until they are done."""
        return (self.directory / "PG_VERSION").exists()

    @property
    def pid(self) -> int | None:
        """The postmaster, if it is alive and really this server's."""
        pid = self._recorded_pid()
        return pid if pid is not None and is_server(pid, self.directory) else None

    def is_running(self) -> bool:
        return self.pid is not None

    def start(self) -> None:
        """Start on the recorded port and wait until it takes connections; no-op when running.

        Raises StackError with the reason from the server's log.
        """
        pid = self.pid
        if pid is None:
            self._remove_stale_pid_file()
            self.write_conf()
            self._rotate_log()
            self._launch()
        elif not wait_for(lambda: self._is_ready() or self.pid != pid, _START_SECONDS):
            raise StackError(f"{self.name} is not ready after {_START_SECONDS} s: {self.log_file}")
        if not self._is_ready():
            raise StackError(f"{self.name} ended while it started; see {self.log_file}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop and wait for the end; `fast` ends the clients, `immediate` needs recovery later."""
        pid = self.pid
        if pid is None:
            return
        signal_server(pid, _STOP_SIGNALS[mode])
        if not wait_for(lambda: not is_server(pid, self.directory), _STOP_SECONDS):
            raise StackError(f"{self.name} (process {pid}) does not stop; see {self.log_file}")

    def kill(self) -> None:
        """SIGKILL to the postmaster, as a crash; its children see that and end."""
        pid = self.pid
        if pid is not None:
            signal_server(pid, signal.SIGKILL)
            wait_for(lambda: not is_server(pid, self.directory), _STOP_SECONDS)

    def write_conf(self) -> bool:
        """Bring the generated settings up to date; whether they changed."""
        site = self.site
        settings = [conf.Setting("port", self.port, "picked once"), *conf.POSTGRES]
        settings += conf.DURABLE if site.durable else conf.FAST
        if self.primary_name:
            conninfo = (
                f"host=127.0.0.1 port={site.record.ports[self.primary_name]} user={REPLICATOR}"
                f" password={site.record.passwords[REPLICATOR]} application_name={self.slot}"
            )
            settings.append(
                conf.Setting("primary_conninfo", conninfo, "follows the primary's port")
            )
            settings.append(conf.Setting("primary_slot_name", self.slot, "keeps the log for us"))
        path = self.directory / "conf.d" / "impact.conf"
        text = conf.postgres_conf(settings)
        if path.exists() and path.read_text() == text:
            return False
        write_private(path, text, site.account)
        return True

    def reload(self) -> None:
        pid = self.pid
        if pid is not None:
            signal_server(pid, signal.SIGHUP)

    def describe(self) -> str:
        """Version, role and replication, for people. Raises StackError."""
        version, recovering, streaming, receiver, lag = self.sql(
            """
            SELECT current_setting('server_version'), pg_is_in_recovery(),
                   (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'),
                   coalesce((SELECT status FROM pg_stat_wal_receiver), 'not streaming'),
                   CASE WHEN pg_is_in_recovery() THEN
                       pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END
            """,
            connect_seconds=2,
        ).split("|")
        if recovering == "t":
            return f"PostgreSQL {version}, replica, {receiver}, {lag or '?'} bytes to replay"
        if self.primary_name:
            return f"PostgreSQL {version}, promoted: takes writes"
        return f"PostgreSQL {version}, primary, {streaming} streaming"

    def sql(self, script: str, *, database: str = "postgres", connect_seconds: int = 10) -> str:
        """Run a script as the superuser; its rows, unaligned, fields divided by '|'.

        The script may use psql's own commands (\\gexec). Raises StackError with the first error.
        """
        site = self.site
        result = run(
            [site.postgres.bindir / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"],
            account=None,
            cwd=Path("/"),
            stdin=script,
            # Ctrl-C at the terminal is for us: what cleans up after one must not lose its psql.
            new_session=True,
            env={
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.port),
                "PGUSER": SUPERUSER,
                "PGPASSWORD": site.record.passwords[SUPERUSER],
                "PGDATABASE": database,
                "PGAPPNAME": "impact-stack",
                "PGCONNECT_TIMEOUT": str(connect_seconds),
            },
        )
        if result.returncode:
            raise StackError(f"{self.name}: {error_in(result.stderr)}")
        return result.stdout.strip()

    def _launch(self) -> None:
        """Start the process; tries again while children of a killed postmaster still leave."""
        site = self.site
        argv: list[str | Path] = [site.postgres.bindir / "postgres", "-D", self.directory]
        reason = ""

        def launched() -> bool:
            nonlocal reason
            offset = log_size(self.log_file)
            pid = spawn(argv, account=site.account, cwd=self.directory, log=self.log_file)
            if not wait_for(
                lambda: self._is_ready() or not is_server(pid, self.directory), _START_SECONDS
            ):
                raise StackError(f"{self.name} is not ready after {_START_SECONDS} s")
            if self._is_ready():
                return True
            reason = self._reason(offset)
            if _ORPHANS in reason:
                return False
            raise StackError(f"{self.name} does not start: {reason}")

        if not wait_for(launched, _ORPHAN_SECONDS):
            raise StackError(f"{self.name} does not start: {reason}")

    def _recorded_pid(self) -> int | None:
        lines = self._pid_file_lines()
        return int(lines[0]) if lines and lines[0].strip().isdigit() else None

    def _is_ready(self) -> bool:
        """The postmaster notes its own readiness on the last line of its pid file."""
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[7].strip() == "ready" and self.is_running()

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.directory / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _remove_stale_pid_file(self) -> None:
        """PostgreSQL takes any live process with the noted id for the server, even a zombie.

        Should one of this directory be alive after all, its shared memory stops a second one.
        """
        if self._recorded_pid() is not None:
            (self.directory / "postmaster.pid").unlink(missing_ok=True)

    def _rotate_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.log_file.stat().st_size > _LOG_BYTES:
                self.log_file.replace(f"{self.log_file}.1")

    def _reason(self, offset: int) -> str:
        """The server's own words for why it ended, from its log after `offset` bytes."""
        text = said_since(self.log_file, offset)
        found = re.findall(r"(?:FATAL|PANIC|postgres): +(.+)", text)
        lines = found or text.splitlines() or ["no message"]
        return f"{lines[-1]} (see {self.log_file})"
