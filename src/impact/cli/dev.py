"""``impact dev``: everything on one machine, as ``make run`` starts it."""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

import click
from rich.console import Console

from impact.cli._settings import (
    data_dir_option,
    load_settings,
    one_line,
    signing_keys,
    stack_variables,
)
from impact.cli.serve import export, require_free_port
from impact.engine.runtime import open_runtime
from impact.errors import ConfigurationError
from impact.flows.demo import Seeded, seed
from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Stack, StackError

_READY_SECONDS = 60
_STOP_SECONDS = 15
_WATCH_SECONDS = 1.0


@click.command()
@data_dir_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="IMPACT_PORT",
    default=9000,
    show_default=True,
    show_envvar=True,
    help="Port to listen on.",
)
@click.option(
    "--workers",
    type=int,
    envvar="IMPACT_WORKERS",
    default=1,
    show_default=True,
    show_envvar=True,
    help="Processes that serve HTTP.",
)
@click.option(
    "--replicas",
    type=click.IntRange(0, 3),
    envvar="IMPACT_REPLICAS",
    default=1,
    show_default=True,
    show_envvar=True,
    help="Streaming replicas of the primary.",
)
def dev(data_dir: Path, port: int, workers: int, replicas: int) -> None:
    """Start PostgreSQL, its replicas, Redis, three demo shops and the HTTP server.

    The shops are hq, paris and lyon. The password of their staff is printed at the first start.
    Ctrl-C stops everything and keeps the data; the next start takes seconds.
    """
    console = Console(stderr=True, highlight=False)
    with one_line(), _stopping_on_signals():
        data_dir = _make_data_dir(data_dir)
        with _alone(data_dir):
            _end_leftover_server(data_dir)
            require_free_port("127.0.0.1", port)
            stack = Stack(
                data_dir,
                replicas=replicas,
                log=lambda text: console.print(text, soft_wrap=True, markup=False),
            )
            try:
                _run(stack, data_dir, port, workers, console)
            except _StopError:
                pass
            finally:
                console.print("Stopping ...")
                stack.down()


def _run(stack: Stack, data_dir: Path, port: int, workers: int, console: Console) -> None:
    with console.status("Starting PostgreSQL, its replicas and Redis"):
        endpoints = stack.up()
    os.environ |= stack_variables(endpoints)
    os.environ.setdefault("IMPACT_SIGNING_KEYS", signing_keys(data_dir))
    with console.status("Migrating the schema"):
        migrations.upgrade(endpoints.owner_url)
    settings = load_settings(data_dir, port=port, workers=workers)
    with console.status("Opening the demo shops") as status:
        seeded = asyncio.run(_seed(settings, status.update))
    export(settings)
    server = _start_server(data_dir, settings)
    try:
        _await_ready(server, settings)
        _greet(settings, data_dir, seeded)
        _watch(server, stack)
    finally:
        _stop_server(server, data_dir)


async def _seed(settings: Settings, say: object) -> Seeded:
    async with open_runtime(settings) as runtime:
        return await seed(runtime, say)  # type: ignore[arg-type]


def _start_server(data_dir: Path, settings: Settings) -> subprocess.Popen[bytes]:
    """The server in a process group of its own, so that one signal reaches all its workers."""
    argv = [sys.executable, "-m", "impact", "serve", "--data-dir", str(data_dir)]
    server = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
        [*argv, "--port", str(settings.port)], start_new_session=True
    )
    _pid_file(data_dir).write_text(str(server.pid))
    return server


def _await_ready(server: subprocess.Popen[bytes], settings: Settings) -> None:
    url = f"http://{settings.host}:{settings.port}/health/ready"
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ConfigurationError(f"the server ended with status {server.returncode}")
        try:
            with urlopen(url, timeout=2) as response:
                if response.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.05)
    raise ConfigurationError(f"the server did not answer {url} within {_READY_SECONDS} s")


def _watch(server: subprocess.Popen[bytes], stack: Stack) -> None:
    """Until the server ends or a signal comes; a database server that died is started again."""
    while server.poll() is None:
        time.sleep(_WATCH_SECONDS)
        if not all(status.running for status in stack.status()):
            with contextlib.suppress(StackError):
                stack.up()
    raise ConfigurationError(f"the server ended with status {server.returncode}")


def _stop_server(server: subprocess.Popen[bytes], data_dir: Path) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_STOP_SECONDS)
    # Workers that outlived their parent, or would not end.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    _pid_file(data_dir).unlink(missing_ok=True)


def _greet(settings: Settings, data_dir: Path, seeded: Seeded) -> None:
    base = f"http://localhost:{settings.port}"
    impact = Path(sys.executable).with_name("impact")
    shown = impact.relative_to(Path.cwd()) if impact.is_relative_to(Path.cwd()) else impact
    token = f"$({shown} token --tenant paris --data-dir {data_dir})"
    bearer = f'-H "Authorization: Bearer {token}"'
    lines = [
        f"\nImpact serves at {base} (API description: {base}/schema)",
        f"What happens, live: {base}/ops (log in as staff of hq)\n",
    ]
    if seeded.password:
        lines += [
            "Staff of every demo shop, shown this once:",
            f"  e-mail    {seeded.email}",
            f"  password  {seeded.password}\n",
        ]
    lines += [
        "Try:",
        f"  curl -s '{base}/store/products?limit=2' -H 'x-tenant-id: paris'",
        f"  curl -s '{base}/admin/orders?limit=2' {bearer}",
        f"  curl -s '{base}/admin/reports/sales?interval=month' {bearer}",
        "\nCtrl-C stops everything; the data stays.",
    ]
    click.echo("\n".join(lines))


class _StopError(Exception):
    """A signal asked for the end."""


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP end the block once; while it cleans up they are ignored."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise _StopError(signal.Signals(number).name)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stop)
    with contextlib.suppress(_StopError):
        yield


def _make_data_dir(data_dir: Path) -> Path:
    path = data_dir.absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the data directory {path} ({error.strerror}); "
            "choose another: make run DATA=/some/dir"
        ) from error
    return path


@contextlib.contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's lock. The kernel frees it however this process ends."""
    with (data_dir / "dev.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another 'impact dev' runs on {data_dir}; stop it, or choose another "
                "directory: make run DATA=/some/dir PORT=9100"
            ) from None
        yield


def _pid_file(data_dir: Path) -> Path:
    return data_dir / "server.pid"


def _end_leftover_server(data_dir: Path) -> None:
    """End the server of a ``dev`` that was killed. Holding the lock, we know it has no other."""
    try:
        pid = int(_pid_file(data_dir).read_text())
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ValueError):
        return
    if b"serve" in argv and str(data_dir).encode() in argv:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
            time.sleep(0.2)
    _pid_file(data_dir).unlink(missing_ok=True)
