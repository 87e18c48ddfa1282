"""One true answer of several worker processes, through files in the directory of their run.

Each worker writes what it measures into a ring that others can read (``journal``), and once a
second what it has added up into a state file. Whoever is asked adds the states of all, and what
their rings hold beyond them. No worker is asked anything, so that none can hold up the answer,
and what a killed one measured still counts: a total never goes back. The files of workers that
ended are summed up into one by the next that starts.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from impact.engine.telemetry.journal import Journal, set_number
from impact.engine.telemetry.monitor import PerformanceMonitor
from impact.engine.telemetry.names import METRICS, MetricKind
from impact.engine.telemetry.samples import Sample, added
from impact.engine.telemetry.series import Kind, Series, slot_at
from impact.engine.telemetry.sketch import sketched
from impact.engine.telemetry.slow import SlowQuery, newest

_PREFIX = "impact-run-"
_ENDED = "ended.state"
_LOCK = "lock"
_OWNER = "owner"
_YOUNG = 60.0
"""Seconds for which a directory without an owner is taken to be one that is being made."""
_MOST_WAITING = 8192
"""Entries of the ring after which the state is written although no second is over."""


class Totals(msgspec.Struct, array_like=True):
    """``folded`` is the number of the ring's last entry that ``series`` contain. ``merged`` names
    the workers whose files a sum of ended ones contains."""

    folded: int = 0
    processes: int = 1
    samples: list[Sample] = []
    slow: list[SlowQuery] = []
    series: list[Series] = []
    merged: list[str] = []


class _Line(msgspec.Struct, array_like=True, omit_defaults=True):
    """Of the file of names: a series, or a set of them by their numbers."""

    kind: Kind | None = None
    name: str = ""
    detail: str = ""
    failed: bool = False
    together: tuple[int, ...] = ()


class _Encoded(msgspec.Struct, array_like=True):
    """``Totals`` of which most series were encoded before."""

    folded: int
    processes: int
    samples: list[Sample]
    slow: list[SlowQuery]
    series: list[msgspec.Raw]
    merged: list[str]


_line = msgspec.msgpack.Decoder(_Line)
_totals = msgspec.msgpack.Decoder(Totals)
_encode = msgspec.msgpack.Encoder().encode


class Worker:
    """This process's part of the directory. Without a directory it shares with nobody."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._name = f"{os.getpid()}-{secrets.token_hex(3)}"
        self._copies: dict[int, msgspec.Raw] = {}
        self._written = 0
        self._names: IO[bytes] | None = None
        if directory is None:
            self.monitor = PerformanceMonitor()
            return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sum_up_ended(directory)
        with _locked(directory, fcntl.LOCK_SH):
            self._names = self._path(".names").open("ab", buffering=0)
            # Held until the process ends, however it does: that is how others know.
            fcntl.flock(self._names, fcntl.LOCK_EX)
            self.monitor = PerformanceMonitor(Journal.create(self._path(".journal")))
        self.monitor.on_new = self._add_name
        self.monitor.on_set = lambda numbers: self._add_line(_Line(together=numbers))
        self.monitor.on_full = self._fold

    def _path(self, suffix: str) -> Path:
        assert self._directory is not None  # noqa: S101 - its callers have one
        return self._directory / (self._name + suffix)

    def _add_name(self, number: int, series: Series) -> None:
        self._add_line(_Line(series.kind, series.name, series.detail, series.failed))

    def _add_line(self, line: _Line) -> None:
        assert self._names is not None  # noqa: S101 - set where this is
        raw = _encode(line)
        self._names.write(len(raw).to_bytes(4, "big") + raw)

    def _fold(self) -> None:
        self.monitor.fold()
        if self.monitor.folded - self._written >= _MOST_WAITING:
            self._write([], [])

    def persist(self, samples: list[Sample], slow: list[SlowQuery]) -> None:
        """Add up and leave the sum where the others find it."""
        self.monitor.fold()
        if self._directory is not None:
            self._write(samples, slow)

    def _write(self, samples: list[Sample], slow: list[SlowQuery]) -> None:
        monitor = self.monitor
        if samples:
            self._samples, self._slow = samples, slow
        with monitor.locked():
            for number in monitor.changed:
                self._copies[number] = msgspec.Raw(_encode(monitor.series[number]))
            monitor.changed.clear()
            series = [self._copies[number] for number in sorted(self._copies)]
            state = _Encoded(monitor.folded, 1, self._samples, self._slow, series, [])
            _replace(self._path(".state"), _encode(state))
            self._written = monitor.folded

    _samples: list[Sample] = []
    _slow: list[SlowQuery] = []

    def total(self, samples: list[Sample], slow: list[SlowQuery]) -> Totals:
        """What all workers of the run measured, to the last entry. Takes milliseconds; may run
        in a thread."""
        self.persist(samples, slow)
        if self._directory is not None:
            return gather(self._directory)
        return self.own(samples, slow)

    def own(self, samples: list[Sample], slow: list[SlowQuery]) -> Totals:
        """What this process measured, as a copy that stays as it is."""
        self.monitor.fold()
        with self.monitor.locked():
            raw = _encode(Totals(0, 1, samples, slow, self.monitor.series))
        return _totals.decode(raw)

    def close(self) -> None:
        if self._names is not None:
            # What ends later yet may be the first of its name, which nobody could read any more.
            self.monitor.journal = Journal.anonymous()
            self.monitor.on_new = lambda number, series: None
            self.monitor.on_set = lambda numbers: None
            self._names.close()


def gather(directory: Path) -> Totals:
    """The sum of all workers that live or lived in the directory."""
    with _locked(directory, fcntl.LOCK_SH):
        ended = _read_state(directory / _ENDED)
        parts = [
            _read_worker(directory, path)
            for path in directory.glob("*.names")
            if path.stem not in ended.merged
        ]
    total = _sum([ended, *parts])
    total.processes = sum(part.processes for part in parts)
    return total


def sum_up_ended(directory: Path) -> None:
    """Put the files of workers that ended into one."""
    with _locked(directory, fcntl.LOCK_EX):
        ended = _read_state(directory / _ENDED)
        for name in ended.merged:
            _remove(directory, name)
        gone = [path for path in directory.glob("*.names") if _has_ended(path)]
        if not gone and not ended.merged:
            return
        total = _sum([ended, *(_read_worker(directory, path) for path in gone)])
        total.merged = [path.stem for path in gone]
        # Should this process be killed before it has removed them, they are known to be in it.
        _replace(directory / _ENDED, _encode(total))
        for name in total.merged:
            _remove(directory, name)


def _sum(parts: Iterable[Totals]) -> Totals:
    parts = list(parts)
    series: dict[tuple[str, str, str], Series] = {}
    for part in parts:
        for each in part.series:
            mine = series.get(each.key)
            if mine is None:
                series[each.key] = each
            else:
                mine.merge(each)
    return Totals(
        samples=added(sample for part in parts for sample in part.samples),
        slow=newest(slow for part in parts for slow in part.slow),
        series=list(series.values()),
    )


def _read_worker(directory: Path, path: Path) -> Totals:
    """A worker's state and what its ring holds beyond it."""
    name = path.stem
    ended = _has_ended(path)
    state = _read_state(directory / f"{name}.state")
    state.processes = 0 if ended else 1
    if ended:
        # A process that is gone has no queue and no lag; what it counted stays counted.
        state.samples = [
            sample for sample in state.samples if METRICS[sample.metric].kind is MetricKind.COUNTER
        ]
    names, sets = _read_names(path)
    try:
        journal = Journal.open(directory / f"{name}.journal")
    except (FileNotFoundError, ValueError):
        # It ended between making its files.
        return state
    with contextlib.closing(journal):
        found, _ = journal.read(state.folded)
    by_key = {each.key: each for each in state.series}
    # All of it was measured in the last second or so of the worker.
    slot = slot_at(time.monotonic())
    for number, values in found.items():
        if number >= len(names) and number not in sets:
            # Its name was written before it, so this was read before that.
            names, sets = _read_names(path)
        sketch = sketched(values)
        for each in sets.get(number) or (number,):
            series = by_key.setdefault(names[each].key, names[each])
            series.take(sketch, max(slot, series.slot))
    state.series = list(by_key.values())
    return state


def _read_names(path: Path) -> tuple[list[Series], dict[int, tuple[int, ...]]]:
    """The series by number, and the sets of them by theirs."""
    raw, at = path.read_bytes(), 0
    names: list[Series] = []
    sets: dict[int, tuple[int, ...]] = {}
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "big")
        if at + 4 + size > len(raw):
            break
        line = _line.decode(raw[at + 4 : at + 4 + size])
        if line.kind is None:
            sets[set_number(len(sets))] = line.together
        else:
            names.append(Series(line.kind, line.name, line.detail, line.failed))
        at += 4 + size
    return names, sets


def _read_state(path: Path) -> Totals:
    try:
        return _totals.decode(path.read_bytes())
    except FileNotFoundError:
        return Totals()


def _replace(path: Path, raw: bytes) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(raw)
    draft.replace(path)


def _remove(directory: Path, name: str) -> None:
    for suffix in (".journal", ".state", ".names"):
        (directory / (name + suffix)).unlink(missing_ok=True)


def _has_ended(path: Path) -> bool:
    """Whether nobody holds the file's lock any more."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


@contextlib.contextmanager
def _locked(directory: Path, how: int) -> Iterator[None]:
    with (directory / _LOCK).open("wb") as file:
        fcntl.flock(file, how)
        yield


# The directory of a run.


def shared(directory: Path | None) -> Path | None:
    """The directory if a server made it for a run: a command that only knows the one above it
    is no worker, and leaves nothing there."""
    return directory if directory is not None and (directory / _OWNER).exists() else None


@contextlib.contextmanager
def run_directory(parent: Path | None) -> Iterator[Path]:
    """A directory for the workers of one server, gone afterwards.

    Below ``parent``, else in memory where the system has a file system for that. What a server
    that was killed left there is removed by the next one of the same user.
    """
    shared = Path("/dev/shm")  # noqa: S108 - made below with a name nobody can guess
    in_memory = shared.is_dir() and os.access(shared, os.W_OK)
    base = parent or (shared if in_memory else Path(tempfile.gettempdir()))
    base.mkdir(parents=True, exist_ok=True)
    for left in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            stat = left.stat()
            young = time.time() - stat.st_mtime < _YOUNG
            if stat.st_uid == os.getuid() and not young and _has_ended(left / _OWNER):
                shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    with (directory / _OWNER).open("wb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
