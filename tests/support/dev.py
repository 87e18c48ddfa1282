"""``impact dev`` as a process of its own, as ``make run`` starts it."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_START_SECONDS = 180
_STOP_SECONDS = 40


def free_port(below: int = 65_536) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port < below:
                return port


def impact(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "impact", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


def _log_file() -> Path:
    handle, name = tempfile.mkstemp(prefix="impact-dev-", suffix=".log")
    os.close(handle)
    return Path(name)


class Dev:
    """A running ``impact dev``; ``with`` waits until it has greeted and stops it at the end."""

    def __init__(self, data_dir: Path, port: int, *options: str) -> None:
        self.data_dir = data_dir
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self._log = _log_file()
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "impact", "dev"),
                    *("--data-dir", str(data_dir), "--port", str(port), *options),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _START_SECONDS
        try:
            while "Ctrl-C stops everything" not in self.output:
                assert self.process.poll() is None, self.output
                assert time.monotonic() < deadline, self.output
                time.sleep(0.05)
        except BaseException:
            # It would go on beside all other tests.
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._log.unlink()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send the signal and wait for the end; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(_STOP_SECONDS)

    def curls(self) -> list[str]:
        """The curl lines that the greeting suggests."""
        return re.findall(r"^  (curl .*)$", self.output, re.MULTILINE)

    def server_pid(self) -> int:
        return int((self.data_dir / "server.pid").read_text())


def processes_of(data_dir: Path) -> list[str]:
    """The command lines of live processes that name the data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(data_dir) in command:
                found.append(f"{entry.name} {command}")
    return found
