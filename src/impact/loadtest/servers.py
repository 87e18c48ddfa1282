"""Servers to measure: Impact's own and what it is compared with, each a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import msgspec

from impact.engine.interrupts import uninterrupted
from impact.errors import ConfigurationError
from impact.settings import Settings, environment

_START_SECONDS = 30


class Server(msgspec.Struct):
    """A server with one worker; ``worker`` is that process."""

    process: subprocess.Popen[bytes]
    port: int
    worker: int

    @property
    def cpu(self) -> float:
        """Seconds of processor time that the worker has used."""
        fields = Path(f"/proc/{self.worker}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def impact_server(settings: Settings, others: Mapping[str, str] | None = None) -> Iterator[Server]:
    """``impact serve`` with these settings and ``others`` in its environment, on a free port."""
    port = _free_port()
    own = environment(msgspec.structs.replace(settings, port=port, workers=1))
    arguments = [sys.executable, "-m", "impact", "serve"]
    with _running(arguments, {**own, **(others or {})}) as process:
        yield Server(process, port, _worker(process, port))


@contextlib.contextmanager
def limit_server(app: str, variables: Mapping[str, str]) -> Iterator[Server]:
    """An app of ``impact.loadtest.limits`` on the same server with the same options."""
    port = _free_port()
    arguments = [sys.executable, "-m", "impact.loadtest.limits", app, str(port)]
    with _running(arguments, variables) as process:
        yield Server(process, port, _worker(process, port))


@contextlib.contextmanager
def _running(
    arguments: list[str], variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "IMPACT_"))}
    with child(arguments, signal.SIGINT, env={**kept, **variables}) as process:
        yield process


@contextlib.contextmanager
def child(
    arguments: list[str], by: signal.Signals = signal.SIGTERM, **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """A process that ends with the block, ``by`` that signal, and whose end is waited for.

    Its session is its own: a terminal's Ctrl-C is for us, and we end it.
    """
    with contextlib.ExitStack() as ending:
        with uninterrupted():
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                arguments, start_new_session=True, **options
            )
            ending.callback(_end, process, by)
        yield process


def _end(process: subprocess.Popen[Any], by: signal.Signals) -> None:
    with uninterrupted():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, by)
        process.wait(_START_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _worker(process: subprocess.Popen[bytes], port: int) -> int:
    deadline = time.monotonic() + _START_SECONDS
    try:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as response:
                    worker: int = msgspec.json.decode(response.read())["worker"]
                    return worker
            except (URLError, OSError):
                time.sleep(0.05)
    except KeyboardInterrupt:
        # Ended as it starts, by a gentler signal, it would say "Aborted!" as well.
        os.killpg(process.pid, signal.SIGKILL)
        raise
    raise ConfigurationError("a server that was to be measured did not start")
