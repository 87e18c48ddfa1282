"""The whole stack: one primary, its replicas and Redis below one data directory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import redis as redis_client

from impact.stack import _primary, _replica
from impact.stack._errors import StackError
from impact.stack._files import locked, sweep
from impact.stack._ports import is_free, pick
from impact.stack._postgres import PostgresServer
from impact.stack._redis import RedisServer
from impact.stack._site import APP, OWNER, SUPERUSER, Site

MAX_REPLICAS = 3
Server = PostgresServer | RedisServer


class Endpoints(msgspec.Struct, frozen=True):
    """URLs of one database of the stack."""

    primary_url: str
    """The application's role, which owns nothing."""
    replica_urls: tuple[str, ...]
    """The application's role on the read-only nodes."""
    owner_url: str
    """For migrations."""
    admin_url: str
    """The superuser on the primary."""
    replica_admin_urls: tuple[str, ...]
    redis_url: str | None
    """None when no Redis is to be had: run without."""


class ServerStatus(msgspec.Struct, frozen=True):
    name: str
    kind: str
    """primary, replica or redis."""
    port: int
    pid: int | None
    running: bool
    detail: str
    """Version, role and lag, for people."""


class Stack:
    """Servers in `data_dir`, which outlive this object and process until `down`.

    Not durable means without fsync: kill -9 loses nothing, a power failure may lose all.
    Every method raises StackError, one line for the user, for whatever goes wrong.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        replicas: int = 1,
        durable: bool = True,
        log: Callable[[str], None] | None = None,
    ) -> None:
        if not 0 <= replicas <= MAX_REPLICAS:
            raise StackError(f"{replicas} replicas: between 0 and {MAX_REPLICAS} are possible")
        self._log = log or _silent
        self._site = Site(data_dir.expanduser().resolve(), durable=durable, log=self._log)
        self.data_dir = self._site.data_dir
        self.primary = PostgresServer(self._site, "primary")
        possible = [
            PostgresServer(self._site, f"replica-{n}", primary_name=self.primary.name)
            for n in range(1, MAX_REPLICAS + 1)
        ]
        self.replicas = possible[:replicas]
        self._other_replicas = possible[replicas:]
        self._redis = RedisServer(self._site)

    @property
    def redis(self) -> RedisServer | None:
        """None when neither the machine nor a wheel has one."""
        return self._redis if self._site.redis or self._redis.is_running() else None

    @property
    def programs(self) -> Path:
        """The folder of PostgreSQL's programs, of the version that runs here."""
        return self._site.postgres.bindir

    def up(self) -> Endpoints:
        """Make and start what is not there or not running; safe to interrupt and to repeat."""
        site = self._site
        with self._errors():
            site.prepare()
            with locked(self.data_dir, self._log):
                site.settle()
                record = site.load_record()
                if sweep(site.home):
                    self._log("removed what an interrupted start left behind")
                # Anew at each start, for the version of data that came or went in the meantime.
                site.__dict__.pop("postgres", None)
                servers: list[Server] = [self.primary, *self.replicas]
                servers += [self.redis] if self.redis else []
                for server in servers:
                    self._settle_port(server)
                record.replicas = len(self.replicas)
                site.save_record()
                if not self.primary.exists:
                    _primary.initialise(self.primary)
                self.primary.start()
                _primary.provision_roles(self.primary)
                _primary.provision_database(self.primary, _primary.DATABASE)
                for replica in self._other_replicas:
                    if replica.directory.exists():
                        self._log(f"removing {replica.name}")
                        _replica.remove(self.primary, replica)
                for replica in self.replicas:
                    _replica.ensure(self.primary, replica)
                if self.redis:
                    self.redis.start()
                else:
                    self._log("no Redis 6.2 or newer, or Valkey, on PATH: running without it")
            return self._endpoints(_primary.DATABASE, self.replicas)

    def down(self) -> None:
        """Stop every server; without any, or without a data directory, nothing happens."""
        with self._errors():
            if not self.data_dir.is_dir():
                return
            with locked(self.data_dir, self._log):
                # Readers first: a primary waits for its replicas to have received everything.
                servers: list[Server] = [*self.replicas, *self._other_replicas]
                for server in [*servers, self.primary, self._redis]:
                    server.stop()

    def status(self) -> list[ServerStatus]:
        """The servers of the last `up`; empty when there was none."""
        with self._errors():
            record = self._site.read_record()
            if record is None:
                return []
            replicas = [*self.replicas, *self._other_replicas][: record.replicas]
            servers: list[Server] = [self.primary, *replicas, self._redis]
            return [self._describe(s) for s in servers if s.name in record.ports]

    def create_database(self, name: str, *, template: str | None = None) -> Endpoints:
        """A database with the stack's roles; an existing one is kept.

        With a template it must not exist, and nobody may be connected to the template.
        """
        with self._errors():
            _primary.provision_database(self.primary, name, template=template)
            return self._endpoints(name, self.replicas)

    def drop_database(self, name: str) -> None:
        """Drop it and end its sessions; no-op when there is none."""
        with self._errors():
            _primary.drop_database(self.primary, name)

    def _settle_port(self, server: Server) -> None:
        """Pick a port once, and another one when somebody else has taken it meanwhile."""
        ports = self._site.record.ports
        known = ports.get(server.name)
        if server.is_running() or (known is not None and is_free(known)):
            return
        ports[server.name] = pick(ports.values())
        if known is not None:
            self._log(f"port {known} is taken: {server.name} moves to {ports[server.name]}")

    def endpoints(self) -> Endpoints | None:
        """The addresses of the last `up`; None when there was none."""
        with self._errors():
            record = self._site.read_record()
            if record is None:
                return None
            replicas = [*self.replicas, *self._other_replicas][: record.replicas]
            return self._endpoints(_primary.DATABASE, replicas)

    def _endpoints(self, database: str, replicas: list[PostgresServer]) -> Endpoints:
        def urls(role: str, servers: list[PostgresServer]) -> tuple[str, ...]:
            return tuple(self._site.url(role, s.port, database) for s in servers)

        return Endpoints(
            primary_url=urls(APP, [self.primary])[0],
            replica_urls=urls(APP, replicas),
            owner_url=urls(OWNER, [self.primary])[0],
            admin_url=urls(SUPERUSER, [self.primary])[0],
            replica_admin_urls=urls(SUPERUSER, replicas),
            redis_url=self.redis.url if self.redis else None,
        )

    def _describe(self, server: Server) -> ServerStatus:
        pid = server.pid
        if pid is None:
            detail = "stopped"
        else:
            try:
                detail = server.describe()
            except (StackError, redis_client.RedisError) as error:
                detail = f"does not answer: {error}"
        return ServerStatus(
            name=server.name,
            kind=server.kind,
            port=server.port,
            pid=pid,
            running=pid is not None,
            detail=detail,
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The operating system's refusals, such as a full disk, as one line."""
        try:
            yield
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise StackError(f"{error.strerror or error}{where}") from error


def _silent(_: str) -> None:
    pass
