"""The rows of a benchmark: what Impact does, beside the best that could be done, in one run."""

import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

_PACKAGES = ("impact", "litestar", "granian", "asyncpg", "sqlalchemy", "msgspec", "redis", "uvloop")


class Row(msgspec.Struct):
    """``system`` and ``limit`` are medians in ``unit``. ``ratio`` is the median of the rounds' own,
    so that both halves met the same machine; ``low`` and ``high`` are the furthest of them. Where
    there is no limit, ratio is the figure itself. A larger ratio is better where ``more`` says so.
    """

    work: str
    compared: str
    unit: str
    system: float
    limit: float | None
    ratio: float
    low: float
    high: float
    at_least: float
    aim: float
    more: bool
    rounds: int
    distance: str = ""
    """What lies between the figure and the aim."""

    @property
    def met(self) -> bool:
        return self.ratio >= self.at_least if self.more else self.ratio <= self.at_least

    @property
    def aimed(self) -> bool:
        return self.ratio >= self.aim if self.more else self.ratio <= self.aim


class Machine(msgspec.Struct):
    cores: int
    processor: str
    memory_gib: int
    system: str
    load: float
    """The load average of the minute before: what else the machine did."""
    python: str
    postgresql: str
    packages: dict[str, str]
    commit: str


class Report(msgspec.Struct):
    machine: Machine
    rows: list[Row]


def row(
    work: str,
    compared: str,
    unit: str,
    system: Sequence[float],
    limit: Sequence[float],
    *,
    at_least: float,
    aim: float,
    more: bool = True,
    distance: str = "",
) -> Row:
    """A row of as many rounds; ``system`` over ``limit``, or where there is no limit itself."""
    own = [a / b for a, b in zip(system, limit, strict=True)] if limit else list(system)
    return Row(
        work=work,
        compared=compared,
        unit=unit,
        system=statistics.median(system),
        limit=statistics.median(limit) if limit else None,
        ratio=statistics.median(own),
        low=min(own),
        high=max(own),
        at_least=at_least,
        aim=aim,
        more=more,
        rounds=len(own),
        distance=distance,
    )


def alternate(
    rounds: int,
    system: Callable[[], float],
    limit: Callable[[], float],
    told: Callable[[int], None],
) -> tuple[list[float], list[float]]:
    """Both in turns, the first of a round changing: what else the machine does meets both. One
    round before does not count."""
    ours, theirs = [], []
    for number in range(-1, rounds):
        told(max(number, 0))
        if number % 2:
            a = system()
            b = limit()
        else:
            b = limit()
            a = system()
        if number >= 0:
            ours.append(a)
            theirs.append(b)
    return ours, theirs


def machine(postgresql: str) -> Machine:
    """What the figures are of."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cores=os.cpu_count() or 1,
        processor=_processor(),
        memory_gib=round(pages / 2**30),
        system=platform.system() + " " + platform.release(),
        load=round(os.getloadavg()[0], 2),
        python=platform.python_version(),
        postgresql=postgresql,
        packages={name: version(name) for name in _PACKAGES},
        commit=_commit(),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((v.partition(":")[2].strip() for v in lines if v.startswith("model name")), "")


def _commit() -> str:
    """Of the source tree this runs from; "" where it is installed."""
    git, place = shutil.which("git"), Path(__file__).parents[3]
    if git is None or not (place / ".git").exists():
        return ""
    asked = [git, "-C", str(place), "describe", "--always", "--dirty"]
    return subprocess.run(  # noqa: S603 - our own arguments
        asked, capture_output=True, text=True, check=False
    ).stdout.strip()
