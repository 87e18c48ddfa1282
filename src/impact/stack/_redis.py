"""The Redis (or Valkey) server: a cache, so its data may always be thrown away."""

import signal
from pathlib import Path

import redis

from impact.stack import _conf as conf
from impact.stack._errors import StackError
from impact.stack._files import discard, write_private
from impact.stack._postgres import StopMode
from impact.stack._process import is_server, log_size, said_since, signal_server, spawn, wait_for
from impact.stack._site import REDIS, Site
from impact.stack._user import give

_START_SECONDS = 60  # reading a long append-only file
_STOP_SECONDS = 60


class RedisServer:
    name = "redis"
    kind = "redis"

    def __init__(self, site: Site) -> None:
        self.site = site

    @property
    def directory(self) -> Path:
        return self.site.home / self.name

    @property
    def log_file(self) -> Path:
        return self.site.logs / f"{self.name}.log"

    @property
    def port(self) -> int:
        return self.site.record.ports[self.name]

    @property
    def url(self) -> str:
        return f"redis://:{self.site.record.passwords[REDIS]}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server, if it is alive and really this one."""
        try:
            noted = (self.directory / "redis.pid").read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return int(noted) if noted.isdigit() and is_server(int(noted), self.directory) else None

    def is_running(self) -> bool:
        return self.pid is not None

    def start(self) -> None:
        """Start and wait until it answers; data it cannot read is thrown away. No-op if running."""
        if not self.is_running() and not self._launch():
            self.site.log(f"redis did not start with its data and starts empty: {self.log_file}")
            discard(self.directory)
            offset = log_size(self.log_file)
            if not self._launch():
                said = said_since(self.log_file, offset).splitlines() or ["no message"]
                raise StackError(f"Redis does not start: {said[-1]} (see {self.log_file})")
        if not wait_for(self._answers, _START_SECONDS):
            raise StackError(f"Redis does not answer after {_START_SECONDS} s: {self.log_file}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop and wait for the end; `immediate` is SIGKILL, the others write the file first."""
        pid = self.pid
        if pid is None:
            return
        signal_server(pid, signal.SIGKILL if mode == "immediate" else signal.SIGTERM)
        if not wait_for(lambda: not is_server(pid, self.directory), _STOP_SECONDS):
            raise StackError(f"Redis (process {pid}) does not stop; see {self.log_file}")

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self.stop("immediate")

    def describe(self) -> str:
        """Version and memory, for people. Raises redis.RedisError."""
        with redis.Redis.from_url(self.url, socket_timeout=2, decode_responses=True) as client:
            info = client.info()
        name = "Valkey" if "valkey_version" in info else "Redis"
        version = info.get("valkey_version") or info["redis_version"]
        return f"{name} {version}, {info['used_memory_human']} used"

    def _launch(self) -> bool:
        """Start the process; whether it came as far as answering."""
        site = self.site
        program = site.redis
        if program is None:
            raise StackError("No Redis 6.2 or newer, or Valkey, on PATH, and no wheel of it")
        self.directory.mkdir(mode=0o700, exist_ok=True)
        give(self.directory, site.account)
        pid_file = self.directory / "redis.pid"
        pid_file.unlink(missing_ok=True)
        settings = [
            conf.Setting("port", self.port, "picked once"),
            conf.Setting("dir", str(self.directory), "everything below one data directory"),
            conf.Setting("requirepass", site.record.passwords[REDIS], "any local user can connect"),
            *conf.REDIS,
        ]
        path = self.directory / "redis.conf"
        write_private(path, conf.redis_conf(settings), site.account)
        # Not Redis's own pidfile: that is empty while Redis writes it, as if it did not run.
        pid = spawn(
            [program.server, path],
            account=site.account,
            cwd=self.directory,
            log=self.log_file,
            note=pid_file,
        )
        wait_for(lambda: self._answers() or not is_server(pid, self.directory), _START_SECONDS)
        return is_server(pid, self.directory)

    def _answers(self) -> bool:
        try:
            self.describe()
        except redis.RedisError:
            return False
        return True
