"""What every schema is made of: strict input, bounded text, money and time."""

import datetime as dt
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from impact.errors import InvalidDataError, Problem


class Input(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request's body. A field that it does not know is an error, not a silence."""


class Output(msgspec.Struct, kw_only=True):
    """A response's body, in the order of its fields."""


class PageOut(Output):
    """What every list says beside its items. ``count`` is exact up to IMPACT_COUNT_LIMIT."""

    count: int
    offset: int
    limit: int
    next_cursor: str | None


class Deleted(Output):
    """What a DELETE answers."""

    id: str
    object: str
    deleted: bool


END = r"$(?!\n)"
"""The end of a pattern, in Python and in JSON Schema alike: a bare ``$`` lets a newline pass."""
NO_NUL = r"^[^\u0000]*$"
"""PostgreSQL's text has no NUL."""
_BLANK = r"\s\u0000-\u0020\u0085\ufeff"
"""White space and control characters, whichever of them a language's own ``\\s`` leaves out."""
_WORD = rf"[^@{_BLANK}]+"

JSON_VALUE_SCHEMA: dict[str, Any] = {
    "description": "Any JSON without NUL characters.",
    "anyOf": [
        {"type": ["null", "boolean", "number"]},
        {"type": "string", "pattern": NO_NUL},
        {"type": "array", "items": {"$ref": "#/components/schemas/JsonValue"}},
        {
            "type": "object",
            "propertyNames": {"pattern": NO_NUL},
            "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
        },
    ],
}

ShortText = Annotated[str, Meta(min_length=1, max_length=255, pattern=NO_NUL)]
LongText = Annotated[str, Meta(max_length=20_000, pattern=NO_NUL)]
Handle = Annotated[str, Meta(pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*" + END, max_length=255)]
Url = Annotated[str, Meta(max_length=2048, pattern=rf"^(https?://|/)[^{_BLANK}]+" + END)]
Email = Annotated[str, Meta(max_length=254, pattern=rf"^{_WORD}@{_WORD}\.{_WORD}{END}")]
Password = Annotated[str, Meta(min_length=8, max_length=1024, pattern=NO_NUL)]
Currency = Annotated[str, Meta(pattern="^[a-z]{3}" + END)]
Country = Annotated[str, Meta(pattern="^[a-z]{2}" + END)]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
Stock = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Amount = Annotated[int, Meta(ge=0, le=10**12)]
"""Money in minor units: cents, pence."""
Timestamp = Annotated[dt.datetime, Meta(tz=True)]
JSON_VALUE = "JsonValue"
"""The component of the API's description that says what metadata may hold."""
Metadata = Annotated[
    dict[str, Any],
    Meta(
        description="At most 16 KiB of JSON, nested at most 32 deep.",
        extra_json_schema={
            "propertyNames": {"pattern": NO_NUL},
            "additionalProperties": {"$ref": f"#/components/schemas/{JSON_VALUE}"},
        },
    ),
]

_MOST_METADATA_BYTES = 16_384
_MOST_METADATA_LEVELS = 32


def bounded_metadata(metadata: Metadata | None, field: str = "metadata") -> Metadata | None:
    """The metadata, which the body calls ``field``, or InvalidDataError where it is larger than
    16 KiB of JSON, nested deeper than 32 levels or has NULs."""
    if metadata is not None and not (
        _can_be_kept(metadata, _MOST_METADATA_LEVELS)
        and len(msgspec.json.encode(metadata)) <= _MOST_METADATA_BYTES
    ):
        message = (
            f"{field} holds at most 16 KiB of JSON, nested at most {_MOST_METADATA_LEVELS} deep,"
            " and no NUL characters"
        )
        raise InvalidDataError(message, problems=[Problem(message, pointer=f"/{field}")])
    return metadata


def _can_be_kept(value: Any, levels: int) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, dict):
        parts: list[Any] = [*value, *value.values()]
    elif isinstance(value, list):
        parts = value
    else:
        return True
    return levels > 0 and all(_can_be_kept(part, levels - 1) for part in parts)


class InputWithMetadata(Input):
    """A body that carries whatever its sender wants to keep beside the thing."""

    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        bounded_metadata(self.metadata)


class Patch(Input):
    """A change: a field that is absent stays as it is, one that is null is emptied."""

    def changes(self) -> dict[str, Any]:
        """The fields that the request named, with their new values."""
        return {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not UNSET
        }


class PatchWithMetadata(Patch):
    metadata: Metadata | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.metadata is not UNSET:
            bounded_metadata(self.metadata)
