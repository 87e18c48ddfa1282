"""What measuring costs: two servers in one run, everything on and everything off, in turns.

``impact bench telemetry``. Rounds alternate, so that what else the machine does meets both; the
ratio is the median of the rounds' own. On means figures, notes of slow statements, and traces,
metrics and logs sent to a collector (a process of its own that takes and forgets them), at the
default sampling.
"""

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator

import msgspec

from impact.loadtest.servers import Server, child, impact_server
from impact.loadtest.wrk import load
from impact.settings import Settings

_CONNECTIONS = 8
LISTS = {
    "cached": "/store/products?limit=50",
    "uncached": "/store/products?limit=50&q=a",
}
"""A search by free text is never cached."""
_COLLECTOR = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Cost(msgspec.Struct):
    """Requests a second, and processor time of the server a request in microseconds. ``ratio``
    is of the requests a second, ``cpu_ratio`` of the time: off to on, so that 1 is no cost."""

    on: float
    off: float
    ratio: float
    cpu_on: float
    cpu_off: float
    cpu_ratio: float
    rounds: int
    cpus_on: list[float]
    cpus_off: list[float]


def measure(
    settings: Settings,
    tenant: str,
    *,
    rounds: int,
    seconds: float,
    lists: Iterable[str] = tuple(LISTS),
) -> dict[str, Cost]:
    """The cost of measuring for each of the ``lists``. Raises ConfigurationError for an empty
    shop."""
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(_collector())
        servers = {
            "on": stack.enter_context(
                impact_server(settings, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
            ),
            "off": stack.enter_context(
                impact_server(msgspec.structs.replace(settings, telemetry=False))
            ),
        }
        return {name: _compare(servers, LISTS[name], tenant, rounds, seconds) for name in lists}


def _compare(
    servers: dict[str, Server], path: str, tenant: str, rounds: int, seconds: float
) -> Cost:
    rates: dict[str, list[float]] = {"on": [], "off": []}
    costs: dict[str, list[float]] = {"on": [], "off": []}
    for number in range(-1, rounds):
        for name in ("on", "off") if number % 2 else ("off", "on"):
            server = servers[name]
            used = server.cpu
            url = f"http://127.0.0.1:{server.port}{path}"
            headers = {"x-tenant-id": tenant}
            run = load(url, connections=_CONNECTIONS, seconds=seconds, headers=headers)
            if number >= 0:
                rates[name].append(run.rate)
                costs[name].append((server.cpu - used) / run.requests * 1e6)
    return Cost(
        on=statistics.median(rates["on"]),
        off=statistics.median(rates["off"]),
        ratio=_paired(rates["on"], rates["off"]),
        cpu_on=statistics.median(costs["on"]),
        cpu_off=statistics.median(costs["off"]),
        cpu_ratio=_paired(costs["off"], costs["on"]),
        rounds=rounds,
        cpus_on=costs["on"],
        cpus_off=costs["off"],
    )


def _paired(first: list[float], second: list[float]) -> float:
    """The median of the rounds' own ratios: both halves of a round met the same machine."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


@contextlib.contextmanager
def _collector() -> Iterator[str]:
    command = [sys.executable, "-c", _COLLECTOR]
    with child(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
