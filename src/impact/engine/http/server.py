"""Granian, as Impact runs it and as what it is compared with runs too."""

import math

DRAIN_SECONDS = 10


def serve(
    factory: str,
    *,
    host: str,
    port: int,
    workers: int = 1,
    log: bool = False,
    connections: int = 4000,
    drain: float = 0.0,
) -> None:
    """Serve the ASGI app that ``factory`` (``module:function``) makes, until SIGTERM or SIGINT;
    running requests get ten seconds to end, from ``drain`` seconds after the signal on.

    ``connections`` are the most of each worker."""
    from granian import Granian  # noqa: PLC0415 - commands that serve nothing start without it
    from granian.constants import HTTPModes, Interfaces, Loops  # noqa: PLC0415

    Granian(
        factory,
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        backpressure=connections,
        log_access=False,
        log_enabled=log,
        respawn_failed_workers=True,
        workers_kill_timeout=math.ceil(drain) + DRAIN_SECONDS,
    ).serve()
