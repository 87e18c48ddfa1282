"""Load by wrk, a client in C that costs little beside what it measures.

A closed loop: each connection sends its next request when it has its answer. Its latencies are
therefore those of a server that is as busy as it can be.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from impact.errors import ConfigurationError

# Written to standard error, which holds nothing else.
_DONE = """
function done(summary, latency, requests)
  io.stderr:write(string.format('{"requests":%d,"seconds":%.6f,"failed":%d,"p50":%.3f,"p99":%.3f}',
    summary.requests, summary.duration / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
      + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


class Run(msgspec.Struct):
    """``p50`` and ``p99`` are milliseconds."""

    requests: int
    seconds: float
    failed: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def require_wrk() -> str:
    """Where wrk is. Raises ConfigurationError where it is not."""
    found = shutil.which("wrk")
    if found is None:
        raise ConfigurationError("this needs wrk on PATH; in Debian: apt install wrk")
    return found


def load(
    url: str,
    *,
    connections: int,
    seconds: float,
    headers: Mapping[str, str],
    script: str = "",
) -> Run:
    """Ask as fast as it answers, for so many seconds. Raises ConfigurationError where an answer is
    not a 2xx or 3xx."""
    # Its own timeout of two seconds would make a slow machine's answers failures.
    arguments = [require_wrk(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    arguments += ["--timeout", "20s"]
    for name, value in headers.items():
        arguments += ["-H", f"{name}: {value}"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + _DONE)
        file.flush()
        done = subprocess.run(  # noqa: S603 - no shell, our own arguments
            [*arguments, "-s", file.name, url],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    try:
        run = msgspec.json.decode(done.stderr, type=Run)
    except msgspec.DecodeError:
        raise ConfigurationError(f"wrk failed: {(done.stderr or done.stdout)[:500]}") from None
    if run.failed or not run.requests:
        raise ConfigurationError(f"{Path(url).name}: {run.failed} requests failed: {done.stdout}")
    return run
