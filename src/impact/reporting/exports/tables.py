"""The rows of a report as CSV or Parquet: few enough to be made at once."""

import asyncio
import datetime as dt
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from litestar import Response

from impact.engine.http.accept import preferred
from impact.errors import NotAcceptableError
from impact.reporting.exports.formats import MEDIA_TYPES, harmless, written

TableFormat = Literal["json", "csv", "parquet"]
_TABLES: Mapping[str, TableFormat] = {
    "application/json": "json",
    "text/csv": "csv",
    MEDIA_TYPES["parquet"]: "parquet",
}


async def table(
    name: str,
    row: type[msgspec.Struct],
    rows: Sequence[msgspec.Struct],
    format: TableFormat,
    about: Mapping[str, str] | None = None,
) -> Response[Any]:
    """The rows as a file. ``about`` is kept in a Parquet file's own metadata.

    Raises NotAcceptableError where pyarrow is not installed.
    """
    make = _parquet if format == "parquet" else _csv
    content = await asyncio.to_thread(make, row, rows, about or {})
    return Response(
        content,
        media_type=MEDIA_TYPES[format],
        headers={
            "content-disposition": f'attachment; filename="{name}.{format}"',
            "vary": "accept",
        },
    )


def chosen_table(format: TableFormat | None, accept: str) -> TableFormat:
    """The format that was asked for, by parameter before header; JSON where none was."""
    return format or preferred(accept, _TABLES) or "json"


def _csv(
    row: type[msgspec.Struct], rows: Sequence[msgspec.Struct], about: Mapping[str, str]
) -> bytes:
    names = _columns(row)
    cells = ([_cell(getattr(each, name)) for name in names] for each in rows)
    return written([list(names), *cells])


def _cell(value: Any) -> Any:
    return harmless(value) if isinstance(value, str) else value


def _parquet(
    row: type[msgspec.Struct], rows: Sequence[msgspec.Struct], about: Mapping[str, str]
) -> bytes:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to load
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise NotAcceptableError(
            "Parquet needs pyarrow, which this server does not have: pip install 'impact[archive]'"
        ) from None
    kinds = {int: pa.int64(), str: pa.string(), UUID: pa.string(), dt.date: pa.date32()}
    schema = pa.schema(
        [(name, kinds[kind]) for name, kind in _columns(row).items()], metadata=dict(about)
    )
    values = [
        {name: str(value) if isinstance(value, UUID) else value for name, value in each.items()}
        for each in map(msgspec.structs.asdict, rows)
    ]
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(values, schema=schema), file)
    return file.getvalue()


def _columns(row: type[msgspec.Struct]) -> dict[str, Any]:
    """The types of a row's fields by name, its own before those of what it builds on."""
    fields = sorted(msgspec.structs.fields(row), key=lambda f: f.name not in row.__annotations__)
    return {field.name: field.type for field in fields}
