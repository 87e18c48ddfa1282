"""What the commands on the audit log's archives share."""

import datetime as dt
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import click
import msgspec

from impact.cli._tables import markdown_table
from impact.errors import ConfigurationError

_UNITS = {"h": dt.timedelta(hours=1), "d": dt.timedelta(days=1), "w": dt.timedelta(weeks=1)}


class Moment(click.ParamType[dt.datetime]):
    """An ISO 8601 date or time; UTC without a zone."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime:
        if isinstance(value, dt.datetime):
            return value
        try:
            moment = dt.datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no ISO 8601 date or time, such as 2026-11-23", param, ctx)


class Age(click.ParamType[dt.timedelta]):
    """``90d``, ``12w`` or ``36h``."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.timedelta:
        match = re.fullmatch(r"(\d{1,6})([hdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is no age such as 90d, 12w or 36h", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


def require_pyarrow() -> ModuleType:
    """Raises ConfigurationError where the library for Parquet is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise ConfigurationError(
            "archives need pyarrow, which is not installed: pip install 'impact[archive]'"
        ) from None
    module: ModuleType = pyarrow
    return module


def entry_json(entry: Mapping[str, Any]) -> bytes:
    """An entry as the API shows it, and whose it is."""
    shown = {
        "tenant": entry["tenant_id"],
        "id": entry["id"],
        "occurred_at": entry["occurred_at"],
        "entity": entry["table_name"],
        "entity_id": entry["row_id"],
        **{name: entry[name] for name in ("action", "actor", "request_id", "reason")},
        "before": _raw(entry["before"]),
        "after": _raw(entry["after"]),
        "position": entry["position"],
        "previous_hash": entry["previous_hash"].hex(),
        "hash": entry["hash"].hex(),
    }
    return msgspec.json.encode(shown)


def entry_cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{entry['occurred_at']:%Y-%m-%d %H:%M:%S}",
        entry["tenant_id"],
        entry["actor"] or "",
        entry["action"],
        entry["table_name"],
        entry["row_id"] or "",
    )


HEAD = ("time", "tenant", "actor", "action", "entity", "id")


def entries_table(entries: list[Mapping[str, Any]]) -> str:
    return markdown_table(HEAD, [entry_cells(entry) for entry in entries])


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
