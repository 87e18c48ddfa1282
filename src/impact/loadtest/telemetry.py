"""What measuring costs: two servers in one run, everything on and everything off, in turns.

``impact bench telemetry``. Rounds alternate, so that what else the machine does meets both; the
ratio is the median of the rounds' own. On means figures, notes of slow statements, and traces,
metrics and logs sent to a collector (a process of its own that takes and forgets them), at the
default sampling.
"""

import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import msgspec

from impact.errors import ConfigurationError
from impact.settings import Settings, variable

_CONNECTIONS = 8
_START_SECONDS = 30
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


class _Server(msgspec.Struct):
    process: subprocess.Popen[bytes]
    port: int
    worker: int

    @property
    def cpu(self) -> float:
        """Seconds of processor time that the worker has used."""
        fields = Path(f"/proc/{self.worker}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(settings: Settings, tenant: str, *, rounds: int, seconds: float) -> dict[str, Cost]:
    """The cost of measuring for each of ``LISTS``. Raises ConfigurationError for an empty shop."""
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(_collector())
        servers = {
            "on": stack.enter_context(_serving(settings, True, endpoint)),
            "off": stack.enter_context(_serving(settings, False, endpoint)),
        }
        return {
            name: _compare(servers, path, tenant, rounds, seconds) for name, path in LISTS.items()
        }


def _compare(
    servers: dict[str, _Server], path: str, tenant: str, rounds: int, seconds: float
) -> Cost:
    rates: dict[str, list[float]] = {"on": [], "off": []}
    costs: dict[str, list[float]] = {"on": [], "off": []}
    for server in servers.values():
        asyncio.run(_load(server.port, path, tenant, seconds / 2))
    for number in range(rounds):
        for name in ("on", "off") if number % 2 else ("off", "on"):
            server = servers[name]
            used = server.cpu
            count, took = asyncio.run(_load(server.port, path, tenant, seconds))
            rates[name].append(count / took)
            costs[name].append((server.cpu - used) / count * 1e6)
    return Cost(
        on=statistics.median(rates["on"]),
        off=statistics.median(rates["off"]),
        ratio=_paired(rates["on"], rates["off"]),
        cpu_on=statistics.median(costs["on"]),
        cpu_off=statistics.median(costs["off"]),
        cpu_ratio=_paired(costs["off"], costs["on"]),
        rounds=rounds,
    )


def _paired(first: list[float], second: list[float]) -> float:
    """The median of the rounds' own ratios: both halves of a round met the same machine."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


async def _load(port: int, path: str, tenant: str, seconds: float) -> tuple[int, float]:
    """How many requests were answered on a few connections, and in how many seconds."""
    request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: {tenant}\r\n\r\n".encode()
    began = time.perf_counter()
    deadline = began + seconds

    async def client() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        count = 0
        while time.perf_counter() < deadline:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise ConfigurationError(f"{path} of '{tenant}' answers {head[:40]!r}")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            count += 1
        writer.close()
        return count

    counts = await asyncio.gather(*(client() for _ in range(_CONNECTIONS)))
    return sum(counts), time.perf_counter() - began


@contextlib.contextmanager
def _serving(settings: Settings, on: bool, endpoint: str) -> Iterator[_Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("OTEL_")
    } | {
        variable("primary_url"): settings.primary_url,
        variable("replica_urls"): ",".join(settings.replica_urls),
        variable("redis_url"): settings.redis_url or "",
        variable("signing_keys"): settings.signing_keys,
        variable("telemetry"): str(on),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint if on else "",
    }
    arguments = ["serve", "--port", str(port), "--workers", "1", "--data-dir"]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
        [sys.executable, "-m", "impact", *arguments, str(settings.data_dir)],
        env=environ,
        start_new_session=True,
    )
    try:
        yield _Server(process, port, _worker(process, port))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(_START_SECONDS)


def _worker(process: subprocess.Popen[bytes], port: int) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as response:
                worker: int = msgspec.json.decode(response.read())["worker"]
                return worker
        except (URLError, OSError):
            time.sleep(0.05)
    raise ConfigurationError("the server that was to be measured did not start")


@contextlib.contextmanager
def _collector() -> Iterator[str]:
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-c", _COLLECTOR], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None  # noqa: S101 - asked for above
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
