"""What every schema is made of: strict input, bounded text, money and time."""

import datetime as dt
from typing import Annotated, Any

import msgspec
from msgspec import Meta

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


ShortText = Annotated[str, Meta(min_length=1, max_length=255)]
LongText = Annotated[str, Meta(max_length=20_000)]
Handle = Annotated[str, Meta(pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$", max_length=255)]
Url = Annotated[str, Meta(max_length=2048, pattern=r"^(https?://|/)\S+$")]
Email = Annotated[str, Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Password = Annotated[str, Meta(min_length=8, max_length=1024)]
Currency = Annotated[str, Meta(pattern=r"^[a-z]{3}$")]
Country = Annotated[str, Meta(pattern=r"^[a-z]{2}$")]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
Stock = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Amount = Annotated[int, Meta(ge=0, le=10**12)]
"""Money in minor units: cents, pence."""
Timestamp = dt.datetime
Metadata = dict[str, Any]

_MOST_METADATA_BYTES = 16_384


def bounded_metadata(metadata: Metadata | None, field: str = "metadata") -> Metadata | None:
    """The metadata, which the body calls ``field``, or InvalidDataError where it is larger than
    16 KiB of JSON or has NULs."""
    if metadata is not None:
        encoded = msgspec.json.encode(metadata)
        if len(encoded) > _MOST_METADATA_BYTES or b"\\u0000" in encoded:
            message = f"{field} holds at most 16 KiB of JSON and no NUL characters"
            raise InvalidDataError(message, problems=[Problem(message, pointer=f"/{field}")])
    return metadata


class Patch(Input):
    """A change: a field that is absent stays as it is, one that is null is emptied."""

    def changes(self) -> dict[str, Any]:
        """The fields that the request named, with their new values."""
        return {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not msgspec.UNSET
        }
