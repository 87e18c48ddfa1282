"""``impact serve``: the HTTP server."""

import asyncio
import os
import socket
from pathlib import Path

import click
import msgspec

from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.engine.runtime import open_runtime
from impact.engine.telemetry.workers import run_directory
from impact.errors import ConfigurationError
from impact.settings import Settings, environment

_DRAIN_SECONDS = 10


@click.command()
@data_dir_option
@click.option(
    "--host", default=None, help="Address to listen on  [default: IMPACT_HOST, else 127.0.0.1]"
)
@click.option(
    "--port", type=int, default=None, help="Port to listen on  [default: IMPACT_PORT, else 9000]"
)
@click.option(
    "--workers",
    type=int,
    default=None,
    help="Processes that serve  [default: IMPACT_WORKERS, else 1]",
)
def serve(data_dir: Path, host: str | None, port: int | None, workers: int | None) -> None:
    """Serve HTTP until SIGTERM or SIGINT; running requests get ten seconds to end.

    Settings come from IMPACT_*. The database's addresses and the signing keys come from the data
    directory where no variable gives them.
    """
    with one_line():
        settings = load_settings(data_dir, host=host, port=port, workers=workers)
        require_free_port(settings.host, settings.port)
        # Here, once, and in one line, rather than in every worker with a stack trace.
        asyncio.run(_check(settings))
        with run_directory(settings.run_dir) as directory:
            settings = msgspec.structs.replace(settings, run_dir=directory)
            export(settings)
            run_server(settings)


async def _check(settings: Settings) -> None:
    async with open_runtime(settings):
        pass


def require_free_port(host: str, port: int) -> None:
    """Raise ConfigurationError where something listens already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port} ({error.strerror}); "
                f"choose another port, for example: make run PORT={min(port + 100, 65535)}"
            ) from error


def export(settings: Settings) -> None:
    """Put the settings into the environment, where worker processes read them."""
    os.environ.update(environment(settings))


def run_server(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; running requests get ten seconds to end."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops

    Granian(
        "impact.app:create_app",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        log_access=False,
        log_enabled=settings.log_level == "debug",
        respawn_failed_workers=True,
        workers_kill_timeout=_DRAIN_SECONDS,
    ).serve()
