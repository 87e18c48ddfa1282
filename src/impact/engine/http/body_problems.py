"""Everything that is wrong with a body, each with its place.

msgspec stops at the first problem. A body that it refused is walked here again beside its type,
field by field, and each part is judged by msgspec once more.
"""

import functools
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from impact.engine.http.parameters import unknown
from impact.errors import InvalidDataError, Problem

_MOST_LEVELS = 32


def body_problems(value: Any, kind: Any, pointer: str = "", level: int = 0) -> Iterator[Problem]:
    """The problems of a decoded JSON value that is to be of the type ``kind``.

    Places are JSON pointers (RFC 6901); the empty one is the whole body.
    """
    chosen, metas = _member(value, kind)
    if chosen is None or level > _MOST_LEVELS:
        yield from _judge(value, kind, pointer)
    elif isinstance(value, list):
        plain = Annotated[(list[Any], *metas)] if metas else list[Any]
        yield from _judge(value, plain, pointer)
        (item,) = get_args(chosen)
        for number, part in enumerate(value):
            yield from body_problems(part, item, f"{pointer}/{number}", level + 1)
    elif get_origin(chosen) is dict:
        key_kind, part_kind = get_args(chosen)
        for key, part in value.items():
            place = f"{pointer}/{_escaped(key)}"
            yield from _judge(key, key_kind, place)
            yield from body_problems(part, part_kind, place, level + 1)
    else:
        yield from _struct_problems(value, chosen, pointer, level)


def with_whole_numbers(value: Any, kind: Any, level: int = 0) -> Any:
    """The value with ``2.0`` as 2 wherever the type has an integer: to JSON Schema, and to clients
    whose language knows one kind of number, the two are the same."""
    chosen, _ = _member(value, kind)
    if level > _MOST_LEVELS:
        return value
    if isinstance(value, float) and value.is_integer() and _takes_integers(kind):
        return int(value)
    if chosen is None:
        return value
    if isinstance(value, list):
        (item,) = get_args(chosen)
        return [with_whole_numbers(part, item, level + 1) for part in value]
    if get_origin(chosen) is dict:
        return value
    fields = _fields(chosen)
    return {
        key: with_whole_numbers(part, fields[key].type, level + 1) if key in fields else part
        for key, part in value.items()
    }


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """By their names in JSON. Asking msgspec costs half of a refused body."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _takes_integers(kind: Any) -> bool:
    return kind is int or any(_takes_integers(part) for part in get_args(kind))


def _struct_problems(
    value: dict[str, Any], kind: type[msgspec.Struct], pointer: str, level: int
) -> Iterator[Problem]:
    fields = _fields(kind)
    whole = True
    for key, part in value.items():
        place = f"{pointer}/{_escaped(key)}"
        if key not in fields:
            found: Iterator[Problem] = iter([Problem(unknown("field", key, list(fields)), place)])
        else:
            found = body_problems(part, fields[key].type, place, level + 1)
        for problem in found:
            whole = False
            yield problem
    for key, field in fields.items():
        if field.required and key not in value:
            whole = False
            yield Problem("this field is required", f"{pointer}/{_escaped(key)}")
    if whole:
        # What the struct itself asks of its fields together.
        yield from _judge(value, kind, pointer)


def _judge(value: Any, kind: Any, pointer: str) -> Iterator[Problem]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield Problem(str(error).partition(" - at `")[0], pointer)
    except InvalidDataError as error:
        for problem in error.problems:
            yield Problem(problem.message, pointer + (problem.pointer or ""))


def _member(value: Any, kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """The struct, list or dict in the type that the value can be walked beside, and what is
    annotated about it; None where the value is no such thing."""
    metas: tuple[Any, ...] = ()
    if get_origin(kind) is Annotated:
        kind, *rest = get_args(kind)
        metas = tuple(rest)
    if get_origin(kind) in {Union, types.UnionType}:
        for part in get_args(kind):
            found = _member(value, part)
            if found[0] is not None:
                return found
        return None, ()
    if isinstance(value, list):
        return (kind, metas) if get_origin(kind) is list else (None, ())
    if isinstance(value, dict):
        is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        return (kind, metas) if is_struct or get_origin(kind) is dict else (None, ())
    return None, ()


def _escaped(key: str) -> str:
    return key[:100].replace("~", "~0").replace("/", "~1")
