"""A run and what it found, as --json writes it. Times are milliseconds but where named else."""

import datetime as dt
import os
import platform

import msgspec

from impact.loadtest.scenarios.driver import Effort, Load
from impact.loadtest.scenarios.recording import Figures, Slice
from impact.loadtest.scenarios.server import ServerFigures
from impact.loadtest.scenarios.targets import Check, Targets


class Machine(msgspec.Struct, frozen=True):
    """Of the load generator; ``load`` is the machine's load average of the last minute before."""

    system: str
    python: str
    cores: int
    load: float


class ScenarioReport(msgspec.Struct, frozen=True):
    name: str
    title: str
    loop: str
    """``closed`` or ``open``."""
    load: Load
    requests: int
    failed: int
    per_second: float
    kinds: list[Figures]
    over_time: list[Slice]
    failures: dict[str, int]
    server: ServerFigures
    client: Effort
    checks: list[Check]
    met: bool
    left: int
    """Things made that could not be removed."""


class Report(msgspec.Struct, frozen=True):
    url: str
    targets: Targets
    began: dt.datetime
    machine: Machine
    scenarios: list[ScenarioReport]

    @property
    def met(self) -> bool:
        return all(each.met for each in self.scenarios)


def machine() -> Machine:
    return Machine(
        f"{platform.system()} {platform.machine()}",
        platform.python_version(),
        len(os.sched_getaffinity(0)),
        round(os.getloadavg()[0], 2),
    )
