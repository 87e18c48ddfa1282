"""An installation as deploy/compose.yaml describes it, of the same files and without containers."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import yaml

from impact.stack import Stack
from impact.stack._site import Site
from impact.stack._user import give, server_account
from support.dev import free_port
from support.programs import needed

DEPLOY = Path(__file__).parents[2] / "deploy"


@dataclass
class Installation:
    """Servers started from the files in deploy/, each in a process group of its own."""

    directory: Path
    site: Site
    passwords: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str | Path, account: bool = False, **env: str) -> None:
        log = (self.directory / f"{name}.log").open("ab")
        owner = server_account() if account else None
        self.processes[name] = subprocess.Popen(
            [str(part) for part in command],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=self.directory,
            env={**os.environ, **env},
            **({} if owner is None else {"user": owner.uid, "group": owner.gid}),
        )
        log.close()

    def run(self, *command: str | Path, account: bool = False, **env: str) -> str:
        owner = server_account() if account else None
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            env={**os.environ, **env},
            **({} if owner is None else {"user": owner.uid, "group": owner.gid}),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in reversed(self.processes.values()):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def url(self, name: str, role: str) -> str:
        password = self.passwords[role]
        return f"postgresql://{role}:{password}@127.0.0.1:{self.ports[name]}/impact"

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def _accepts(url: str) -> bool:
    async def once() -> None:
        await (await asyncpg.connect(url, timeout=2)).close()

    try:
        asyncio.run(once())
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False
    return True


@contextlib.contextmanager
def installed(stack: Stack) -> Iterator[Installation]:
    """Primary, replica and Redis with the settings of deploy/, two nodes, HAProxy before them."""
    haproxy = needed("haproxy")
    # Not tmp_path: below pytest's directory the user of the servers could not pass.
    directory = Path(tempfile.mkdtemp(prefix="impact-deploy-"))
    directory.chmod(0o755)
    made = Installation(directory, stack.primary.site)
    try:
        _start_postgres(made)
        _start_redis(made)
        _start_nodes(made)
        made.ports |= {"haproxy": free_port(), "inside": free_port()}
        made.start(
            "haproxy",
            *(haproxy, "-f", DEPLOY / "haproxy.cfg"),
            IMPACT_BIND=f"127.0.0.1:{made.ports['haproxy']}",
            IMPACT_STATS_BIND=f"127.0.0.1:{made.ports['inside']}",
            IMPACT_NODE_1=f"127.0.0.1:{made.ports['node1']}",
            IMPACT_NODE_2=f"127.0.0.1:{made.ports['node2']}",
        )
        until(lambda: answers(f"http://127.0.0.1:{made.ports['haproxy']}/health/ready"))
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _start_postgres(made: Installation) -> None:
    programs = made.site.postgres.bindir
    roles = ("postgres", "impact_owner", "impact_app", "impact_replicator")
    made.passwords |= {role: secrets.token_urlsafe(24) for role in roles}
    made.ports |= {"primary": free_port(), "replica": free_port()}
    for name in ("home", "primary", "replica"):
        (made.directory / name).mkdir(mode=0o700)
        give(made.directory / name, made.site.account)
    data = made.directory / "primary"
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    # As the image does it: a user postgres, and what the file gives initdb.
    made.run(
        *(programs / "initdb", "--pgdata", data, "--username", "postgres", "--no-sync"),
        *services["primary"]["environment"]["POSTGRES_INITDB_ARGS"].split(),
        account=True,
    )
    _start_server(made, "primary")
    until(lambda: _accepts(_superuser(made)))
    made.run(
        DEPLOY / "postgres" / "primary.sh",
        PATH=f"{programs}:{os.environ['PATH']}",
        PGHOST="127.0.0.1",
        PGPORT=str(made.ports["primary"]),
        PGDATA=str(data),
        POSTGRES_USER="postgres",
        IMPACT_OWNER_PASSWORD=made.passwords["impact_owner"],
        IMPACT_APP_PASSWORD=made.passwords["impact_app"],
        REPLICATION_PASSWORD=made.passwords["impact_replicator"],
    )
    made.run(programs / "pg_ctl", "reload", "--pgdata", data, account=True)
    made.run(
        *(programs / "pg_basebackup", "--host", "127.0.0.1", "--port", str(made.ports["primary"])),
        *("--username", "impact_replicator", "--slot", "replica", "--no-sync"),
        *("--pgdata", made.directory / "replica", "--write-recovery-conf", "--checkpoint", "fast"),
        account=True,
        PGPASSWORD=made.passwords["impact_replicator"],
    )
    _start_server(made, "replica")
    until(lambda: _accepts(made.url("replica", "impact_app")))


def _superuser(made: Installation) -> str:
    return f"postgresql://postgres@127.0.0.1:{made.ports['primary']}/postgres"


def _start_server(made: Installation, name: str) -> None:
    shutil.copy(DEPLOY / "postgresql.conf", made.directory)
    made.start(
        name,
        *(made.site.postgres.bindir / "postgres", "-D", made.directory / name),
        *("-c", f"config_file={made.directory / 'postgresql.conf'}"),
        *("-c", "listen_addresses=127.0.0.1", "-c", f"port={made.ports[name]}"),
        # The machine of the tests is smaller than the one the file is written for.
        *("-c", "unix_socket_directories=", "-c", "shared_buffers=64MB", "-c", "fsync=off"),
        account=True,
    )


def _start_redis(made: Installation) -> None:
    made.passwords["redis"] = secrets.token_urlsafe(24)
    made.ports["redis"] = free_port()
    made.start(
        "redis",
        *(made.site.redis.server, DEPLOY / "redis.conf", "--requirepass", made.passwords["redis"]),
        *("--port", str(made.ports["redis"]), "--bind", "127.0.0.1", "--dir", "home"),
        account=True,
    )


def _start_nodes(made: Installation) -> None:
    impact = (sys.executable, "-m", "impact")
    made.run(*impact, "db", "upgrade", IMPACT_OWNER_URL=made.url("primary", "impact_owner"))
    for name in ("node1", "node2"):
        made.ports[name] = free_port()
        start_node(made, name)
    for name in ("node1", "node2"):
        until(lambda name=name: answers(f"http://127.0.0.1:{made.ports[name]}/health/ready"))


def start_node(made: Installation, name: str) -> None:
    made.start(
        name,
        *(sys.executable, "-m", "impact", "serve"),
        **environment(made, name),
    )


def environment(made: Installation, name: str) -> dict[str, str]:
    """What deploy/compose.yaml gives a node, but for what watches it."""
    redis_url = f"redis://:{made.passwords['redis']}@127.0.0.1:{made.ports['redis']}/0"
    return {
        "IMPACT_PRIMARY_URL": made.url("primary", "impact_app"),
        "IMPACT_REPLICA_URLS": made.url("replica", "impact_app"),
        "IMPACT_REDIS_URL": redis_url,
        "IMPACT_SIGNING_KEYS": "k1:" + made.passwords.setdefault("key", secrets.token_urlsafe(48)),
        "IMPACT_METRICS_TOKEN": made.passwords.setdefault("metrics", secrets.token_urlsafe(24)),
        "IMPACT_WORKERS": "2",
        "IMPACT_PORT": str(made.ports[name]),
        "IMPACT_DATA_DIR": str(made.directory / "node"),
    }
