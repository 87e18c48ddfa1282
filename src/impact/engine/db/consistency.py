"""WAL positions, the token that carries one, and the consistency a read asks for (P1, P2)."""

import enum
import re
from dataclasses import dataclass

from impact.errors import InvalidDataError, Problem

_TOKEN = re.compile(r"([0-9A-F]{1,16})|([0-9A-F]{5,16})([0-9A-F]{13})")


def parse_lsn(text: str) -> int:
    """PostgreSQL's ``16/B374D848`` as the number of bytes since the start of the WAL."""
    high, low = text.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def format_token(position: int, raised_at: int = 0) -> str:
    """The ``x-consistency-token``: one hexadecimal number, of which the larger one is newer.

    Its last 13 digits say when the cache was told of the write, in microseconds of Redis's
    clock, 0 where it was not; those before are the WAL position.
    """
    return f"{position:05X}{raised_at:013X}"


def parse_token(token: str) -> tuple[int, int]:
    """The WAL position in a token, and when the cache was told of it: 0 where it was not.

    Sixteen digits and fewer are a position alone. Raises InvalidDataError when the token is none
    of ours.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        message = "x-consistency-token is not a token this service gave; send it back unchanged"
        raise InvalidDataError(
            message, problems=[Problem(message, parameter="x-consistency-token")]
        )
    if match[1] is not None:
        return int(match[1], 16), 0
    return int(match[2], 16), int(match[3], 16)


class Level(enum.Enum):
    STRONG = "strong"
    CAUSAL = "causal"
    EVENTUAL = "eventual"


@dataclass(frozen=True, slots=True)
class Consistency:
    """How fresh a read must be. ``max_lag`` is in seconds and bounds EVENTUAL reads alone."""

    level: Level
    max_lag: float | None = None


STRONG = Consistency(Level.STRONG)
"""Served by the primary."""

CAUSAL = Consistency(Level.CAUSAL)
"""Served by any node that has replayed what the caller has seen; the default."""

FRESH = Consistency(Level.CAUSAL, max_lag=1.0)
"""For what callers are judged by: a change is in force within a second, also where a replica
lags."""


def eventual(max_lag: float) -> Consistency:
    """Served by a replica at most ``max_lag`` seconds behind, whatever the caller has seen."""
    return Consistency(Level.EVENTUAL, max_lag)
