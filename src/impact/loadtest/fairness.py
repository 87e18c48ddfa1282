"""What one tenant notices of another that asks for far more than it may: two tenants, one server.

``impact bench fairness``. The quiet tenant is measured alone, beside the other within its budget
and beyond it, in turns, so that what else the machine does meets all. Everything is uncached:
connections and processor are what they compete for.
"""

import asyncio
import contextlib
import json
import secrets
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import msgspec

from impact.errors import ConfigurationError
from impact.loadtest.redis_keys import forgotten
from impact.loadtest.servers import child, impact_server
from impact.settings import Settings

PATH = "/store/products?limit=50&q=a"
"""A search by free text is never cached."""
_CLIENTS = 2
_PAUSE = 0.01
"""Seconds between a client's requests: somebody who browses, not a second flood."""
_SHARE = 1 / 6
"""Of the time of one worker, that the neighbour's budget allows where none is given."""
_LEAD = 0.5
"""Seconds that the neighbour has been at it before anything is measured."""


class Times(msgspec.Struct):
    """Milliseconds, and the median of the rounds' own ratios of p95 to that of nobody beside."""

    p50: float
    p95: float
    ratio: float


class Fairness(msgspec.Struct):
    """The quiet tenant's requests alone, beside one that keeps to its budget, and beside one that
    does not. ``errors`` are its answers other than 200; ``neighbour`` counts the other's answers
    by status, where it does not keep to its ``budget``, in requests a second."""

    alone: Times
    within: Times
    beyond: Times
    errors: int
    neighbour: dict[int, int]
    rounds: int
    budget: int


def measure(
    settings: Settings,
    quiet: str,
    noisy: str,
    *,
    budget: int | None,
    times: int,
    rounds: int,
    seconds: float,
) -> Fairness:
    """``noisy`` may make ``budget`` requests a second, and makes ``times`` as many.

    Without a budget it is as many as take a sixth of a worker's time on this machine: budgets are
    chosen by what there is to share. Raises ConfigurationError for a shop that is not there.
    """
    if budget is None:
        budget = _affordable(settings, quiet, seconds)
    chosen = msgspec.structs.replace(
        settings,
        rate_limits=(f"{noisy}:tenant-read={budget}/1",),
        # Buckets and cache of its own.
        cache_service=f"bench-{secrets.token_hex(4)}",
    )
    phases = {"alone": 0, "within": budget, "beyond": budget * times}
    took: dict[str, list[list[float]]] = {name: [] for name in phases}
    neighbour: Counter[int] = Counter()
    errors = 0
    with forgotten(chosen), impact_server(chosen) as server:
        _warm(server.port, quiet, seconds)
        for number in range(rounds):
            for name in list(phases) if number % 2 else reversed(phases):
                with _noise(server.port, noisy, phases[name], seconds) as answers:
                    found, failed = asyncio.run(_browse(server.port, quiet, seconds))
                took[name].append(found)
                errors += failed
                if name == "beyond":
                    neighbour.update(answers)
    if not neighbour[200]:
        raise ConfigurationError(f"'{noisy}' was answered {dict(neighbour)}: is there such a shop?")
    alone = [_quantile(found, 0.95) for found in took["alone"]]
    figures = {}
    for name, each in took.items():
        p95 = [_quantile(found, 0.95) for found in each]
        p50 = statistics.median(_quantile(found, 0.5) for found in each)
        figures[name] = Times(
            p50,
            statistics.median(p95),
            statistics.median(a / b for a, b in zip(p95, alone, strict=True)),
        )
    return Fairness(
        **figures,
        errors=errors,
        neighbour=dict(sorted(neighbour.items())),
        rounds=rounds,
        budget=budget,
    )


def _affordable(settings: Settings, tenant: str, seconds: float) -> int:
    """How many requests a second take ``_SHARE`` of the time, as long as one takes now."""
    with impact_server(settings) as server:
        _warm(server.port, tenant, seconds)
        took, _ = asyncio.run(_browse(server.port, tenant, seconds))
    return max(1, round(_SHARE * 1000 / statistics.median(took)))


def _warm(port: int, tenant: str, seconds: float) -> None:
    """A worker's first answers are slower. Raises ConfigurationError where there are none but
    errors, whose times would say nothing."""
    took, failed = asyncio.run(_browse(port, tenant, seconds))
    if failed == len(took):
        raise ConfigurationError(f"'{tenant}' has no answer but errors: is there such a shop?")


def _quantile(found: list[float], quantile: float) -> float:
    ordered = sorted(found)
    return ordered[int(quantile * (len(ordered) - 1))]


async def _browse(port: int, tenant: str, seconds: float) -> tuple[list[float], int]:
    """How long each request took, in milliseconds, and how many were not answered 200."""
    request = f"GET {PATH} HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: {tenant}\r\n\r\n".encode()
    deadline = time.perf_counter() + seconds
    took: list[float] = []
    failed = 0

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        while time.perf_counter() < deadline:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            took.append((time.perf_counter() - began) * 1000)
            failed += not head.startswith(b"HTTP/1.1 200")
            await asyncio.sleep(_PAUSE)
        writer.close()

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return took, failed


@contextlib.contextmanager
def _noise(port: int, tenant: str, rate: int, seconds: float) -> Iterator[Counter[int]]:
    """A neighbour beside the block, which is counted at its end."""
    answers: Counter[int] = Counter()
    if not rate:
        yield answers
        return
    arguments = [str(port), tenant, PATH, str(rate), str(seconds + 2 * _LEAD)]
    command = [sys.executable, "-m", "impact.loadtest.noise", *arguments]
    with child(command, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(_LEAD)
        yield answers
        output, _ = process.communicate()
    answers.update({int(status): count for status, count in json.loads(output or "{}").items()})
