"""Processes beside a measurement end with it, and hear no Ctrl-C of the terminal."""

import os
from pathlib import Path

from impact.loadtest import telemetry


def _collectors() -> list[int]:
    me = os.getpid()
    children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
    return [
        int(each)
        for each in children
        if b"ThreadingHTTPServer" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


def test_a_collector() -> None:
    with telemetry._collector():
        (process,) = _collectors()
        assert os.getsid(process) == process
    assert _collectors() == []
