"""``impact serve``: the HTTP server."""

import asyncio
import os
import socket
from pathlib import Path

import click
import msgspec

from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.engine.http import server
from impact.engine.runtime import open_runtime
from impact.engine.telemetry.workers import run_directory
from impact.errors import ConfigurationError
from impact.settings import Settings, environment


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

    After SIGTERM /health/ready answers 503 for IMPACT_DRAIN_DELAY seconds before nothing more is
    accepted, so that a balancer sends new requests elsewhere. SIGINT does not wait.

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
    server.serve(
        "impact.app:create_worker",
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log=settings.log_level == "debug",
        # Connections, of which those with a request are counted by the application: were these
        # the fewer, a health check would wait outside instead of being answered.
        connections=settings.requests_max * 2,
        drain=settings.drain_delay,
    )
