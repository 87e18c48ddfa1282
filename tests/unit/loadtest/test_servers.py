"""Processes beside a measurement end with it, and hear no Ctrl-C of the terminal."""

import os
import signal
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from impact.loadtest import servers, telemetry


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


def test_a_server_that_is_still_starting_has_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "urlopen", Mock(side_effect=KeyboardInterrupt))
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with servers.child(command) as process, pytest.raises(KeyboardInterrupt):
        servers._worker(process, 1)
    assert process.returncode == -signal.SIGKILL
