"""What a client says that it takes, and how gladly (RFC 9110, 12.4.2 and 12.5.1)."""

from collections.abc import Mapping
from typing import TypeVar

F = TypeVar("F")


def weight(parameter: str) -> float:
    """The weight that a parameter says, 0 to 1: 1 where it is another one, 0 where it says no
    number."""
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0


def preferred(accept: str, offered: Mapping[str, F]) -> F | None:
    """The offered media type that an Accept header weighs most, the first of equal ones, by what
    ``offered`` calls it. None, what the route answers by itself, where the header names none or
    weighs anything more.
    """
    best, most = None, 0.0
    for part in accept.lower().split(","):
        kind, *parameters = (each.strip() for each in part.split(";"))
        given = min(map(weight, parameters), default=1.0)
        if given > most and (kind in offered or kind == "*/*"):
            best, most = offered.get(kind), given
    return best
