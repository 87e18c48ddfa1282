"""WAL positions, the token that carries one, and the consistency a read asks for (P1, P2)."""

import enum
import re
from dataclasses import dataclass

from impact.errors import InvalidDataError, Problem

_TOKEN = re.compile(r"([0-9A-F]{1,16})(?:_([0-9A-F]{1,13}))?")


def parse_lsn(text: str) -> int:
    """PostgreSQL's ``16/B374D848`` as the number of bytes since the start of the WAL."""
    high, low = text.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def format_token(position: int, raised_at: int = 0) -> str:
    """The ``x-consistency-token``: a WAL position in hexadecimal, and when the cache was told of
    it, in microseconds of Redis's clock, where it was."""
    return f"{position:X}_{raised_at:X}" if raised_at else f"{position:X}"


def parse_token(token: str) -> tuple[int, int]:
    """The WAL position in a token, and when the cache was told of it: 0 where it was not.

    Raises InvalidDataError when it is none of ours.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        message = "x-consistency-token is not a token this service gave; send it back unchanged"
        raise InvalidDataError(
            message, problems=[Problem(message, parameter="x-consistency-token")]
        )
    return int(match[1], 16), int(match[2] or "0", 16)


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


def eventual(max_lag: float) -> Consistency:
    """Served by a replica at most ``max_lag`` seconds behind, whatever the caller has seen."""
    return Consistency(Level.EVENTUAL, max_lag)
